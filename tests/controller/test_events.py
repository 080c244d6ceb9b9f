"""Events: lists, and streams byte by byte."""

import json
from dataclasses import replace

import h11
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.errors import Unavailable
from flynn_aio.model import App
from flynn_aio.settings import StoreSettings
from flynn_aio.store import changes, inline, open_store, queries

from ..support.build import make_app
from .test_releases import UNKNOWN

STREAM = "/events?object_types=app"


@pytest.fixture
async def apps(store):
    """Three apps, oldest first."""
    return [await make_app(store, name) for name in ("one", "two", "three")]


async def names(client, query=""):
    response = await client.get(f"/events?object_types=app{query}")
    assert response.status == 200, response
    return [event["data"]["name"] for event in response.json()]


async def test_a_list_is_newest_first_and_can_be_narrowed(client, apps):
    events = (await client.get("/events")).json()
    ids = [event["id"] for event in events]
    assert ids == sorted(ids, reverse=True)
    assert {event["object_type"] for event in events} == {"app", "route", "key"}
    of_apps = [event for event in events if event["object_type"] != "key"]  # the fixtures run side by side
    assert list(of_apps[0]) == ["id", "app", "object_type", "object_id", "data", "created_at"]
    by_name = {event["data"]["name"]: event["id"] for event in events if event["object_type"] == "app"}
    assert await names(client) == ["three", "two", "one"]
    assert await names(client, "&count=2") == ["three", "two"]
    assert await names(client, "&count=0") == ["three", "two", "one"]
    assert await names(client, f"&before_id={by_name['three']}") == ["two", "one"]
    assert await names(client, f"&since_id={by_name['one']}") == ["three", "two"]
    assert await names(client, "&app_id=two") == ["two"]
    assert await names(client, f"&app_id={apps[0].id}") == ["one"]
    assert await names(client, f"&object_id={apps[2].id}") == ["three"]
    assert await names(client, f"&object_id={UNKNOWN}") == []
    one = await client.get(f"/events/{ids[0]}")
    assert one.json() == events[0]


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr("flynn_aio.store.queries.pages.EVENTS_PAGE", 3)


async def test_a_list_of_many_pages_is_the_same_list(client, store, monkeypatch):
    for number in range(10):
        await make_app(store, f"app-{number}")
    wanted = ["", "&count=3", "&count=4", "&count=6", "&count=100", "&app_id=app-3", "&before_id=12&since_id=5"]
    whole = [(await client.get(f"/events?object_types=app,route{query}")) for query in wanted]
    assert {response.headers.get("transfer-encoding") for response in whole} == {None}
    for name, size in (("EVENTS_PAGE", 3), ("EVENTS_PAGE_BYTES", 500)):
        with monkeypatch.context() as pages:
            pages.setattr(f"flynn_aio.store.queries.pages.{name}", size)
            for query, before in zip(wanted, whole, strict=True):
                again = await client.get(f"/events?object_types=app,route{query}")
                assert (again.status, again.content_type, again.body) == (200, "application/json", before.body)
            assert again.headers["transfer-encoding"] == "chunked"


async def test_a_replay_of_many_pages_is_the_same(client, store, small_pages):
    for number in range(10):
        await make_app(store, f"app-{number}")
    for query, first in (("", 0), ("&count=7", 3), ("&count=3", 7), ("&count=100", 0)):
        async with client.stream(f"{STREAM}&past=true{query}") as stream:
            found = [(await stream.event())["data"]["name"] for _ in range(10 - first)]
        assert found == [f"app-{number}" for number in range(first, 10)]


async def test_a_list_that_breaks_off_is_seen_to(stage, store, small_pages, monkeypatch, caplog):
    """What was sent is no JSON, and the body has no end: nobody takes it for the whole list."""
    for number in range(10):
        await make_app(store, f"app-{number}")
    pages = iter([1, 2])
    events = queries.events

    def breaks(*args, **kwargs):
        if next(pages, None) is None:
            raise Unavailable("could not read the database: it is locked")
        return events(*args, **kwargs)

    monkeypatch.setattr("flynn_aio.store.queries.events", breaks)
    async with stage.client().stream("/events", accept="application/json") as stream:
        with pytest.raises(h11.RemoteProtocolError):
            await stream.rest()
    [told] = [record for record in caplog.records if record.levelname != "INFO"]
    assert (told.message, told.reason) == ("an answer broke off", "could not read the database: it is locked")
    monkeypatch.undo()
    assert (await stage.client().get("/events")).status == 200


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_parameters_are_checked_before_any_byte_of_a_stream(client, apps, accept):
    headers = {"accept": accept}
    assert (await client.get("/events?app_id=nobody", headers=headers)).status == 404
    bad = ["count=x", "count=99999999999999999999", "count=" + "9" * 5000, "count=1.5"]
    bad += ["before_id=x", "since_id=-"] if accept == "application/json" else []
    for query in bad:
        response = await client.get(f"/events?{query}", headers=headers)
        field = query.partition("=")[0]
        assert (response.status, response.json()["message"]) == (400, f"{field} is invalid")
        assert response.json()["detail"] == {"field": field}
    if accept != "application/json":
        response = await client.get("/events", headers=headers | {"last-event-id": "x"})
        assert response.json()["detail"] == {"field": "Last-Event-Id"}


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*", "application/json, text/plain"])
async def test_anything_but_plain_json_is_a_stream(client, store, accept):
    async with client.stream(STREAM, accept=accept) as stream:
        assert (stream.head.status, stream.head.content_type) == (200, "text/event-stream; charset=utf-8")
        await make_app(store)
        assert (await stream.event())["data"]["name"] == "hello"


