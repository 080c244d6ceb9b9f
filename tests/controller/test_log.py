"""Logs over the wire: lines of JSON, and events."""

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from flynn_aio.engine import Stream
from flynn_aio.logs import LogMessage, LogQuery

from ..support.build import make_app, make_release

UUID = "5136d8fb-8c5e-4f0e-a37d-0a5bd8f9b1a4"
EVENTS = {"accept": "text/event-stream"}
EVERY_STREAM = frozenset({"stdout", "stderr"})


@dataclass
class FakeLogs:
    """Logs in a list, for what is asked of them; `live` sends to the followers."""

    messages: list[LogMessage] = field(default_factory=list)
    queries: list[LogQuery] = field(default_factory=list)
    live: list[trio.MemorySendChannel] = field(default_factory=list)

    async def read(self, app, query):
        self.queries.append(query)
        return self.messages[-(query.lines or 0) :]

    @asynccontextmanager
    async def follow(self, app, query):
        self.queries.append(query)
        send, receive = trio.open_memory_channel(1000)
        for message in self.messages[len(self.messages) - (query.lines or 0) :]:
            send.send_nowait(message)
        self.live.append(send)
        with receive:
            yield receive


@pytest.fixture
def logs():
    return FakeLogs()


@pytest.fixture
async def stage(open_stage, logs):
    async with open_stage(logs=logs) as stage:
        yield stage


def message(number, **fields):
    return LogMessage(
        host_id="host0", job_id=f"host0-{UUID}", msg=f"line {number}", source="app", stream="stdout", **fields
    )


@pytest.fixture
async def app(store):
    return await make_app(store)


async def test_lines_of_json_in_plain_text(logs, client, app):
    logs.messages = [message(1, process_type="web"), message(2)]
    response = await client.get("/apps/hello/log")
    assert (response.status, response.content_type) == (200, "text/plain")
    first, second, rest = response.body.split(b"\n")
    assert json.loads(first)["process_type"] == "web"
    assert second == b'{"host_id":"host0","job_id":"host0-%s","msg":"line 2","source":"app","stream":"stdout"}' % (
        UUID.encode()
    )
    assert rest == b""


async def test_an_empty_log_is_an_empty_200(client, app):
    response = await client.get("/apps/hello/log")
    assert (response.status, response.content_type, response.body) == (200, "text/plain", b"")


async def test_a_long_log_comes_whole(logs, client, app):
    logs.messages = [message(number) for number in range(1001)]
    lines = (await client.get("/apps/hello/log")).body.splitlines()
    assert [json.loads(line)["msg"] for line in lines] == [f"line {number}" for number in range(1001)]


@pytest.mark.parametrize(
    ("query", "lines", "job", "process_type", "streams"),
    [
        ("", None, None, None, EVERY_STREAM),
        ("lines=0", 0, None, None, EVERY_STREAM),
        ("lines=10000", 10000, None, None, EVERY_STREAM),
        (f"job_id=host0-{UUID}", None, UUID, None, EVERY_STREAM),
        ("process_type=", None, None, "", EVERY_STREAM),
        ("process_type=web&process_type=worker", None, None, "worker", EVERY_STREAM),
        ("stream_types=stderr%2Cinit", None, None, None, frozenset({"stderr", "init"})),
        ("stream_types=", None, None, None, EVERY_STREAM),
    ],
)
async def test_what_is_asked_for_reaches_the_logs(logs, client, app, query, lines, job, process_type, streams):
    await client.get(f"/apps/hello/log?{query}")
    [asked] = logs.queries
    assert (asked.lines, asked.job, asked.process_type, asked.streams) == (lines, job, process_type, streams)


@pytest.mark.parametrize(("query", "lines"), [("", None), ("&lines=0", 0), ("&lines=3", 3)])
async def test_following_begins_with_the_last_lines_only_when_asked(logs, client, app, query, lines):
    async with client.stream(f"/apps/hello/log?follow=true{query}"):
        [asked] = logs.queries
        assert asked.lines == lines


@pytest.mark.parametrize("lines", ["-1", "10001", "x", "1e3", "%D9%A1", "1" * 5000])
async def test_lines_are_a_number_in_range(client, app, lines):
    response = await client.get(f"/apps/hello/log?lines={lines}")
    assert response.status == 400
    assert response.json() == {
        "code": "validation_error",
        "message": "lines lines must be an integer between 0 and 10000",
        "detail": {"field": "lines"},
        "retry": False,
    }


async def test_followed_lines_come_at_once(logs, client, app):
    logs.messages = [message(1), message(2)]
    async with client.stream("/apps/hello/log?follow=true&lines=1", accept="") as stream:
        assert stream.head.content_type == "text/plain"
        assert json.loads(await stream.piece())["msg"] == "line 2"
        [live] = logs.live
        for number in (3, 4):
            live.send_nowait(message(number))
            with trio.fail_after(0.05):
                assert json.loads(await stream.piece())["msg"] == f"line {number}"
        live.close()
        assert await stream.rest() == b""


async def test_a_log_as_events_ends_with_eof(logs, client, app):
    logs.messages = [message(1)]
    response = await client.get("/apps/hello/log", headers=EVENTS)
    assert response.content_type == "text/event-stream; charset=utf-8"
    assert response.body == (
        b'data: {"event":"message","data":{"host_id":"host0","job_id":"host0-%s","msg":"line 1","source":"app",'
        b'"stream":"stdout"}}\n\ndata: {"event":"eof"}\n\n' % UUID.encode()
    )


async def test_a_followed_log_as_events_is_kept_alive(autojump_clock, logs, client, app):
    async with client.stream("/apps/hello/log?follow=true") as stream:
        assert await stream.piece() == b":\n"
        [live] = logs.live
        live.send_nowait(message(1))
        assert (await stream.event())["data"]["msg"] == "line 1"
        live.close()
        assert await stream.rest() == b'data: {"event":"eof"}\n\n'


async def test_what_a_job_prints_is_in_the_log_of_its_app(open_stage, store):
    async with open_stage() as stage:
        client, release = stage.client(), await make_release(store, await make_app(store))
        job = (await client.post("/apps/hello/jobs", {"release": release.id})).json()
        await stage.engine.print(job["uuid"], b"to the out\n")
        await stage.engine.print(job["uuid"], b"to the err\n", Stream.STDERR)
        async with client.stream("/apps/hello/log?follow=true&lines=1", accept="") as stream:
            assert json.loads(await stream.piece())["msg"] == "to the err"
            await stage.engine.print(job["uuid"], b"live\n")
            assert json.loads(await stream.piece())["msg"] == "live"
        lines = [json.loads(line) for line in (await client.get("/apps/hello/log")).body.splitlines()]
        assert [line["msg"] for line in lines] == ["to the out", "to the err", "live"]
        assert list(lines[0]) == ["host_id", "job_id", "msg", "source", "stream", "timestamp"]
        assert lines[0]["job_id"] == job["id"]
        assert (await client.get("/apps/hello/log?process_type=web")).body == b""
        assert len((await client.get(f"/apps/hello/log?process_type=&job_id={job['id']}")).body.splitlines()) == 3
        assert (await client.get(f"/apps/hello/log?job_id={job['id']}x")).body == b""
        assert (await client.get("/apps/nobody/log?follow=true")).status == 404
