"""Formations and scale requests over the wire."""

import pytest

from flynn_aio.store import changes

from ..support.build import make_app, make_release, web_process
from .test_releases import UNKNOWN


@pytest.fixture
async def release(store):
    app = await make_app(store)
    return await make_release(store, app, {"web": web_process("hello-web"), "worker": web_process()})


def scale(release, **fields):
    """The body Flynn's client sends, with `fields`."""
    empty = {
        "id": "",
        "app": "hello",
        "release": release.id,
        "state": "pending",
        "created_at": None,
        "updated_at": None,
    }
    return empty | fields


async def test_a_scale_request_is_answered_with_what_was_asked(client, release):
    first = await client.put(f"/apps/hello/scale/{release.id}", scale(release, new_processes={"web": 1}))
    body = scale(release, new_processes={"web": 2, "worker": 1}, new_tags={"web": {"a": "b"}})
    asked = (await client.put(f"/apps/hello/scale/{release.id}", body)).json()
    assert list(asked) == [
        "id", "app", "release", "state", "old_processes", "new_processes", "new_tags", "created_at", "updated_at",
    ]  # fmt: skip
    assert asked["app"] == release.app_id
    assert asked["state"] == "pending"
    assert asked["old_processes"] == {"web": 1}
    assert asked["new_processes"] == {"web": 2, "worker": 1}
    assert asked["new_tags"] == {"web": {"a": "b"}}
    assert asked["created_at"]
    formation = (await client.get(f"/apps/hello/formations/{release.id}")).json()
    assert list(formation) == ["app", "release", "processes", "tags", "created_at", "updated_at"]
    assert formation["processes"] == {"web": 2, "worker": 1}
    events = (await client.get("/events?object_types=scale_request,scale_request_cancelation,scale")).json()[::-1]
    assert [(event["object_type"], event["data"].get("state")) for event in events][2:] == [
        ("scale_request", "pending"),
        ("scale_request_cancelation", "cancelled"),
        ("scale_request", "cancelled"),
        ("scale", None),
    ]
    assert events[3]["object_id"] == first.json()["id"]


async def test_types_that_are_not_named_keep_their_count(client, release):
    await client.put(f"/apps/hello/scale/{release.id}", scale(release, new_processes={"web": 1, "worker": 3}))
    await client.put(f"/apps/hello/scale/{release.id}", scale(release, new_processes={"web": 2}))
    formation = (await client.get(f"/apps/hello/formations/{release.id}")).json()
    assert formation["processes"] == {"web": 2, "worker": 3}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "scale request must have either processes or tags set"),
        ({"new_processes": {"web": -1}}, "new_processes.web must be 0 to 10000"),
        ({"new_processes": {"web": 2**40}}, "new_processes.web must be 0 to 10000"),
        (
            {"new_processes": {"b": 1, "a": 1}},
            "requested scale includes process types that do not exist in the release: a, b",
        ),
        (
            {"state": "", "new_processes": {"web": 1}},
            "state Enum error. The data must be equal to one of these values [pending cancelled complete].",
        ),
    ],
)
async def test_a_scale_that_cannot_be_is_refused(client, release, fields, message):
    response = await client.put(f"/apps/hello/scale/{release.id}", scale(release, **fields))
    assert (response.status, response.json()["code"], response.json()["message"]) == (400, "validation_error", message)
    assert (await client.get(f"/apps/hello/formations/{release.id}")).status == 404


@pytest.mark.parametrize("tags", [{"web": {"": "ssd"}}, {"web": {"disk": "ssd", "": ""}}])
async def test_a_tag_has_a_key(client, release, tags):
    response = await client.put(f"/apps/hello/scale/{release.id}", scale(release, new_tags=tags))
    assert response.json()["message"] == "new_tags.web must not have a tag without a key"
    path = f"/apps/hello/formations/{release.id}"
    response = await client.put(path, {"processes": {"web": 1}, "tags": tags})
    assert response.json()["message"] == "tags.web must not have a tag without a key"
    assert (await client.get(path)).status == 404


