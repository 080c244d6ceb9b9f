"""Sinks over the wire."""

import pytest

from .test_releases import UNKNOWN

CONFIG = {
    "url": "syslog+tls://logs.example.com:6514",
    "template": '{{index .Metadata "team"}}',
    "use_ids": True,
    "format": "newline",
    "more": {"of": [1, "it"]},
}


async def add(client, **config):
    return await client.post("/sinks", {"id": "", "kind": "syslog", "config": CONFIG | config})


async def test_a_sink_is_kept_as_it_was_sent(client):
    created = (await add(client)).json()
    assert list(created) == ["id", "kind", "config", "created_at", "updated_at"]
    assert (created["kind"], created["config"]) == ("syslog", CONFIG)
    assert created["created_at"] == created["updated_at"]
    assert (await client.get(f"/sinks/{created['id']}")).json() == created
    [event] = (await client.get("/events?object_types=sink")).json()
    assert (event["object_id"], event["data"], "app" in event) == (created["id"], created, False)


async def test_sinks_are_listed_newest_first_and_deleted(client):
    assert (await client.get("/sinks")).json() == []
    ids = [(await add(client)).json()["id"] for _ in range(3)]
    assert [sink["id"] for sink in (await client.get("/sinks")).json()] == ids[::-1]
    deleted = await client.delete(f"/sinks/{ids[1]}")
    assert (deleted.status, deleted.json()["id"], deleted.json()["config"]) == (200, ids[1], CONFIG)
    assert [sink["id"] for sink in (await client.get("/sinks")).json()] == [ids[2], ids[0]]
    [event] = (await client.get("/events?object_types=sink_deletion")).json()
    assert (event["object_id"], event["data"]) == (ids[1], deleted.json())
    for method in ("GET", "DELETE"):
        for sink_id in (ids[1], UNKNOWN, "x"):
            response = await client.request(method, f"/sinks/{sink_id}")
            assert (response.status, response.content_type) == (404, None)


async def test_an_id_may_be_given_once(client):
    sent = {"id": UNKNOWN, "kind": "syslog", "config": CONFIG, "created_at": None}
    assert (await client.post("/sinks", sent)).json()["id"] == UNKNOWN
    again = await client.post("/sinks", sent)
    assert (again.status, again.json()["code"]) == (409, "object_exists")
    wrong = await client.post("/sinks", sent | {"id": "x"})
    assert (wrong.status, wrong.json()["message"]) == (400, "id must be a UUID")


ENUM = "Enum error. The data must be equal to one of these values"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"kind": "logaggregator"}, f"kind {ENUM} [syslog]."),
        ({}, f"kind {ENUM} [syslog]."),
        ({"kind": "syslog"}, 'Required error. The data must be an object with "config" as one of its keys'),
        ({"kind": "syslog", "config": None}, "Required error. "),
        ({"kind": "syslog", "config": {}}, "config.url must be like syslog://HOST:PORT"),
        ({"kind": "syslog", "config": {"url": 1}}, "config must have texts as url, "),
        ({"kind": "syslog", "config": {"url": "syslog://h", "insecure": "yes"}}, "config must have texts"),
        ({"kind": "syslog", "config": {"url": "syslog://h", "format": "x"}}, f"config.format {ENUM} [rfc6587 newline"),
        ({"kind": "syslog", "config": {"url": "syslog://h", "template": "{{end}}"}}, "config.template has {{end}}, wh"),
    ],
)
async def test_what_cannot_be_a_sink_is_refused(client, sent, message):
    response = await client.post("/sinks", sent)
    assert (response.status, response.json()["code"]) == (400, "validation_error")
    assert response.json()["message"].startswith(message)
    assert (await client.get("/sinks")).json() == []
