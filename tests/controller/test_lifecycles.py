"""What clients see of apps, releases, formations and jobs from beginning to end: events and rows, in order."""

from uuid import uuid4

import pytest

from flynn_aio.model import Job, JobState, full_job_id
from flynn_aio.store import changes

from ..support.build import make_app, make_release


async def events(client, app, *types):
    """Return the events of an app so far, oldest first."""
    query = f"/events?app_id={app['id']}&object_types={','.join(types)}"
    return (await client.get(query)).json()[::-1]


@pytest.fixture
async def app(client):
    return (await client.post("/apps", {"name": "hello"})).json()


async def release_of(client, app, **fields):
    artifact = (
        await client.post("/artifacts", {"type": "flynn", "uri": "image:localhost/test/app:1", "meta": {}})
    ).json()
    body = {"app_id": app["id"], "artifacts": [artifact["id"]], "processes": {"foo": {}}} | fields
    return (await client.post("/releases", body)).json()


async def test_stream_app_life_cycle_events(client, app):
    """TestStreamAppLifeCycleEvents: app, release, release, app_release, app, app, app_release."""
    first, second = await release_of(client, app), await release_of(client, app)
    await client.put("/apps/hello/release", {"id": first["id"]})
    await client.post("/apps/hello", {"id": app["id"], "strategy": "one-by-one"})
    await client.post("/apps/hello", {"id": app["id"], "meta": {"foo": "bar"}})
    await client.put("/apps/hello/release", {"id": second["id"]})
    found = await events(client, app, "app", "release", "app_release")
    assert [(one["object_type"], one["object_id"]) for one in found] == [
        ("app", app["id"]),
        ("release", first["id"]),
        ("release", second["id"]),
        ("app_release", first["id"]),
        ("app", app["id"]),
        ("app", app["id"]),
        ("app_release", second["id"]),
    ]
    data = [one["data"] for one in found]
    assert "release" not in data[0]
    assert data[1]["app_id"] == data[2]["app_id"] == app["id"]
    assert "prev_release" not in data[3]
    assert data[3]["release"]["id"] == first["id"]
    assert (data[4]["strategy"], data[4]["meta"]) == ("one-by-one", app["meta"])
    assert (data[5]["strategy"], data[5]["meta"]) == ("one-by-one", {"foo": "bar"})
    assert (data[6]["prev_release"]["id"], data[6]["release"]["id"]) == (first["id"], second["id"])


async def test_stream_release_events(client, app):
    """TestStreamReleaseEvents: only what was asked for, artifacts without an app."""
    release = await release_of(client, app)
    await client.put("/apps/hello/release", {"id": release["id"]})
    found = (await client.get("/events?object_types=artifact,release")).json()[::-1]
    assert [(one["object_type"], one.get("app")) for one in found] == [("artifact", None), ("release", app["id"])]
    assert found[0]["data"]["id"] == release["artifacts"][0]


async def test_stream_formation_events(client, app):
    """TestStreamFormationEvents: requests with old and new counts; a deletion is a request to zero."""
    release = (await release_of(client, app))["id"]
    path = f"/apps/hello/formations/{release}"
    for count in (1, 2):
        await client.put(path, {"processes": {"foo": count}})
    await client.delete(path)
    found = await events(client, app, "scale_request")
    seen = [(one["data"].get("old_processes"), one["data"]["new_processes"], one["data"]["state"]) for one in found]
    assert seen == [
        (None, {"foo": 1}, "pending"),
        ({"foo": 1}, {"foo": 2}, "pending"),
        (None, {"foo": 1}, "cancelled"),  # the first; a waiting client hears of it so
        ({"foo": 2}, {"foo": 0}, "complete"),
        ({"foo": 1}, {"foo": 2}, "cancelled"),
    ]
    assert all(one["object_id"] == one["data"]["id"] for one in found)


async def test_scale_events_come_after_the_request_and_those_it_cancels(client, app):
    release = (await release_of(client, app, processes={"foo": {}, "bar": {}}))["id"]
    for processes in ({"foo": 1}, {"bar": 2}):
        wanted = {"state": "pending", "new_processes": processes}
        answer = (await client.put(f"/apps/{app['id']}/scale/{release}", wanted)).json()
        assert answer["new_processes"] == processes  # the delta, not the merge
    found = (await events(client, app, "scale_request", "scale_request_cancelation", "scale"))[2:]
    kinds = [(one["object_type"], one["data"].get("state")) for one in found]
    assert kinds == [
        ("scale_request", "pending"),
        ("scale_request_cancelation", "cancelled"),
        ("scale_request", "cancelled"),
        ("scale", None),
    ]
    assert found[-1]["object_id"] == f"{app['id']}:{release}"
    assert found[-1]["data"] == {"prev_processes": {"foo": 1}, "processes": {"bar": 2}, "release": release}
    formation = (await client.get(f"/apps/hello/formations/{release}")).json()
    assert formation["processes"] == {"foo": 1, "bar": 2}


