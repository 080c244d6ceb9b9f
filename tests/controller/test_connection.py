"""Connections: Hypercorn can end nothing but its own, whatever a client does."""

import base64
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.model import Artifact
from flynn_aio.store import changes

from ..support.http_client import HTTPClient, basic
from .conftest import KEY

AUTHORIZATION = b"Authorization: " + basic(KEY).encode() + b"\r\n"
WEBSOCKET = (
    b"GET /apps HTTP/1.1\r\nHost: x\r\n%sConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(b"0" * 16) + b"\r\n\r\n"
)
EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n" + AUTHORIZATION + b"\r\n"
GET = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


async def until_closed(stream):
    """Return what the server still says before it closes."""
    received = b""
    while True:
        try:
            data = await stream.receive_some(65536)
        except trio.BrokenResourceError:
            return received
        if not data:
            return received
        received += data


@pytest.mark.parametrize("key", [b"", AUTHORIZATION], ids=["no key", "key"])
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "pipelined"])
@pytest.mark.parametrize(
    "trailing",
    [b"x", b"\x81\x05hello", b"\x00" * 20, b"\xff" * 1000, GET, b"\r\n\r\n" * 100],
    ids=["byte", "frame", "zeros", "ones", "request", "lines"],
)
async def test_a_websocket_upgrade_with_trailing_bytes_ends_only_its_own_connection(
    stage, client, key, before, trailing
):
    async with await stage.dial() as stream:
        await stream.send_all(before + WEBSOCKET % key + trailing)
        await stream.send_eof()
        await until_closed(stream)
    async with await stage.dial() as stream:
        await stream.send_all(before + WEBSOCKET % key)
        await wait_all_tasks_blocked()
        with suppress(trio.BrokenResourceError):  # it may have been closed already
            await stream.send_all(trailing)
    assert (await client.get("/apps")).status == 200


async def test_a_websocket_upgrade_is_answered_as_if_it_had_not_asked(stage):
    async with await stage.dial() as stream:
        await stream.send_all(WEBSOCKET % AUTHORIZATION)
        assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 200 \r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["upgrade", "preface"],
)
async def test_http2_is_not_spoken(stage, head):
    async with await stage.dial() as stream:
        await stream.send_all(head)
        await stream.send_eof()
        assert (await until_closed(stream))[:12] in {b"", b"HTTP/1.1 200"}


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01", b"x" * 100_000, b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"\r\n"]
)
async def test_garbage_is_refused(stage, client, garbage):
    async with await stage.dial() as stream:
        with trio.move_on_after(1):
            await stream.send_all(garbage)
            await stream.send_eof()
            assert (await until_closed(stream))[:12] in {b"", b"HTTP/1.1 400", b"HTTP/1.1 431"}
    assert (await client.get("/apps")).status == 200


async def test_an_event_stream_does_without_hypercorn_and_is_the_last_of_its_connection(stage, monkeypatch):
    async def unused(*_):
        raise AssertionError("Hypercorn was asked")

    monkeypatch.setattr("flynn_aio.controller.connection.ASGIWrapper.__call__", unused)
    async with await stage.dial() as stream:
        await stream.send_all(
            b"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n" + AUTHORIZATION + b"\r\n"
        )
        head = await stream.receive_some(65536)
        assert head.startswith(b"HTTP/1.1 200 \r\n")
        assert b"\r\nconnection: close\r\n" in head
        assert b"\r\ntransfer-encoding: chunked\r\n" in head
        await stream.send_all(GET)  # nobody listens to it
        await stage.store.transact(lambda tx: changes.create_artifact(tx, Artifact(type="flynn", uri="image:x")))
        assert b'"object_type":"artifact"' in await stream.receive_some(65536)


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"GET /events HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 401 \r\n"),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n" + AUTHORIZATION, b"HTTP/1.1 404 \r\n"),
        (b"GET /events HTTP/1.1\r\n", b"HTTP/1.1 400 \r\n"),
        (b"GET /events HTTP/1.1\r\nHost: x\r\nA b: c\r\n", b"HTTP/1.1 400 \r\n"),
        (b"GET  /events HTTP/9.9\r\nHost: x\r\n", b"HTTP/1.1 400 \r\n"),
    ],
    ids=["no key", "no such page", "no host", "no header", "no HTTP"],
)
async def test_an_event_stream_that_cannot_be_is_refused(stage, head, answer):
    async with await stage.dial() as stream:
        await stream.send_all(head + b"Accept: text/event-stream\r\n\r\n")
        with trio.fail_after(5):
            said = await until_closed(stream)
    assert said.startswith(answer)
    assert b"\r\nconnection: close\r\n" in said


