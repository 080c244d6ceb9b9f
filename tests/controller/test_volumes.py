"""Volumes over the wire."""

import pytest
import trio
from msgspec.structs import replace

from flynn_aio.model import AppID, Job, JobID, JobState, ReleaseID, Volume, VolumeID, VolumeState, VolumeType
from flynn_aio.store import changes

from ..support.build import make_app, make_release
from .test_releases import UNKNOWN

JOB = "5136d8fb-8c5e-4f0e-a37d-0a5bd8f9b1a4"
FIRST = "00000000-0000-4000-8000-0000000000a1"
SECOND = "00000000-0000-4000-8000-0000000000a2"
MARK = {"id": "", "host_id": "", "type": "", "state": ""}


@pytest.fixture
async def release(store):
    return await make_release(store, await make_app(store))


def volume(release, volume_id=FIRST, **more) -> Volume:
    return Volume(
        id=VolumeID(volume_id),
        host_id="host0",
        type=VolumeType.DATA,
        state=VolumeState.CREATED,
        app=release.app_id,
        release=release.id,
        job_type="web",
        path="/data",
        **more,
    )


async def add(store, one: Volume) -> Volume:
    return await store.transact(lambda tx: changes.create_volume(tx, one))


async def attach(store, release, *ids):
    job = Job(
        uuid=JobID(JOB),
        app=release.app_id,
        release=release.id,
        type="web",
        state=JobState.UP,
        volumes=[*map(VolumeID, ids)],
    )
    await store.transact(lambda tx: changes.put_job(tx, job, formation=True))


async def test_a_volume_is_shown_as_the_wire_orders_it(client, store, release):
    await add(store, volume(release, delete_on_stop=True))
    await attach(store, release, FIRST)
    [one] = (await client.get("/apps/hello/volumes")).json()
    assert list(one) == [
        "path", "delete_on_stop", "id", "host_id", "type", "state", "app", "release", "job", "job_type", "created_at",
        "updated_at",
    ]  # fmt: skip
    assert (one["type"], one["state"], one["job"], one["path"]) == ("data", "created", JOB, "/data")
    assert (await client.get(f"/apps/hello/volumes/{FIRST}")).json() == one
    assert (await client.get("/volumes")).json() == [one]
    assert (await client.get(f"/apps/hello/jobs/{JOB}")).json()["volumes"] == [FIRST]


async def test_what_changed_last_comes_first(client, store, release):
    await add(store, volume(release))
    await add(store, volume(release, SECOND))
    await make_app(store, "other")
    assert [one["id"] for one in (await client.get("/volumes")).json()] == [SECOND, FIRST]
    await client.put(f"/apps/hello/volumes/{FIRST}/decommission", {"id": FIRST})
    assert [one["id"] for one in (await client.get("/apps/hello/volumes")).json()] == [FIRST, SECOND]
    assert (await client.get("/apps/other/volumes")).json() == []


async def test_a_decommission_answers_with_what_was_sent_and_the_time(client, store, release):
    await add(store, volume(release))
    sent = {"id": FIRST, "host_id": "", "type": "", "state": ""}  # as Flynn's client does
    done = await client.put(f"/apps/hello/volumes/{FIRST}/decommission", sent)
    answer = done.json()
    assert list(answer) == [*sent, "updated_at", "decommissioned_at"]
    assert answer | sent == answer
    stored = (await client.get(f"/apps/hello/volumes/{FIRST}")).json()
    assert (stored["decommissioned_at"], stored["state"]) == (answer["decommissioned_at"], "created")
    event = (await client.get("/events?object_types=volume&count=1")).json()[0]
    assert (event["object_id"], event["app"], event["data"]) == (FIRST, release.app_id, stored)


async def test_the_body_says_which_volume_is_meant(client, store, release):
    await add(store, volume(release))
    assert (await client.put(f"/apps/hello/volumes/{UNKNOWN}/decommission", {"id": FIRST})).status == 200
    assert (await client.put(f"/apps/hello/volumes/{FIRST}/decommission", {})).json()["id"] == FIRST


@pytest.mark.parametrize("unknown", [UNKNOWN, "x"])
async def test_an_unknown_volume_is_not_found(client, store, release, unknown):
    await add(store, volume(release))
    await make_app(store, "other")
    for response in (
        await client.get(f"/apps/hello/volumes/{unknown}"),
        await client.get(f"/apps/other/volumes/{FIRST}"),
        await client.get("/apps/nobody/volumes"),
        await client.put(f"/apps/hello/volumes/{unknown}/decommission", {"id": unknown}),
        await client.put(f"/apps/other/volumes/{FIRST}/decommission", {"id": FIRST}),
        await client.put(f"/apps/nobody/volumes/{FIRST}/decommission", {"id": FIRST}),
    ):
        assert (response.status, response.body) == (404, b"")


async def test_a_put_tells_of_a_volume_and_of_who_has_it(client, store, release):
    sent = {"id": FIRST, "host_id": "host0", "type": "data", "state": "created", "app": release.app_id, "path": "/data"}
    created = (await client.put(f"/volumes/{FIRST}", sent)).json()
    assert {**created, **sent} == created
    assert created["created_at"] == created["updated_at"]
    await attach(store, release)
    moved = (await client.put(f"/volumes/{FIRST}", sent | {"job": JOB, "path": "/other"})).json()
    assert (moved["job"], moved["path"], moved["created_at"]) == (JOB, "/data", created["created_at"])


