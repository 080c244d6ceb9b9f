"""Keys over the API: made, used side by side, removed; who failed; and what ends with a key."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.store import key_hash

from .conftest import KEY

NEW = "5a1c1ba8f1ba4f4a9eb9e44c1b0a4d6e"
ROUTER = {"x-forwarded-for": "198.51.100.1, 203.0.113.9"}


def asked(name, key):
    return {"name": name, "hash": key_hash(key).hex()}


async def test_a_key_is_replaced_without_an_outage(stage, client):
    """Flynn's TestKeyRotation: both keys are valid at once, and clients move from one to the other meanwhile."""
    new = stage.client(NEW)
    assert (await new.get("/apps")).status == 401
    added = await client.post("/keys", asked("ci", NEW))
    assert (added.status, added.json()["name"]) == (200, "ci")
    for each in (client, new):
        assert (await each.get("/apps")).status == 200
    stage.settings.operator_key.write_text(NEW)  # as `flynn-aio key rotate` does
    assert (await new.delete("/keys/cluster")).status == 200
    assert (await client.get("/apps")).status == 401
    assert (await new.get("/apps")).status == 200


async def test_the_list_says_what_is_known_of_a_key_and_nothing_it_could_be_made_from(stage, client):
    await client.post("/keys", asked("ci", NEW))
    response = await client.get("/keys")
    own, other = response.json()
    assert own == {
        "name": "cluster",
        "created_at": own["created_at"],
        "last_used_at": own["last_used_at"],
        "operator": True,
    }
    assert own["last_used_at"] > own["created_at"]
    assert (other["name"], other["last_used_at"], other["operator"]) == ("ci", None, False)
    for secret in (KEY, NEW, key_hash(KEY).hex(), key_hash(NEW).hex()):
        assert secret.encode() not in response.body


async def test_keys_are_told_of_as_events(stage, client):
    await client.post("/keys", asked("ci", NEW))
    await client.delete("/keys/ci")
    events = (await client.get("/events?object_types=key,key_deletion&object_id=ci")).json()
    assert [(event["object_type"], event["data"]["name"]) for event in events] == [
        ("key_deletion", "ci"),
        ("key", "ci"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"name": "A b", "hash": "00" * 32}, 400, "name 'A b' is invalid"),
        ({"name": "a", "hash": "00"}, 400, "hash must be the SHA-256"),
        ({"name": "a", "hash": "zz" * 32}, 400, "hash must be the SHA-256"),
        ({"name": "a"}, 400, "hash must be the SHA-256"),
        ({"name": "cluster", "hash": "00" * 32}, 409, 'key "cluster" already exists'),
        ({"name": "again", "hash": key_hash(KEY).hex()}, 409, 'this key already exists, as "cluster"'),
        ({"name": 1}, 400, "The provided JSON input is invalid"),
    ],
)
async def test_what_is_no_new_key_is_refused(client, body, status, message):
    response = await client.post("/keys", body)
    assert response.status == status
    assert response.json()["message"].startswith(message)
    assert len((await client.get("/keys")).json()) == 1


async def test_the_operators_own_key_stays(stage, client):
    await client.post("/keys", asked("ci", NEW))
    refused = await client.delete("/keys/cluster")
    assert (refused.status, refused.json()["code"]) == (409, "conflict")
    assert "flynn-aio key rotate" in refused.json()["message"]
    stage.settings.operator_key.unlink()  # somebody was tidying up: the next start makes another
    assert (await client.delete("/keys/ci")).status == 200
    assert "the last one" in (await client.delete("/keys/cluster")).json()["message"]
    assert (await client.delete("/keys/ghost")).status == 404


async def test_a_stream_ends_with_its_key_and_others_go_on(stage, client):
    await client.post("/keys", asked("ci", NEW))
    async with (
        stage.client(NEW).stream("/events?object_types=app") as theirs,
        client.stream("/events?object_types=app") as ours,
    ):
        await client.delete("/keys/ci")
        with trio.fail_after(5):
            assert await theirs.piece() == b""  # a clean end, which a client takes for one
        await client.post("/apps", {"name": "hello"})
        assert b'"name":"hello"' in await ours.piece()


async def test_wrong_keys_are_slowed_by_the_address_the_router_saw(autojump_clock, stage, client):
    """Whatever a client claims stands before it, and buys nothing."""
    started = trio.current_time()
    for number in range(15):
        forged = {"x-forwarded-for": f"192.0.2.{number}, 203.0.113.9"}
        assert (await stage.client("wrong").get("/apps", headers=forged)).status == 401
    assert trio.current_time() - started > 10
    started = trio.current_time()
    assert (await client.get("/apps", headers=ROUTER)).status == 200
    assert trio.current_time() == started
    [failure] = (await client.get("/keys/failures")).json()
    assert (failure["address"], failure["count"]) == ("203.0.113.9", 15)


async def test_too_many_wrong_keys_at_once_are_refused_with_a_reason(autojump_clock, stage, client):
    statuses, bodies = [], []

    async def ask():
        response = await stage.client("wrong").get("/apps", headers=ROUTER)
        statuses.append(response.status)
        bodies.append(response.body)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
    assert (statuses.count(429), statuses.count(401)) == (8, 12)
    refusal = bodies[statuses.index(429)]
    assert refusal.startswith(b'{"code":"ratelimited","message":"')
    assert refusal.endswith(
        b'wrong keys came from 203.0.113.9; wait a while, then come back with a right one","retry":false}'
    )


async def test_a_slow_refusal_does_not_hold_up_a_shutdown(open_stage):
    with trio.fail_after(5):
        async with open_stage() as stage:
            for _ in range(5):
                assert (await stage.client("wrong").get("/apps", headers=ROUTER)).status == 401
            streams = [await stage.dial() for _ in range(5)]
            for stream in streams:
                await stream.send_all(
                    b"GET /apps HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n"
                    b"Authorization: Basic Ondyb25n\r\n\r\n"
                )
            await wait_all_tasks_blocked()
    for stream in streams:
        stream.socket.close()
