"""The door itself, spoken to without a git client."""

import errno
import gzip
import json
import logging
import os
from functools import partial

import pytest
import trio

from flynn_aio.receive import http as http_module
from flynn_aio.settings import AUDIT_LOGGER

from ..support.git import eventually
from ..support.http_client import HTTPClient, basic
from .conftest import KEY, open_place
from .test_push import DEPLOYED, PYTHON_APP

FLUSH = b"0000"


@pytest.fixture
async def http(place):
    client = HTTPClient(partial(trio.open_tcp_stream, "127.0.0.1", place.port), key=KEY)
    yield client
    client.close()


@pytest.mark.parametrize("authorization", ["", "Basic", basic("wrong"), "Bearer " + KEY])
async def test_without_the_key_there_is_only_the_question_for_it(http, authorization):
    said = await http.get("/hello.git/info/refs?service=git-upload-pack", headers={"authorization": authorization})
    assert said.status == 401
    assert said.body == b"Authentication required\n"
    assert said.headers["www-authenticate"] == 'Basic realm="flynn"'


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/nobody.git/info/refs?service=git-upload-pack", 404, b"unknown app\n"),
        ("/hello.git/info/refs?service=git-shell", 403, b"unknown service\n"),
        ("/UPPER.git/info/refs?service=git-upload-pack", 403, b"illegal app name\n"),
        ("/hello.git/objects/info/packs", 404, b"not found\n"),
    ],
)
async def test_what_is_not_there_is_said_in_a_line(http, path, status, text):
    said = await http.get(path)
    assert (said.status, said.body) == (status, text)


async def test_an_advertisement_is_never_cached(http):
    said = await http.get("/hello.git/info/refs?service=git-receive-pack")
    assert said.status == 200
    assert said.content_type == "application/x-git-receive-pack-advertisement"
    assert said.headers["cache-control"] == "no-cache, max-age=0, must-revalidate"
    assert said.body.startswith(b"001f# service=git-receive-pack\n0000")


async def test_protocol_version_2_is_spoken(http):
    said = await http.get("/hello.git/info/refs?service=git-upload-pack", headers={"git-protocol": "version=2"})
    assert said.body.startswith(b"000eversion 2\n")


RECEIVE = {"content-type": "application/x-git-receive-pack-request"}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, FLUSH, 415),
        ({**RECEIVE, "content-encoding": "br"}, FLUSH, 415),
        ({**RECEIVE, "content-encoding": "gzip"}, b"not gzip at all", 400),
        ({**RECEIVE, "content-encoding": "gzip"}, gzip.compress(FLUSH)[:-2], 400),
        (RECEIVE, b"this is no pkt-line", 400),
        (RECEIVE, FLUSH, 200),  # how a client probes before a large push
        ({**RECEIVE, "content-encoding": "gzip"}, gzip.compress(FLUSH), 200),
    ],
)
async def test_bodies_are_taken_as_they_say_they_are(http, headers, body, status):
    said = await http.request("POST", "/hello.git/git-receive-pack", body, headers=headers)
    assert said.status == status, said


async def test_a_push_with_half_a_pack_changes_nothing(http, place):
    body = (
        b"00a20000000000000000000000000000000000000000 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa refs/heads/master\0"
        b" report-status side-band-64k agent=git/2.39.5   00000000PACK\x00\x00\x00\x02\x00\x00\x00\x03"
    )
    said = await http.request("POST", "/hello.git/git-receive-pack", body, headers=RECEIVE)
    assert said.status in (200, 400)
    assert await place.client.remote_refs() == {}
    assert place.leftovers == []
    assert place.engine.started == []


