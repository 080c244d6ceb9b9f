"""Streams that begin with what there is: formations and sinks.

Source: Flynn `controller/formation_test.go`, `TestFormationStreaming`, `TestFormationStreamDeleted`.
"""

import json
from dataclasses import replace

import pytest
import trio

from flynn_aio.errors import Unavailable
from flynn_aio.model import Sink
from flynn_aio.settings import StoreSettings
from flynn_aio.store import changes, inline, open_store

from ..support.build import make_app, make_release

MARK = {"updated_at": "0001-01-01T00:00:00Z"}
SINK_MARK = {"id": "", "kind": ""}
CONFIG = {"url": "syslog://logs.example.com"}


async def make_formation(store, app, **processes):
    release = await make_release(store, app)
    await store.transact(lambda tx: changes.put_formation(tx, app.id, release.id, processes, None))
    return release


def add_sink(store):
    return store.transact(lambda tx: changes.create_sink(tx, Sink(id="", kind="syslog", config=CONFIG)))


async def test_formations_begin_with_what_there_is_and_go_on(client, store, clock):
    before = clock.now()
    existing = await make_app(store, "existing")
    first = await make_formation(store, existing, web=0)
    async with client.stream(f"/formations?since={before}") as stream:
        assert stream.head.content_type == "text/event-stream; charset=utf-8"
        backlog = await stream.event()
        assert (backlog["app"]["name"], backlog["release"]["id"]) == ("existing", first.id)
        assert await stream.event() == MARK

        release = await make_formation(store, await make_app(store, "new"), web=1)
        added = await stream.event()
        assert added["app"] == (await client.get("/apps/new")).json()
        assert added["release"] == (await client.get(f"/releases/{release.id}")).json()
        assert [artifact["id"] for artifact in added["artifacts"]] == release.artifacts
        assert added["processes"] == {"web": 1}
        assert added["pending_scale_request"]["state"] == "pending"

        assert (await client.delete(f"/apps/new/formations/{release.id}")).status == 200
        gone = await stream.event()
        assert (gone["app"]["name"], gone["release"]["id"]) == ("new", release.id)
        assert (gone["deleted"], "processes" in gone) == (True, False)


async def test_formations_of_deleted_releases_and_apps_are_not_replayed(client, store):
    app = await make_app(store)
    releases = [await make_formation(store, app, web=0) for _ in range(3)]
    await make_formation(store, await make_app(store, "gone"), web=0)
    assert (await client.delete(f"/apps/hello/releases/{releases[0].id}")).status == 200
    assert (await client.delete("/apps/gone")).status == 200
    async with client.stream("/formations") as stream:
        found = [await stream.event() for _ in range(3)]
    assert [one["release"]["id"] for one in found[:2]] == [releases[2].id, releases[1].id]  # the newest change first
    assert found[2] == MARK


async def test_the_formations_of_a_deleted_app_are_seen_to_go(client, store):
    await make_formation(store, await make_app(store), web=1)
    async with client.stream("/formations") as stream:
        assert (await stream.event())["processes"] == {"web": 1}
        assert await stream.event() == MARK
        assert (await client.delete("/apps/hello")).status == 200
        gone = await stream.event()
    assert (gone["app"]["name"], gone["deleted"]) == ("hello", True)


async def test_since_leaves_out_what_has_not_changed_since(client, store, clock, autojump_clock):
    app = await make_app(store)
    old, again = await make_formation(store, app, web=1), await make_formation(store, app, web=1)
    await add_sink(store)
    await trio.sleep(1)
    moment = clock.now()
    await store.transact(lambda tx: changes.put_formation(tx, app.id, again.id, {"web": 2}, None))
    added = await add_sink(store)
    for text in (f"{moment}", f"{moment}"[:-1] + "%2B00:00"):
        async with client.stream(f"/formations?since={text}") as stream:
            assert (await stream.event())["release"]["id"] == again.id != old.id
            assert await stream.event() == MARK
        async with client.stream(f"/sinks?since={text}") as stream:
            assert (await stream.event())["id"] == added.id
            assert await stream.event() == SINK_MARK


@pytest.mark.parametrize("path", ["/formations", "/sinks"])
@pytest.mark.parametrize("since", ["x", "2026-11-23", "2026-11-23T04:00:00", "0001-01-01T00:00:00%2B14:00", "9" * 5000])
async def test_a_since_that_is_no_time_is_refused_before_any_byte(client, path, since):
    response = await client.get(f"{path}?since={since}", headers={"accept": "text/event-stream"})
    assert (response.status, response.json()["message"]) == (400, "since is invalid")
    assert response.json()["detail"] == {"field": "since"}


async def test_sinks_come_and_go(client, store):
    first = await add_sink(store)
    async with client.stream("/sinks") as stream:
        assert (await stream.event())["id"] == first.id
        assert await stream.event() == SINK_MARK
        second = (await client.post("/sinks", {"kind": "syslog", "config": CONFIG})).json()
        assert await stream.event() == second
        assert (await client.delete(f"/sinks/{first.id}")).status == 200
        gone = await stream.event()
    assert (gone["id"], "config" in gone) == (first.id, False)


async def test_what_happens_while_the_backlog_is_read_comes_once(client, store, monkeypatch):
    """A change that is in the snapshot is not repeated; one right behind it is not missed."""
    first = await add_sink(store)
    subscribe = store.subscribe
    late = []

    def subscribed_late(*args, **kwargs):
        made, _ = store._commit(lambda tx: changes.create_sink(tx, replace_id(first)), store._clock.now(), 1.0)
        late.append(made)
        return subscribe(*args, **kwargs)

    def replace_id(sink):
        return Sink(id="", kind=sink.kind, config=sink.config)

    monkeypatch.setattr(store, "subscribe", subscribed_late)
    async with client.stream("/sinks") as stream:
        assert [(await stream.event())["id"] for _ in range(3)] == [first.id, "", late[0].id]
        third = await add_sink(store)
        assert (await stream.event())["id"] == third.id


async def test_a_reader_a_whole_buffer_behind_is_told(tmp_path, clock, open_stage):
    def many(tx):
        for _ in range(10):
            changes.create_sink(tx, Sink(id="", kind="syslog", config=CONFIG))

    small = StoreSettings(path=tmp_path / "small.db", event_buffer=3)
    async with open_store(small, clock, run_blocking=inline) as store, open_stage(store=store) as stage:
        async with stage.client().stream("/sinks") as stream:
            assert await stream.event() == SINK_MARK
            await store.transact(many)
            *frames, error, rest = (await stream.rest()).split(b"\n\n")
    assert (error, rest) == (b"event: error\ndata: event stream buffer overflow", b"")
    assert len({json.loads(frame[6:])["id"] for frame in frames}) == len(frames) <= 10


async def test_a_store_that_cannot_be_read_ends_the_stream_with_the_reason(client, store, monkeypatch):
    release = await make_formation(store, await make_app(store), web=1)
    async with client.stream("/formations") as stream:
        assert (await stream.event())["release"]["id"] == release.id
        assert await stream.event() == MARK

        async def locked(query):
            raise Unavailable("the database is locked")

        monkeypatch.setattr(store, "read", locked)
        await store.transact(lambda tx: changes.put_formation(tx, release.app_id, release.id, {"web": 2}, None))
        assert await stream.rest() == b"event: error\ndata: the database is locked\n\n"


async def test_an_idle_stream_is_kept_alive(open_stage, settings):
    async with open_stage(replace(settings, event_keepalive_s=0.01)) as stage:
        async with stage.client().stream("/sinks") as stream:
            assert await stream.event() == SINK_MARK
            assert await stream.piece() == b":\n"
