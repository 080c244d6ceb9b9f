"""Backups: what is in the tar, what the record says, and who leaves in the middle."""

import hashlib
import io
import json
import re
import sqlite3
import tarfile
from contextlib import closing

import h11
import pytest
import trio

from flynn_aio.controller import backup
from flynn_aio.model import SYSTEM_APPS, Time
from flynn_aio.store import EventFilter, changes, key_hash, queries

from ..support.build import keep_system_apps, make_app

NOW = Time.parse("2026-11-23T04:05:06Z")


@pytest.fixture
async def client(stage):
    await stage.store.transact(keep_system_apps)
    return stage.client()


async def statuses(store):
    found = await store.read(lambda db: queries.events(db, EventFilter(object_types=frozenset({"cluster_backup"}))))
    return [json.loads(bytes(event.data))["status"] for event in found[::-1]]


async def make(client):
    return await client.get("/backup", headers={"accept": "application/tar"})


async def last(client):
    return (await client.get("/backup", headers={"accept": "application/json"})).json()


async def test_get_backup_before_there_was_one_is_a_bare_404(client):
    answer = await client.get("/backup", headers={"accept": "application/json"})
    assert (answer.status, answer.body, answer.content_type) == (404, b"", None)


async def test_backup_is_a_tar_that_says_what_is_in_it(client, stage, tmp_path):
    """TestBackup: `flynn.json` with discoverd, flannel and controller, and our state in a file of its own name."""
    await make_app(stage.store, "mine")
    answer = await make(client)
    assert (answer.status, answer.content_type) == (200, "application/tar")
    named = re.fullmatch(
        r'attachment; filename="(flynn-backup-\d{4}-\d\d-\d\d_\d{6})\.tar"', answer.headers["content-disposition"]
    )
    assert len(answer.body) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
        assert {member.mode for member in archive} == {0o600}
    assert list(files) == [f"{named[1]}/{name}" for name in ("flynn.json", "flynn.db", "manifest.json")]
    system_apps, database, manifest = files.values()
    found = json.loads(system_apps)
    assert set(found) == {"discoverd", "flannel", "controller"}
    for name, one in found.items():
        assert one["app"]["name"] == name
        assert one["release"]["artifacts"] == [artifact["id"] for artifact in one["artifacts"]]
        assert set(one["processes"]) == set(SYSTEM_APPS[name].types)
        assert one["artifact"] == {"type": "docker"}
    said = json.loads(manifest)
    assert said["domain"] == "flynn.test"
    assert {name: (one["size"], one["sha512"]) for name, one in said["files"].items()} == {
        "flynn.json": (len(system_apps), hashlib.sha512(system_apps).hexdigest()),
        "flynn.db": (len(database), hashlib.sha512(database).hexdigest()),
    }
    assert {"databases", "volumes", "repositories", "keys"} <= set(said["not_in_here"])
    (tmp_path / "copy.db").write_bytes(database)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("SELECT count(*) FROM apps WHERE name = 'mine'").fetchone() == (1,)


async def test_the_record_of_a_backup_has_size_and_checksum_of_the_whole_tar(client, stage):
    """TestGetBackup: id, status, sha512, size, times."""
    answer = await make(client)
    record = await last(client)
    assert record["status"] == "complete"
    assert record["size"] == len(answer.body)
    assert record["sha512"] == hashlib.sha512(answer.body).hexdigest()
    assert set(record) == {"id", "status", "sha512", "size", "created_at", "updated_at", "completed_at"}
    assert await statuses(stage.store) == ["running", "complete"]


async def test_a_client_that_leaves_in_the_middle_is_an_error_of_the_backup(client, stage, monkeypatch, tmp_path):
    monkeypatch.setattr(backup, "PIECE", 4096)
    await stage.store.transact(lambda tx: changes.set_cluster_value(tx, "filler", "x" * 4_000_000))
    async with client.stream("/backup", accept="application/tar") as tar:
        assert tar.head.status == 200
        assert await tar.piece()
        refused = await make(stage.client())  # one at a time
        assert (refused.status, refused.json()["code"]) == (409, "conflict")
        assert (await last(stage.client()))["status"] == "running"
    with trio.fail_after(10):
        while (await last(stage.client()))["status"] == "running":
            await trio.lowlevel.checkpoint()
    record = await last(stage.client())
    assert record["status"] == "error"
    assert record["error"].startswith("the client left")
    assert "sha512" not in record
    assert await statuses(stage.store) == ["running", "error"]
    assert (await make(stage.client())).status == 200
    assert list(tmp_path.glob("flynn.db*"))
    assert not list(tmp_path.glob("flynn.db.copy*"))


async def test_a_backup_whose_key_is_removed_in_the_middle_does_not_end_as_if_it_were_whole(client, stage, monkeypatch):
    monkeypatch.setattr(backup, "PIECE", 4096)

    def change(tx):
        changes.set_cluster_value(tx, "filler", "x" * 4_000_000)
        changes.add_key(tx, "other", key_hash("other"))

    await stage.store.transact(change)
    async with stage.client("other").stream("/backup", accept="application/tar") as tar:
        assert await tar.piece()
        assert (await client.delete("/keys/other")).status == 200
        with pytest.raises(h11.RemoteProtocolError, match="without sending complete message body"):
            while await tar.piece():
                pass
    assert (await last(client))["status"] == "error"


async def test_a_backup_cut_short_by_a_crash_is_an_error_after_the_next_start(store):
    await store.transact(changes.begin_backup)
    await store.transact(changes.end_interrupted_backups)
    record = await store.read(queries.latest_backup)
    assert (record.status, record.error) == ("error", "flynn-aio stopped before the backup was complete")


async def test_a_disk_without_room_is_told_before_anything_is_sent(client, stage, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flynn_aio.store.store.copy_database", full)
    answer = await make(client)
    assert answer.status == 503
    assert "No space left on device; free some space" in answer.json()["message"]
    assert (await last(client))["error"] == answer.json()["message"]


def test_a_tar_is_made_piece_by_piece(tmp_path):
    """However large the database is, little of it is in memory."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    whole = backup.Sums()
    with path.open("rb") as file:
        pieces = backup.tar("b", NOW, {"flynn.db": file}, whole, domain="flynn.test")
        assert max(len(piece) for piece in pieces) <= backup.PIECE
    assert whole.complete
    assert whole.size > 64 * 1024 * 1024