async def test_a_reader_of_events_that_never_reads_is_given_up(autojump_clock, stage, client):
    async with await stage.dial() as stream:
        await stream.send_all(
            b"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n" + AUTHORIZATION + b"\r\n"
        )
        await stream.receive_some(65536)
        for number in range(4):
            artifact = Artifact(type="flynn", uri=f"image:{number}", meta={"x": "x" * 300_000})
            await stage.store.transact(lambda tx, artifact=artifact: changes.create_artifact(tx, artifact))
        await trio.sleep(stage.settings.write_timeout_s + 1)
        assert stage.controller._open == set()
    assert (await client.get("/apps")).status == 200


async def ask_without_reading(stage, stream):
    """Send requests whose answers fill every buffer, and read none of them."""
    artifact = Artifact(type="flynn", uri="image:x", meta={"x": "x" * 1_000_000})
    await stage.store.transact(lambda tx: changes.create_artifact(tx, artifact))
    await stream.send_all(b"GET /artifacts HTTP/1.1\r\nHost: x\r\n" + AUTHORIZATION + b"\r\n")


async def test_a_client_that_never_reads_is_given_up(autojump_clock, stage, client):
    async with await stage.dial() as stream:
        await ask_without_reading(stage, stream)
        await trio.sleep(stage.settings.write_timeout_s + 1)
        assert len(await until_closed(stream)) < 1_000_000
    assert (await client.get("/apps")).status == 200


@pytest.mark.parametrize("how", ["leave", "cancel"])
async def test_a_client_that_never_reads_cannot_hold_up_a_shutdown(open_stage, settings, how):
    with trio.fail_after(5), trio.CancelScope() as scope:
        async with open_stage(replace(settings, drain_s=0.1)) as stage:
            stream = await stage.dial()
            await ask_without_reading(stage, stream)
            await wait_all_tasks_blocked()
            if how == "cancel":
                scope.cancel()
                await trio.lowlevel.checkpoint()
    stream.socket.close()


@pytest.mark.parametrize("sent", [b"", b"GET /ping HTTP/1.1\r\nHo", GET], ids=["silent", "half a head", "idle"])
async def test_a_connection_nobody_uses_is_closed(autojump_clock, stage, sent):
    async with await stage.dial() as stream:
        started = trio.current_time()
        await stream.send_all(sent)
        await until_closed(stream)
        assert trio.current_time() - started == pytest.approx(stage.settings.keep_alive_timeout_s, abs=1)


async def test_a_body_that_stalls_is_given_up(autojump_clock, stage):
    async with await stage.dial() as stream:
        await stream.send_all(b"POST /apps HTTP/1.1\r\nHost: x\r\n" + AUTHORIZATION + b"Content-Length: 10\r\n\r\n{")
        answer = await until_closed(stream)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"The request body did not arrive within 60 s" in answer


@pytest.mark.parametrize(
    "sent",
    [b"", GET, b"GET /events?x HTTP/1.1\r\nHost: x\r\n" + AUTHORIZATION + b"\r\n", b"POST /apps HTTP/1.1\r\n"],
    ids=["silent", "idle", "stream", "half a head"],
)
async def test_a_closed_client_leaves_nothing_behind(stage, sent):
    async with await stage.dial() as stream:
        await stream.send_all(sent)
        await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    assert stage.controller._open == set()


def refusing(*, fails=False):
    """Return an application that answers late, and has read nothing of its request."""

    async def git(scope, receive, send):
        await wait_all_tasks_blocked()
        if fails:
            raise ZeroDivisionError("boom")
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return git


