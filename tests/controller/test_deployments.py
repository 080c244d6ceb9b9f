"""Deployments over the wire."""

import pytest
import trio

from flynn_aio.model import Failure, FailurePhase
from flynn_aio.store import changes

from ..support.build import make_app, make_release
from .test_releases import UNKNOWN

BUSY = "Cannot create deploy, there is already one in progress for this app."


@pytest.fixture
async def app(store):
    return await make_app(store)


async def test_the_first_deployment_is_complete_at_once(store, client, app):
    release = await make_release(store, app)
    deployment = (await client.post("/apps/hello/deploy", {"id": release.id})).json()
    assert list(deployment) == [
        "id", "app", "new_release", "strategy", "status", "deploy_timeout", "created_at", "finished_at",
    ]  # fmt: skip
    assert (deployment["status"], deployment["new_release"]) == ("complete", release.id)
    assert (await client.get("/apps/hello/release")).json()["id"] == release.id
    assert (await client.get(f"/deployments/{deployment['id']}")).json() == deployment
    assert (await client.get("/apps/hello/deployments")).json() == [deployment]
    events = (await client.get("/events?object_types=app_release,deployment")).json()
    assert [event["object_type"] for event in events] == ["deployment", "app_release"]
    assert list(events[0]["data"]) == ["app", "deployment", "release", "status"]
    assert events[0]["data"]["status"] == "complete"


async def test_a_deployment_of_a_running_app_is_pending_and_the_only_one(store, client, app):
    old, new = await make_release(store, app), await make_release(store, app)
    await client.post("/apps/hello/deploy", {"id": old.id})
    await client.put(f"/apps/hello/formations/{old.id}", {"processes": {"web": 1}})
    deployment = (await client.post(f"/apps/{app.id}/deploy", {"id": new.id})).json()
    assert list(deployment) == [
        "id", "app", "old_release", "new_release", "strategy", "status", "processes", "deploy_timeout", "created_at",
    ]  # fmt: skip
    assert (deployment["status"], deployment["processes"]) == ("pending", {"web": 1})
    again = await client.post("/apps/hello/deploy", {"id": new.id})
    assert again.status == 400
    assert again.json()["message"] == BUSY


async def test_of_many_who_deploy_at_once_one_does(store, stage, client, app):
    old, new = await make_release(store, app), await make_release(store, app)
    await client.post("/apps/hello/deploy", {"id": old.id})
    await client.put(f"/apps/hello/formations/{old.id}", {"processes": {"web": 1}})
    answers = []

    async def deploy(one):
        answers.append(await one.post("/apps/hello/deploy", {"id": new.id}))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(deploy, stage.client())
    assert sorted(answer.status for answer in answers) == [200, *[400] * 19]
    assert {answer.json()["message"] for answer in answers if answer.status == 400} == {BUSY}
    assert len((await client.get("/apps/hello/deployments")).json()) == 2


async def test_a_release_of_another_app_can_be_deployed_as_in_flynn(store, client, app):
    other = await make_release(store, await make_app(store, "other"))
    assert (await client.post("/apps/hello/deploy", {"id": other.id})).status == 200
    assert (await client.get("/apps/hello/release")).json()["id"] == other.id
    refused = await client.delete(f"/apps/other/releases/{other.id}")
    assert refused.status == 200  # told by its event: the other app still has it
    [event] = (await client.get("/events?object_types=release_deletion")).json()
    assert event["data"]["release_deletion"]["remaining_apps"] == [app.id]


@pytest.mark.parametrize(
    ("meant", "size"), [("2", 2), ("0", None), ("many", None), ("9" * 30, None), ("9" * 5000, None)]
)
async def test_the_size_of_a_batch_is_a_number_of_the_apps_meta(store, client, app, meant, size):
    release = await make_release(store, app)
    await client.post("/apps/hello", {"id": "hello", "meta": {"flynn-deploy-batch-size": meant}})
    deployed = await client.post("/apps/hello/deploy", {"id": release.id})
    assert deployed.status == 200
    assert deployed.json().get("deploy_batch_size") == size


async def test_why_a_deployment_failed_is_told_where_one_is_asked_for(store, client, app):
    old, new = await make_release(store, app), await make_release(store, app)
    await client.post("/apps/hello/deploy", {"id": old.id})
    await client.put(f"/apps/hello/formations/{old.id}", {"processes": {"web": 1}})
    deployment = (await client.post("/apps/hello/deploy", {"id": new.id})).json()
    why = Failure(
        error="web job failed to start: got down job event", phase=FailurePhase.START, exit_status=7, opened=[]
    )
    await store.transact(lambda tx: changes.note_deployment_step(tx, deployment["id"], "up web=1"))
    await store.transact(lambda tx: changes.finish_deployment(tx, deployment["id"], failure=why))
    shown = (await client.get(f"/deployments/{deployment['id']}")).json()
    assert shown["failure"] == {"error": why.error, "phase": "start", "exit_status": 7, "opened": []}
    assert [step["step"] for step in shown["steps"]] == ["up web=1"]
    listed = (await client.get("/apps/hello/deployments")).json()[0]
    assert listed == {key: value for key, value in shown.items() if key not in ("failure", "steps")}


@pytest.mark.parametrize("wanted", [UNKNOWN, "x", "", None])
async def test_an_unknown_release_cannot_be_deployed(client, app, wanted):
    response = await client.post("/apps/hello/deploy", {"id": wanted})
    assert (response.status, response.json()["code"]) == (400, "validation_error")
    assert response.json()["message"] == f"could not find release with ID {wanted or ''}"