async def test_a_request_for_tags_alone_shows_the_counts_it_leaves(client, app):
    release = (await release_of(client, app))["id"]
    await client.put(f"/apps/hello/formations/{release}", {"processes": {"foo": 3}})
    wanted = {"state": "pending", "new_tags": {"foo": {"disk": "ssd"}}}
    answer = (await client.put(f"/apps/hello/scale/{release}", wanted)).json()
    assert (answer["old_processes"], answer["new_processes"]) == ({"foo": 3}, {"foo": 3})
    assert answer["new_tags"] == {"foo": {"disk": "ssd"}}


async def put(client, app, release, uuid, state, **more):
    body = {"uuid": uuid, "app": app["id"], "release": release, "type": "web", "state": state} | more
    return await client.put(f"/apps/{app['id']}/jobs/{uuid}", body)


async def test_job_state_changes(client, app):
    """TestJobStateChanges: pending, starting, up; down can be recorded after the app was deleted."""
    release, uuid = (await release_of(client, app))["id"], str(uuid4())
    for state in ("pending", "starting", "up"):
        answer = await put(client, app, release, uuid, state, meta={"some": "info"})
        assert (answer.status, answer.json()["state"]) == (200, state)
    job = (await client.get(f"/apps/hello/jobs/{uuid}")).json()
    assert (job["id"], job["uuid"], job["meta"]) == (full_job_id(uuid), uuid, {"some": "info"})
    assert (await client.get(f"/apps/hello/jobs/{full_job_id(uuid)}")).json() == job  # TestJobGet
    await client.delete("/apps/hello")
    answer = (await put(client, app, release, uuid, "down", exit_status=1)).json()
    assert (answer["state"], answer["exit_status"]) == ("down", 1)
    assert (await client.get(f"/apps/hello/jobs/{uuid}")).json() == answer  # the app is not looked at
    found = (await client.get(f"/events?object_id={uuid}")).json()[::-1]
    assert [one["data"]["state"] for one in found] == ["pending", "starting", "up", "stopping", "down"]


async def test_job_list_active_has_the_latest_first(client, app):
    """TestJobListActive: pending, starting, up and stopping."""
    release = (await release_of(client, app))["id"]
    made = {state: str(uuid4()) for state in ("down", "pending", "starting", "up", "stopping", "crashed", "failed")}
    for state, uuid in made.items():
        assert (await put(client, app, release, uuid, state)).status == 200
    active = (await client.get("/active-jobs")).json()
    assert [job["uuid"] for job in active] == [made[state] for state in ("stopping", "up", "starting", "pending")]
    every = (await client.get("/apps/hello/jobs")).json()  # TestJobList: all there ever were
    assert [(job["uuid"], job["state"]) for job in every[:2]] == [(made["failed"], "down"), (made["crashed"], "down")]
    assert len(every) == len(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": "blocked"}, "state Enum error. The data must be equal to one of these values "),
        ({"state": ""}, "state Enum error."),
        ({"uuid": str(uuid4())}, "uuid is not the one in the path"),
        ({"app": "hello"}, "app must be a UUID"),
        ({"release": str(uuid4())}, "release names "),
        ({"exit_status": 2**31}, "exit_status must be a 32-bit integer"),
    ],
)
async def test_a_job_that_cannot_be_is_refused(client, app, change, message):
    release, uuid = (await release_of(client, app))["id"], str(uuid4())
    body = {"uuid": uuid, "app": app["id"], "release": release, "state": "up"} | change
    answer = await client.put(f"/apps/{app['id']}/jobs/{uuid}", body)
    assert answer.status == 400
    assert answer.json()["message"].startswith(message)
    assert (await client.put(f"/apps/{app['id']}/jobs/nonsense", body)).status == 404


async def test_nobody_else_says_how_our_own_jobs_are(stage, client):
    app = await make_app(stage.store)
    release, uuid = await make_release(stage.store, app), str(uuid4())
    ours = Job(uuid=uuid, app=app.id, release=release.id, type="web", state=JobState.UP)
    await stage.store.transact(lambda tx: changes.put_job(tx, ours, formation=True))
    answer = await put(client, {"id": app.id}, release.id, uuid, "down")
    assert (answer.status, answer.json()["code"]) == (409, "conflict")
    assert (await client.get(f"/apps/hello/jobs/{uuid}")).json()["state"] == "up"
