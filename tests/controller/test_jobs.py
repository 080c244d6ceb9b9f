"""Jobs over the wire: list, kill, run detached."""

import pytest

from flynn_aio.discoverd import Snapshot
from flynn_aio.engine import fails_to_start, open_files_at_most
from flynn_aio.model import HOST_ID, Job, JobID, JobState
from flynn_aio.store import changes

from ..support.build import make_app, make_release, web_process
from .test_releases import UNKNOWN

UUID = "5136d8fb-8c5e-4f0e-a37d-0a5bd8f9b1a4"


@pytest.fixture
async def release(store):
    return await make_release(store, await make_app(store), COLOR="red")


async def put(store, release, state, **fields):
    job = Job(uuid=JobID(UUID), app=release.app_id, release=release.id, type="web", state=state, **fields)
    await store.transact(lambda tx: changes.put_job(tx, job, formation=True))


async def test_a_job_is_shown_as_the_wire_orders_it(client, store, release):
    await put(store, release, JobState.UP)
    await put(store, release, JobState.DOWN, exit_status=1, host_error="boom", restarts=2)
    [job] = (await client.get("/apps/hello/jobs")).json()
    assert list(job) == [
        "id", "uuid", "host_id", "app", "release", "type", "state", "exit_status", "host_error", "restarts",
        "created_at", "updated_at",
    ]  # fmt: skip
    assert (job["id"], job["uuid"], job["host_id"]) == (f"host0-{UUID}", UUID, "host0")
    for reference in (job["id"], UUID):
        assert (await client.get(f"/apps/hello/jobs/{reference}")).json() == job
    for reference in (f"host0-{UNKNOWN}", UNKNOWN, "x", f"host1-{UUID}"):
        response = await client.get(f"/apps/hello/jobs/{reference}")
        assert (response.status, response.body) == (404, b"")
    assert (await client.get("/active-jobs")).json() == []


async def test_a_job_that_does_not_serve_says_what_its_health_check_met(client, stage, store, release):
    await put(store, release, JobState.UP)
    met = "connection refused on 100.100.0.5:8080, 9 probes in 18.0 s"
    stage.services.snapshot.set(Snapshot(waiting={JobID(UUID): met}))
    for path in ("/apps/hello/jobs", "/active-jobs"):
        assert [job["unhealthy"] for job in (await client.get(path)).json()] == [met]
    assert (await client.get(f"/apps/hello/jobs/{UUID}")).json()["unhealthy"] == met
    stage.services.snapshot.set(Snapshot(up=frozenset({JobID(UUID)})))
    assert "unhealthy" not in (await client.get(f"/apps/hello/jobs/{UUID}")).json()


async def test_a_list_of_many_pages_is_the_same_list(client, store, release, monkeypatch):
    def many(tx):
        for number in range(10):
            job = Job(uuid=JobID(f"{UUID[:-1]}{number}"), app=release.app_id, release=release.id, state=JobState.UP)
            changes.put_job(tx, job, formation=True)

    await store.transact(many)
    whole = await client.get("/apps/hello/jobs")
    assert [job["uuid"][-1] for job in whole.json()] == list("9876543210")
    for size in (3, 5, 10, 11):
        monkeypatch.setattr("flynn_aio.store.queries.pages.JOBS_PAGE", size)
        again = await client.get("/apps/hello/jobs")
        assert (again.status, again.content_type, again.body) == (200, "application/json", whole.body)
        assert again.headers.get("transfer-encoding") == ("chunked" if size < 10 else None)


async def test_a_job_that_is_wanted_but_has_no_place_cannot_be_killed(client, store, release):
    await put(store, release, JobState.PENDING)
    [job] = (await client.get("/apps/hello/jobs")).json()
    assert {"id", "host_id"}.isdisjoint(job)
    response = await client.delete(f"/apps/hello/jobs/{UUID}")
    assert response.status == 400
    assert response.body == (
        b'{"code":"validation_error","message":"cannot kill a job which has not been placed on a host","retry":false}'
    )


async def test_killing_a_job_is_a_wish_and_a_job_that_has_ended_is_not_found(client, store, release):
    await put(store, release, JobState.UP)
    response = await client.delete(f"/apps/hello/jobs/host0-{UUID}")
    assert (response.status, response.body) == (200, b"")
    [job] = (await client.get("/active-jobs")).json()
    assert job["state"] == "stopping"
    await put(store, release, JobState.DOWN)
    for reference in (UUID, UNKNOWN):
        response = await client.delete(f"/apps/hello/jobs/{reference}")
        assert (response.status, response.body) == (404, b"")