async def test_nobody_gets_more_jobs_than_the_network_has_room_for(store, client, release):
    full = "would make {} jobs of all apps together; the jobs' network has room for 100"
    other = await make_release(store, await make_app(store, "other"))
    await client.put(f"/apps/other/formations/{other.id}", {"processes": {"web": 60}})
    path = f"/apps/hello/formations/{release.id}"
    refused = await client.put(path, {"processes": {"web": 40, "worker": 1}})
    assert (refused.status, refused.json()["message"]) == (400, "processes " + full.format(101))
    assert (await client.get(path)).status == 404
    assert (await client.put(path, {"processes": {"web": 40}})).status == 200
    refused = await client.put(f"/apps/hello/scale/{release.id}", scale(release, new_processes={"worker": 1}))
    assert (refused.status, refused.json()["message"]) == (400, "new_processes " + full.format(101))
    moved = await client.put(f"/apps/hello/scale/{release.id}", scale(release, new_processes={"web": 39, "worker": 1}))
    assert moved.status == 200


async def test_who_has_too_many_already_may_want_fewer(store, client, release):
    await store.transact(lambda tx: changes.set_formation(tx, release.app_id, release.id, {"web": 150}, {}))
    path = f"/apps/hello/formations/{release.id}"
    assert (await client.put(path, {"processes": {"web": 149}})).status == 200
    assert (await client.put(path, {"processes": {"web": 150}})).status == 400
    assert (await client.put(path, {"processes": {"web": 0}})).status == 200


async def test_a_request_can_be_said_to_be_over(client, release):
    asked = (await client.put(f"/apps/hello/scale/{release.id}", scale(release, new_processes={"web": 1}))).json()
    done = await client.put(f"/apps/hello/scale/{release.id}", scale(release, id=asked["id"], state="complete"))
    assert (done.json()["id"], done.json()["state"]) == (asked["id"], "complete")
    [event] = (await client.get("/events?object_types=scale_request&count=1")).json()
    assert (event["object_id"], event["data"]["state"]) == (asked["id"], "complete")
    assert (await client.put(f"/apps/hello/scale/{release.id}", scale(release, id="x", state="complete"))).status == 404


async def test_scaling_an_unknown_release_is_a_404(client, release):
    response = await client.put(f"/apps/hello/scale/{UNKNOWN}", scale(release, new_processes={"web": 1}))
    assert (response.status, response.body) == (404, b"")


async def test_a_formation_that_is_put_is_echoed_and_merged(client, release):
    path = f"/apps/hello/formations/{release.id}"
    await client.put(path, {"processes": {"web": 1, "worker": 2}})
    echoed = (await client.put(path, {"app": "x", "release": "y", "processes": {"web": 3}, "tags": None})).json()
    assert (echoed["app"], echoed["release"], echoed["processes"]) == (release.app_id, release.id, {"web": 3})
    assert (await client.get(path)).json()["processes"] == {"web": 3, "worker": 2}
    await client.put(path, {})
    assert (await client.get(path)).json()["processes"] == {"web": 0, "worker": 0}
    assert len((await client.get("/apps/hello/formations")).json()) == 1


async def test_a_release_without_artifacts_cannot_be_scaled(client, release):
    bare = (await client.post("/releases", {"app_id": release.app_id, "processes": {"web": {}}})).json()
    response = await client.put(f"/apps/hello/formations/{bare['id']}", {"processes": {"web": 1}})
    assert (response.status, response.json()["message"]) == (400, "release is not deployable")


async def test_a_formation_is_deleted_once(client, release):
    path = f"/apps/hello/formations/{release.id}"
    await client.put(path, {"processes": {"web": 1}})
    response = await client.delete(path)
    assert (response.status, response.body) == (200, b"")
    assert (await client.get(path)).status == 404
    assert (await client.delete(path)).status == 404


async def test_a_formation_can_be_expanded(client, release):
    path = f"/apps/hello/formations/{release.id}"
    await client.put(path, {"processes": {"web": 1}})
    expanded = (await client.get(f"{path}?expand=true")).json()
    assert expanded["app"]["name"] == "hello"
    assert expanded["release"]["id"] == release.id
    assert [artifact["id"] for artifact in expanded["artifacts"]] == release.artifacts
    assert expanded["pending_scale_request"]["state"] == "pending"
    assert [one["release"]["id"] for one in (await client.get("/formations?active=true")).json()] == [release.id]
    await client.put(path, {"processes": {"web": 0}})
    assert (await client.get("/formations?active=true")).body == b"[]"
    response = await client.get("/formations")
    assert response.json()["message"] == "must either request a stream or only active formations"