ENUM = "Enum error. The data must be equal to one of these values"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "zfs"}, f"type {ENUM} [data squashfs ext2]."),
        ({"type": ""}, f"type {ENUM} [data squashfs ext2]."),
        ({"state": "gone"}, f"state {ENUM} [pending created destroyed]."),
        ({"id": "x"}, "id must be a UUID"),
        ({"app": "hello"}, "app must be a UUID"),
        ({"app": UNKNOWN}, f"app names the app '{UNKNOWN}', which does not exist"),
        ({"job": UNKNOWN}, f"job names the job '{UNKNOWN}', which does not exist"),
        ({"path": "data"}, "path must have absolute paths outside of /dev, /proc, /sys, not 'data'"),
    ],
)
async def test_what_cannot_be_a_volume_is_refused(client, fields, message):
    sent = {"id": FIRST, "host_id": "host0", "type": "data", "state": "created", "path": "/data"} | fields
    response = await client.put(f"/volumes/{FIRST}", sent)
    assert (response.status, response.json()["code"], response.json()["message"]) == (400, "validation_error", message)
    assert (await client.get("/volumes")).json() == []


async def test_a_volume_that_another_job_has_is_a_conflict(client, store, release):
    await add(store, volume(release))
    await attach(store, release, FIRST)
    other = Job(uuid=JobID(UNKNOWN), app=release.app_id, release=release.id, state=JobState.UP)
    await store.transact(lambda tx: changes.put_job(tx, other, formation=True))
    sent = {"id": FIRST, "host_id": "host0", "type": "data", "state": "created", "job": UNKNOWN, "path": "/data"}
    response = await client.put(f"/volumes/{FIRST}", sent)
    assert (response.status, response.json()["message"]) == (409, f"volumes in use: {FIRST}")


async def test_a_stream_begins_with_what_there_is_and_goes_on(client, store, release):
    await add(store, volume(release))
    async with client.stream("/volumes") as stream:
        [known] = (await client.get("/volumes")).json()
        assert await stream.event() == known
        assert await stream.event() == MARK
        await attach(store, release, FIRST)
        assert (await stream.event())["job"] == JOB
        await store.transact(lambda tx: changes.delete_app(tx, AppID(release.app_id)))
        assert (await stream.event())["state"] == "destroyed"


async def test_a_stream_begins_where_it_is_asked_to(client, store, release, clock, autojump_clock):
    old = await add(store, volume(release))
    await trio.sleep(1)
    since = clock.now()
    await add(store, replace(volume(release, SECOND), release=ReleaseID("")))
    async with client.stream(f"/volumes?since={since}") as stream:
        assert (await stream.event())["id"] == SECOND
        assert await stream.event() == MARK
    async with client.stream(f"/volumes?since={old.updated_at}") as stream:
        assert [(await stream.event())["id"] for _ in range(3)] == [SECOND, FIRST, ""]
    refused = await client.get("/volumes?since=yesterday", headers={"accept": "text/event-stream"})
    assert (refused.status, refused.json()["detail"]) == (400, {"field": "since"})


# What a process type may ask for


async def release_with(client, release, **process):
    body = {"app_id": release.app_id, "artifacts": release.artifacts, "processes": {"db": process}}
    return await client.post("/releases", body)


async def test_a_volume_is_kept_over_releases_or_goes_with_its_job(client, release):
    created = (await release_with(client, release, volumes=[{"path": "/x", "keep": True}])).json()
    assert created["processes"]["db"]["volumes"] == [{"path": "/x", "keep": True}]
    refused = await release_with(client, release, volumes=[{"path": "/x", "keep": True, "delete_on_stop": True}])
    assert (refused.status, refused.json()["message"]) == (
        400,
        "processes.db.volumes must not both keep '/x' and delete it on stop",
    )


async def test_the_old_way_to_ask_for_a_volume_still_works(client, release):
    created = (await release_with(client, release, data=True)).json()["processes"]["db"]
    assert created["volumes"] == [{"path": "/data"}]
    assert "data" not in created
    both = (await release_with(client, release, data=True, volumes=[{"path": "/x", "delete_on_stop": True}])).json()
    assert both["processes"]["db"]["volumes"] == [{"path": "/x", "delete_on_stop": True}]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["data"], "must have absolute paths outside of /dev, /proc, /sys, not 'data'"),
        ([""], "must have absolute paths outside of /dev, /proc, /sys, not ''"),
        (["/proc/x"], "must have absolute paths outside of /dev, /proc, /sys, not '/proc/x'"),
        (["/a/../sys"], "must have absolute paths outside of /dev, /proc, /sys, not '/a/../sys'"),
        (["//"], "must not have the path /: it would hide the image"),
        (["/data", "/data/"], "must not have the path '/data/' twice"),
    ],
)
async def test_a_path_that_cannot_hold_a_volume_is_refused(client, release, paths, message):
    response = await release_with(client, release, volumes=[{"path": path} for path in paths])
    assert (response.status, response.json()["message"]) == (400, f"processes.db.volumes {message}")