async def test_a_detached_job_is_started_and_named(stage, client, release):
    body = {
        "release": release.id,
        "args": ["echo", "hi"],
        "env": {"A": "1", "B": None},
        "meta": {"foo": "baz"},
        "release_env": True,
        "entrypoint": ["echo"],
        "cmd": ["hi"],
        "artifact": None,
        "resources": {"memory": {"request": None, "limit": 2**23}},
    }
    response = await client.post("/apps/hello/jobs", body)
    job = response.json()
    assert list(job) == ["id", "uuid", "host_id", "release", "args"]
    assert job == {
        "id": f"{HOST_ID}-{job['uuid']}",
        "uuid": job["uuid"],
        "host_id": HOST_ID,
        "release": release.id,
        "args": ["echo", "hi"],
    }
    [spec] = stage.engine.started
    assert (spec.id, spec.type, spec.args, spec.formation) == (job["uuid"], "", ("echo", "hi"), False)
    assert (spec.app, spec.release, spec.memory_bytes, spec.meta) == (release.app_id, release.id, 2**23, {"foo": "baz"})
    assert (spec.env["A"], spec.env["B"], spec.env["COLOR"]) == ("1", "", "red")
    assert (spec.tty, spec.log) == (False, True)


async def test_without_arguments_the_answer_has_none(client, release):
    assert list((await client.post("/apps/hello/jobs", {"release": release.id})).json()) == [
        "id", "uuid", "host_id", "release",
    ]  # fmt: skip


async def test_the_release_may_be_another_apps(stage, client, store, release):
    other = await make_release(store, await make_app(store, "postgres"), PGHOST="x")
    assert (await client.post("/apps/hello/jobs", {"release": other.id})).status == 200
    [spec] = stage.engine.started
    assert (spec.app, spec.release) == (release.app_id, other.id)
    assert "PGHOST" not in spec.env


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, 'Required error. The data must be an object with "release" as one of its keys'),
        ({"release": "R", "tty_lines": -1}, "tty_lines must be 0 to 65535"),
        ({"release": "R", "tty_columns": 2**20}, "tty_columns must be 0 to 65535"),
        ({"release": "R", "env": {"A=B": "x"}}, "env must not have an empty name or one with `=`"),
        ({"release": "R", "partition": "best"}, 'host: invalid job partition "best"'),
        ({"release": "R", "profiles": ["root"]}, "unknown job profile: root"),
        (
            {"release": "R", "profiles": ["kvm"]},
            "profiles needs the host's profiles, which this appliance does not allow; its operator can: "
            'host_features = ["profiles"] below [engine] in flynn.toml',
        ),
        (
            {"release": "R", "artifacts": [UNKNOWN]},
            f"artifacts cannot be used: artifact '{UNKNOWN}' does not exist",
        ),
        (
            {"release": "R", "resources": {"memory": {"limit": -1}}},
            "resources.memory.limit must not be negative",
        ),
        (
            {"release": "R", "resources": {"max_fd": {"limit": 2**30}}},
            f"resources.max_fd.limit must be at most {open_files_at_most()}, "
            "as many as this machine lets a process open",
        ),
    ],
)
async def test_a_job_that_cannot_be_run_is_refused(stage, client, release, body, message):
    if body.get("release") == "R":
        body = body | {"release": release.id}
    response = await client.post("/apps/hello/jobs", body)
    assert (response.status, response.json()["code"], response.json()["message"]) == (400, "validation_error", message)
    assert stage.engine.started == []


async def test_an_unknown_release_is_a_404(client, release):
    for unknown in (UNKNOWN, "x"):
        assert (await client.post("/apps/hello/jobs", {"release": unknown})).status == 404
    assert (await client.post("/apps/nobody/jobs", {"release": release.id})).status == 404


async def test_a_release_without_artifacts_cannot_run(client, store, release):
    bare = (await client.post("/releases", {"app_id": release.app_id})).json()
    response = await client.post("/apps/hello/jobs", {"release": bare["id"]})
    assert response.json()["message"] == "release.ArtifactIDs cannot be empty"
    assert response.json()["detail"] == {"field": "release.ArtifactIDs"}
    with_own = {"release": bare["id"], "artifacts": release.artifacts}
    assert (await client.post("/apps/hello/jobs", with_own)).status == 200


async def test_why_a_job_did_not_start_is_said(stage, client, release):
    text = 'exec: "nope": executable file not found in $PATH'
    stage.engine.script(fails_to_start(text))
    response = await client.post("/apps/hello/jobs", {"release": release.id, "args": ["nope"]})
    assert (response.status, response.json()["code"], response.json()["message"]) == (400, "validation_error", text)
    with stage.engine.outage():
        response = await client.post("/apps/hello/jobs", {"release": release.id})
    assert (response.status, response.json()["code"]) == (500, "unknown_error")
    assert "the engine does not answer" in response.json()["message"]


async def test_active_jobs_are_those_of_every_app(client, store, release):
    other = await make_release(store, await make_app(store, "other"), {"web": web_process()})
    await put(store, release, JobState.STARTING)
    job = Job(uuid=JobID(UNKNOWN), app=other.app_id, release=other.id, type="web", state=JobState.PENDING)
    await store.transact(lambda tx: changes.put_job(tx, job, formation=True))
    assert {job["uuid"] for job in (await client.get("/active-jobs")).json()} == {UUID, UNKNOWN}