@pytest.mark.parametrize("fails", [False, True], ids=["refusal", "bug"])
async def test_a_body_nobody_reads_does_not_keep_its_connection(open_stage, fails):
    """Ten pieces of it fill the application's queue; only the application could make room for the news that it ends."""
    async with open_stage(git=refusing(fails=fails)) as stage, trio.open_nursery() as nursery:
        async with await stage.controller.dial("git")() as stream:

            async def push():
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await stream.send_all(
                        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + bytes(9_000_000)
                    )

            nursery.start_soon(push)
            with trio.fail_after(5):
                answer = await until_closed(stream)
        assert answer.startswith(b"" if fails else b"HTTP/1.1 401 ")
        await wait_all_tasks_blocked()
        assert stage.controller._open == set()


@pytest.mark.parametrize("body", [b"", b"a", b"abc"], ids=["none of it", "a part", "all of it"])
async def test_after_an_early_answer_the_connection_is_not_used_again(stage, body):
    """Else what is left of the body would meet the next request on the router's kept connection."""
    async with await stage.dial() as stream:
        await stream.send_all(b"POST /apps HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n" + body)
        with trio.fail_after(5):
            answer = await until_closed(stream)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in answer


async def test_draining_lets_a_request_finish_and_closes_the_idle(autojump_clock, open_stage, settings):
    entered, finish = trio.Event(), trio.Event()

    async def git(scope, receive, send):
        entered.set()
        await finish.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with open_stage(replace(settings, drain_s=5), git=git) as stage, trio.open_nursery() as nursery:
        idle = await stage.dial()
        await idle.send_all(GET)
        assert (await idle.receive_some(65536)).startswith(b"HTTP/1.1 200")
        git_client = HTTPClient(stage.controller.dial("git"), key=None)
        answers = []

        async def ask():
            answers.append(await git_client.get("/x"))

        nursery.start_soon(ask)
        await entered.wait()
        nursery.start_soon(stage.controller.drain)
        assert await until_closed(idle) == b""
        assert answers == []
        with pytest.raises(ConnectionRefusedError):
            await stage.dial()
        finish.set()
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"ok")]
    idle.socket.close()
    git_client.close()


async def test_a_request_that_does_not_finish_is_cut_when_the_drain_is_over(autojump_clock, open_stage, settings):
    async def git(scope, receive, send):
        await trio.sleep_forever()

    async with open_stage(replace(settings, drain_s=5), git=git) as stage:
        stream = await stage.controller.dial("git")()
        await stream.send_all(GET)
        await wait_all_tasks_blocked()
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(5)
    assert await until_closed(stream) == b""
    stream.socket.close()


async def test_a_draining_controller_refuses_on_connections_it_still_has(stage, client):
    await client.get("/apps")
    stage.controller._parts.leaving.set()
    response = await client.get("/apps")
    assert response.status == 503
    assert response.json() == {
        "code": "service_unavailable",
        "message": "the controller is shutting down; try again when it is back",
        "retry": True,
    }


async def test_the_git_door_streams_bodies_both_ways_and_tells_of_a_hang_up(open_stage):
    seen, hung_up = [], trio.Event()

    async def git(scope, receive, send):
        seen.append((scope["method"], scope["path"], scope["query_string"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (message := await receive())["type"] == "http.request":
            if not message["more_body"]:
                continue
            await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": True})
        hung_up.set()

    async with open_stage(git=git) as stage:
        async with await stage.controller.dial("git")() as stream:
            await stream.send_all(
                b"POST /a.git/git-receive-pack?x=y HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n"
            )
            await stream.send_all(b"Upgrade: flynn-attach/0\r\n\r\n3\r\nabc\r\n")
            received = b""
            while not received.endswith(b"3\r\nABC\r\n"):
                received += await stream.receive_some(65536)
            await stream.send_all(b"3\r\ndef\r\n")
            assert await stream.receive_some(65536) == b"3\r\nDEF\r\n"
        with trio.fail_after(1):
            await hung_up.wait()
    assert seen == [("POST", "/a.git/git-receive-pack", b"x=y")]


async def test_a_failing_application_ends_only_its_own_request(open_stage, caplog):
    async def git(scope, receive, send):
        raise ZeroDivisionError("boom")

    async with open_stage(git=git) as stage:
        for _ in range(2):
            response = await HTTPClient(stage.controller.dial("git"), key=None).get("/x")
            assert (response.status, response.body) == (500, b"")
        assert (await stage.client().get("/apps")).status == 200
    assert "ZeroDivisionError" in caplog.text