async def test_a_disk_that_is_full_is_told_in_a_line(http, monkeypatch):
    async def full(self, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("flynn_aio.receive.repo.Repositories._make", full)
    said = await http.get("/hello.git/info/refs?service=git-receive-pack")
    assert (said.status, said.body) == (503, b"the appliance cannot write its files: No space left on device\n")


async def test_a_websocket_is_turned_away(http):
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert (await http.get("/hello.git/info/refs", headers=upgrade)).status == 403


async def test_a_client_that_falls_silent_in_its_body_is_given_up(place, monkeypatch):
    monkeypatch.setattr(http_module, "BODY_IDLE_S", 0.2)
    async with await trio.open_tcp_stream("127.0.0.1", place.port) as stream:
        head = (
            "POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            f"Authorization: {basic(KEY)}\r\nContent-Type: {RECEIVE['content-type']}\r\n\r\n00a2"
        )
        await stream.send_all(head.encode())
        answer = b""
        with trio.fail_after(5):
            while b"nothing came" not in answer:
                answer += await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 408")


async def test_a_pack_over_the_limit_is_refused(tmp_path, store, clock):
    async with open_place(tmp_path, store, clock, max_pack_bytes=100_000) as place:
        await place.client.git("config", "core.compression", "0")
        await place.client.commit(**PYTHON_APP, big=json.dumps(list(range(100_000))))
        said = await place.client.push()
        assert said.code != 0
        assert "pack exceeds maximum allowed size" in said.text
        assert await place.client.remote_refs() == {}
        assert place.leftovers == []


async def test_the_machines_own_git_configuration_changes_nothing(place, tmp_path, monkeypatch):
    evil = tmp_path / "evil"
    evil.write_text("[core]\n\thooksPath = /nonexistent\n[receive]\n\tdenyNonFastForwards = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(evil))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(evil))
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    await place.client.commit(**PYTHON_APP)
    assert (await place.client.push()).lines[-1] == DEPLOYED


async def test_a_repository_owned_by_somebody_else_is_no_obstacle(place):
    await place.client.commit(**PYTHON_APP)
    await place.client.push()
    repository = place.settings.repo_dir / f"{place.app.id}.git"
    for path in (repository, *repository.rglob("*")):
        path.chmod(path.stat().st_mode)
        await trio.run_process(["chown", "1234:1234", str(path)])
    await place.client.commit("more")
    assert (await place.client.push()).lines[-1] == DEPLOYED


async def test_a_client_that_vanishes_while_its_pack_is_on_the_way_leaves_nothing(place):
    commit = await place.client.commit(**PYTHON_APP, big=os.urandom(400_000))
    packed = await trio.run_process(
        ["git", "pack-objects", "--quiet", "--revs", "--stdout"],
        stdin=commit.encode(),
        capture_stdout=True,
        cwd=place.client.tree,
        env=place.client.env,
    )
    line = f"{'0' * 40} {commit} refs/heads/master\0 report-status side-band-64k"
    head = (
        "POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        f"Authorization: {basic(KEY)}\r\nContent-Type: {RECEIVE['content-type']}\r\n\r\n{len(line) + 4:04x}{line}0000"
    )
    stream = await trio.open_tcp_stream("127.0.0.1", place.port)
    await stream.send_all(head.encode() + packed.stdout[: len(packed.stdout) // 2])
    repository = place.settings.repo_dir / f"{place.app.id}.git"

    async def begun():
        return list(repository.glob("objects/tmp_objdir-*"))

    async def gone():
        return not place.leftovers

    await eventually(begun)
    await stream.aclose()
    await eventually(gone)


@pytest.fixture
def audited(caplog):
    """A function that returns the lines of the audit log."""
    caplog.set_level(logging.INFO, logger=AUDIT_LOGGER)
    fields = ("method", "path", "status", "address", "key", "agent")

    async def read(count):
        """Return the lines once there are `count`: a client may have its answer a moment before."""
        records = await eventually(lambda: found(count))
        return [tuple(getattr(record, name) for name in fields) for record in records]

    async def found(count):
        records = [record for record in caplog.records if record.name == AUDIT_LOGGER]
        return records if len(records) >= count else None

    return read


async def test_every_request_is_in_the_audit_log(http, audited):
    client = {"x-forwarded-for": "10.0.0.1, 203.0.113.7", "user-agent": "git/2.39.5"}
    await http.get("/hello.git/info/refs?service=git-upload-pack", headers=client)
    await http.get("/no%0Abody.git/info/refs?service=git-upload-pack")
    await http.get("/hello.git/info/refs?service=git-upload-pack", headers={"authorization": basic("wrong")})
    assert await audited(3) == [
        ("GET", "/hello.git/info/refs", 200, "203.0.113.7", "cluster", '"git/2.39.5"'),
        ("GET", "/no%0Abody.git/info/refs", 403, "-", "cluster", '""'),
        ("GET", "/hello.git/info/refs", 401, "-", "-", '""'),
    ]


async def test_a_push_is_in_the_audit_log_with_how_long_it_took(place, audited, caplog):
    await place.client.commit(**PYTHON_APP)
    began = trio.current_time()
    assert (await place.client.push()).lines[-1] == DEPLOYED
    took_ms = (trio.current_time() - began) * 1000
    method, path, status, _, key, agent = (await audited(3))[
        -1
    ]  # after the question for refs, without and with the key
    assert (method, path, status, key) == ("POST", "/hello.git/git-receive-pack", 200, "cluster")
    assert agent.startswith('"git/')
    assert 0 < [record for record in caplog.records if record.name == AUDIT_LOGGER][-1].ms <= took_ms
    assert KEY not in caplog.text


async def test_a_client_that_leaves_before_there_is_an_answer_is_told_as_gone(place, audited):
    head = (
        "POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        f"Authorization: {basic(KEY)}\r\nContent-Type: {RECEIVE['content-type']}\r\n\r\n00a2"
    )

    async with await trio.open_tcp_stream("127.0.0.1", place.port) as stream:
        await stream.send_all(head.encode())
    assert [status for _, _, status, *_ in await audited(1)] == [499]


async def test_a_bug_of_ours_is_told_as_the_500_it_gets(http, audited, monkeypatch):
    async def broken(self, path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("flynn_aio.receive.repo.Repositories._make", broken)
    assert (await http.get("/hello.git/info/refs?service=git-receive-pack")).status == 500
    assert [status for _, _, status, *_ in await audited(1)] == [500]