async def test_a_frame_is_one_line_of_json_and_an_empty_one(client, store, apps):
    async with client.stream(STREAM) as stream:
        await make_app(store)
        piece = await stream.piece()
    event = (await client.get("/events?object_types=app&count=1")).body
    assert piece == b"data: " + event[1:-1] + b"\n\n"


async def test_whatever_happens_after_the_head_is_in_the_stream(client, store):
    """The client acts as soon as it sees the head; nothing of that may be missed."""
    for number in range(20):
        async with client.stream(STREAM) as stream:
            await make_app(store, f"app-{number}")
            assert (await stream.event())["data"]["name"] == f"app-{number}"


@pytest.mark.parametrize(
    ("query", "last_id", "expected"),
    [
        ("&past=true", "0", ["one", "two", "three", "hello"]),
        ("&past=true", None, ["one", "two", "three", "hello"]),
        ("&past=true&count=2", "0", ["two", "three", "hello"]),
        ("&past=false", "0", ["hello"]),
        ("", "one", ["two", "three", "hello"]),
        ("&count=1", "one", ["three", "hello"]),
        ("&past=true", "two", ["three", "hello"]),
        ("&past=true&before_id=x&since_id=y", "three", ["hello"]),
    ],
)
async def test_a_stream_replays_what_is_asked_oldest_first_and_goes_on(client, store, apps, query, last_id, expected):
    ids = {event["data"]["name"]: event["id"] for event in (await client.get(STREAM)).json()}
    headers = {} if last_id is None else {"last-event-id": str(ids.get(last_id, last_id))}
    async with client.stream(STREAM + query, headers=headers) as stream:
        await make_app(store)
        assert [(await stream.event())["data"]["name"] for _ in expected] == expected


async def test_a_stream_of_an_app_goes_on_when_the_app_is_deleted(client, store):
    await make_app(store)
    async with client.stream("/events?app_id=hello&object_types=app_deletion") as stream:
        assert (await client.delete("/apps/hello")).status == 200
        assert (await stream.event())["data"]["error"] == ""


async def test_an_idle_stream_is_kept_alive_with_two_bytes(autojump_clock, client, store, settings):
    async with client.stream(STREAM) as stream:
        started = trio.current_time()
        assert await stream.piece() == b":\n"
        assert trio.current_time() - started == pytest.approx(30)
        await trio.sleep(20)
        await make_app(store)
        assert (await stream.event())["data"]["name"] == "hello"
        again = trio.current_time()
        assert await stream.piece() == b":\n"
        assert trio.current_time() - again == pytest.approx(30)


async def test_a_stream_whose_past_cannot_be_read_says_so(client, apps, monkeypatch):
    def locked(*args, **kwargs):
        raise Unavailable("could not read the database: it is locked")

    monkeypatch.setattr("flynn_aio.store.store.queries.next_events", locked)
    async with client.stream(f"{STREAM}&past=true") as stream:
        with trio.fail_after(3):
            assert await stream.rest() == b"event: error\ndata: could not read the database: it is locked\n\n"


async def test_a_reader_a_whole_buffer_behind_is_told_and_resumes_by_id(tmp_path, clock, open_stage):
    def many(tx):
        for number in range(10):
            changes.create_app(tx, App(name=f"app-{number}", meta={}), route_domain=None)

    small = StoreSettings(path=tmp_path / "small.db", event_buffer=3)
    async with open_store(small, clock, run_blocking=inline) as store, open_stage(store=store) as stage:
        client = stage.client()
        async with client.stream(STREAM) as stream:
            await store.transact(many)
            *frames, error, rest = (await stream.rest()).split(b"\n\n")
        assert (error, rest) == (b"event: error\ndata: event stream buffer overflow", b"")
        seen = [json.loads(frame[6:]) for frame in frames]
        assert 3 <= len(seen) < 10
        async with client.stream(STREAM, headers={"last-event-id": str(seen[-1]["id"])}) as stream:
            seen += [await stream.event() for _ in range(10 - len(seen))]
        assert [event["data"]["name"] for event in seen] == [f"app-{number}" for number in range(10)]


async def test_a_stream_ends_cleanly_when_the_controller_leaves(open_stage, settings):
    async with open_stage(replace(settings, drain_s=5)) as stage:
        async with stage.client().stream(STREAM) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.controller.drain)
                with trio.fail_after(1):
                    assert await stream.rest() == b""  # and the last chunk: h11 says so


async def test_a_client_that_goes_ends_its_subscription(stage, client, store):
    for _ in range(3):
        async with client.stream(STREAM):
            pass
    await wait_all_tasks_blocked()
    assert not store._feed._listeners
