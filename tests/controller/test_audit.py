"""Who asked for what, and what came of it: a line at the end, and one where a stream begins."""

import logging

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.settings import AUDIT_LOGGER
from flynn_aio.store import changes, key_hash

from ..support.attach_client import attach
from ..support.build import make_app, make_release
from ..support.http_client import Exchange
from .conftest import KEY

FIELDS = ("method", "path", "status", "key")


@pytest.fixture
def lines(caplog):
    """A function that returns what was logged so far about requests, once all of them rest."""
    caplog.set_level(logging.INFO, logger=AUDIT_LOGGER)

    async def read():
        await wait_all_tasks_blocked()
        return [record for record in caplog.records if record.name == AUDIT_LOGGER]

    return read


def told(record):
    return (record.getMessage(), *(getattr(record, name) for name in FIELDS))


async def test_every_request_is_told_when_it_ends(stage, client, lines):
    await client.get("/apps")
    await client.post("/apps", b"{")
    await client.get("/apps/nobody")
    await stage.client(None).get("/apps")
    await stage.client("wrong").get("/nothing")
    await stage.client(None).request("OPTIONS", "/apps")
    assert [told(record) for record in await lines()] == [
        ("request", "GET", "/apps", 200, "cluster"),
        ("request", "POST", "/apps", 400, "cluster"),
        ("request", "GET", "/apps/nobody", 404, "cluster"),
        ("request", "GET", "/apps", 401, "-"),
        ("request", "GET", "/nothing", 401, "-"),
        ("request", "OPTIONS", "/apps", 200, "-"),
    ]


async def test_a_line_says_from_where_with_what_and_how_long(client, lines, autojump_clock, monkeypatch, stage):
    read = stage.store.read

    async def slowly(query):
        await trio.sleep(1.5)
        return await read(query)

    monkeypatch.setattr(stage.store, "read", slowly)
    headers = {"x-forwarded-for": "10.0.0.1, 203.0.113.7", "user-agent": 'curl "8" key=operator'}
    await client.get("/apps", headers=headers)
    [record] = await lines()
    assert (record.address, record.agent) == ("203.0.113.7", r'"curl \"8\" key=operator"')
    assert 1500 <= record.ms < 4000


async def test_the_key_that_was_used_is_told_by_its_name(stage, lines):
    await stage.store.transact(lambda tx: changes.add_key(tx, "laptop", key_hash("another-key")))
    await stage.client("another-key").get("/apps")
    assert [record.key for record in await lines()] == ["laptop"]


async def test_no_secret_gets_into_a_line(stage, client, lines):
    await stage.client(None).get(f"/events?%6bey={KEY}", headers={"accept": "application/json"})
    await client.post("/releases", {"env": {"PASSWORD": "hunter2"}})
    records = await lines()
    assert [record.status for record in records] == [200, 400]
    for record in records:
        assert KEY not in str(vars(record))
        assert "hunter2" not in str(vars(record))


async def test_the_words_of_a_client_are_cut(client, lines):
    await client.get("/" + "x" * 5000, headers={"user-agent": "y" * 5000})
    [record] = await lines()
    assert len(record.path) < 300
    assert len(record.agent) < 300


async def test_a_stream_is_told_when_it_begins_and_when_it_ends(client, lines):
    async with client.stream("/events"):
        assert [told(record) for record in await lines()] == [("request goes on", "GET", "/events", 200, "cluster")]
    assert [told(record) for record in (await lines())[1:]] == [("request", "GET", "/events", 200, "cluster")]


async def test_an_attached_job_is_told_like_a_stream(stage, client, store, lines, autojump_clock):
    release = await make_release(store, await make_app(store))
    async with attach(client, "/apps/hello/jobs", {"release": release.id}) as session:
        assert session.head.status == 101
        begun = [told(record) for record in await lines()]
        assert begun == [("request goes on", "POST", "/apps/hello/jobs", 101, "cluster")]
    await trio.sleep(60)  # however long the job takes to end
    assert told((await lines())[1]) == ("request", "POST", "/apps/hello/jobs", 101, "cluster")


async def test_a_refused_attach_is_told_once(client, lines):
    async with attach(client, "/apps/nobody/jobs", {"release": "6e3e3d3f-1f4e-4f4c-9a67-6a1f4a1a7c11"}) as session:
        assert session.head.status == 404
    assert [told(record) for record in await lines()] == [("request", "POST", "/apps/nobody/jobs", 404, "cluster")]


async def test_a_client_that_leaves_in_the_middle_is_told_as_gone(stage, client, lines):
    exchange = Exchange(await stage.dial())
    head = "\r\n".join(
        [
            "POST /apps HTTP/1.1",
            "host: x",
            *(": ".join(item) for item in client.headers({}).items()),
            "content-length: 9",
        ]
    )
    await exchange.stream.send_all(head.encode() + b"\r\n\r\n{")
    await wait_all_tasks_blocked()
    await exchange.stream.aclose()
    assert [told(record) for record in await lines()] == [("request", "POST", "/apps", 499, "cluster")]
