"""Changes: what they write, what they say, what they refuse."""

import pytest
import trio
from msgspec.structs import replace

from flynn_aio.errors import Conflict, NotFound, ObjectExists, ValidationError
from flynn_aio.model import (
    CRITICAL_META,
    App,
    Artifact,
    DeploymentStatus,
    Evidence,
    Failure,
    Job,
    JobID,
    JobState,
    ProcessType,
    Release,
    ResourceSpec,
    Route,
    RouteType,
    Time,
    decode,
)
from flynn_aio.store import EventFilter, changes, queries
from flynn_aio.store.changes.deployments import STEPS_KEPT

from ..support.build import DOMAIN, make_app, make_release, web_process

WHY = Failure(error="web job failed to start", log=["no table of users"])
IMAGE = Artifact(type="flynn", uri="image:localhost/test/app:1")


async def history(store, *types):
    """Return the events so far, oldest first, as (type, data)."""
    found = await store.read(lambda db: queries.events(db, EventFilter(object_types=frozenset(types))))
    return [(event.object_type, decode(bytes(event.data), dict)) for event in found[::-1]]


def route(domain="www.example.com", **fields):
    return Route(
        type=fields.pop("type", RouteType.HTTP),
        service=fields.pop("service", "hello-web"),
        leader=False,
        created_at=None,
        updated_at=None,
        domain=domain,
        drain_backends=True,
        **fields,
    )


async def test_an_app_gets_a_name_defaults_and_a_route(store):
    app = await store.transact(lambda tx: changes.create_app(tx, App(meta={"team": "x"}), route_domain=DOMAIN))
    assert app.name.count("-") == 2
    assert app.meta == {"gc.max_inactive_slug_releases": "10", "team": "x"}
    assert (app.strategy, app.deploy_timeout) == ("all-at-once", 120)
    [default] = await store.read(lambda db: queries.routes(db, app.id))
    assert (default.domain, default.service, default.path) == (f"{app.name}.{DOMAIN}", f"{app.name}-web", "/")
    assert default.drain_backends


async def test_a_system_app_gets_no_route(store):
    wanted = App(name="router", meta={"flynn-system-app": "true"})
    app = await store.transact(lambda tx: changes.create_app(tx, wanted, route_domain=DOMAIN))
    assert await store.read(lambda db: queries.routes(db, app.id)) == []


@pytest.mark.parametrize("name", ["Hello", "a_b", "-a", "a-", "a--b", "x" * 101, "ä"])
async def test_names_that_cannot_be_host_names_are_refused(store, name):
    with pytest.raises(ValidationError, match="name is invalid"):
        await make_app(store, name)


async def test_a_live_name_is_taken_and_a_deleted_one_free(store):
    app = await make_app(store)
    with pytest.raises(ObjectExists, match='application "hello" already exists'):
        await make_app(store)
    await store.transact(lambda tx: changes.delete_app(tx, app.id))
    again = await make_app(store)
    assert again.id != app.id


async def test_deleting_an_app_takes_its_routes_releases_and_formations(store):
    app = await make_app(store)
    release = await make_release(store, app)
    await store.transact(lambda tx: changes.create_deployment(tx, app.id, release.id))
    await store.transact(lambda tx: changes.create_scale_request(tx, app.id, release.id, {"web": 1}, None))
    deletion = await store.transact(lambda tx: changes.delete_app(tx, app.id))
    assert (len(deletion.deleted_routes), len(deletion.deleted_releases)) == (1, 1)
    assert await store.read(queries.routes) == []
    assert (await store.read(queries.desired)).formations == ()
    with pytest.raises(NotFound):
        await store.read(lambda db: queries.release(db, release.id))
    assert (await history(store))[-1][0] == "app_deletion"


async def test_a_release_another_app_runs_outlives_its_own_app(store):
    owner, borrower, pointer = [await make_app(store, name) for name in ("owner", "borrower", "pointer")]
    release = await make_release(store, owner)
    await store.transact(lambda tx: changes.create_scale_request(tx, borrower.id, release.id, {"web": 1}, None))
    await store.transact(lambda tx: changes.set_app_release(tx, pointer.id, release.id))
    deletion = await store.transact(lambda tx: changes.delete_app(tx, owner.id))
    assert deletion.deleted_releases == []
    [formation] = (await store.read(queries.desired)).formations
    assert (formation.app.name, formation.release.id) == ("borrower", release.id)
    await store.transact(lambda tx: changes.delete_app(tx, borrower.id))
    assert (await store.read(lambda db: queries.current_release(db, pointer.id))).id == release.id
    deletion = await store.transact(lambda tx: changes.delete_app(tx, pointer.id))
    assert [one["id"] for one in deletion.deleted_releases] == [release.id]
    assert await store.read(queries.releases) == []


async def test_a_release_that_is_current_elsewhere_is_not_deleted(store):
    owner, pointer = [await make_app(store, name) for name in ("owner", "pointer")]
    release = await make_release(store, owner)
    await store.transact(lambda tx: changes.set_app_release(tx, pointer.id, release.id))
    await store.transact(lambda tx: changes.delete_release(tx, owner.id, release.id))
    assert (await store.read(lambda db: queries.current_release(db, pointer.id))).id == release.id
    assert (await history(store, "release_deletion"))[-1][1]["release_deletion"]["remaining_apps"] == [pointer.id]


async def test_a_release_a_deployment_may_go_back_to_is_not_deleted(store):
    app, old, _, deployment = await deploying(store)
    await store.transact(lambda tx: changes.set_app_release(tx, app.id, deployment.new_release))
    with pytest.raises(ValidationError, match=f"cannot delete release {old.id} while .*{deployment.id}"):
        await store.transact(lambda tx: changes.delete_release(tx, app.id, old.id))
    await store.transact(lambda tx: changes.finish_deployment(tx, deployment.id))
    await store.transact(lambda tx: changes.delete_release(tx, app.id, old.id))


async def test_the_life_of_an_app_is_told_in_order(store):
    app = await make_app(store)
    first = await make_release(store, app)
    second = await make_release(store, app, A="b")
    for release in (first, second):
        await store.transact(lambda tx, r=release: changes.set_app_release(tx, app.id, r.id))
    told = await history(store, "app", "release", "app_release")
    assert [kind for kind, _ in told] == ["app", "release", "release", "app_release", "app_release"]
    assert "prev_release" not in told[3][1]
    assert told[4][1]["prev_release"]["id"] == first.id


async def test_the_same_artifact_twice_is_one(store):
    one = await store.transact(lambda tx: changes.create_artifact(tx, IMAGE))
    two = await store.transact(lambda tx: changes.create_artifact(tx, IMAGE))
    assert one == two
    assert len(await history(store, "artifact")) == 2


async def test_a_release_gets_the_resources_it_did_not_name(store):
    app = await make_app(store)
    process = ProcessType(resources={"memory": ResourceSpec(limit=5), "gpu": ResourceSpec(request=1)})
    release = await make_release(store, app, {"web": process})
    resources = release.processes["web"].resources
    assert resources["memory"] == ResourceSpec(request=5, limit=5)
    assert resources["cpu"] == ResourceSpec(request=1000, limit=1000)
    assert resources["gpu"] == ResourceSpec(request=1)
    assert release.artifact == release.artifacts[0]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"env": {"": "v"}}, r'env you can\'t create an env var with an empty key \(tried to set ""="v"\)'),
        ({"artifacts": ["nope"]}, "artifacts contains 'nope'"),
        ({"id": "nope"}, "id must be a UUID"),
    ],
)
async def test_a_wrong_release_is_refused(store, wrong, text):
    app = await make_app(store)
    with pytest.raises(ValidationError, match=text):
        await store.transact(lambda tx: changes.create_release(tx, Release(app_id=app.id, **wrong)))


async def test_scaling_names_some_types_and_keeps_the_others(store):
    app = await make_app(store)
    release = await make_release(store, app, {"web": web_process(), "worker": ProcessType()})

    async def scale(**processes):
        return await store.transact(lambda tx: changes.create_scale_request(tx, app.id, release.id, processes, None))

    await scale(web=1, worker=2)
    second = await scale(web=3)
    assert (second.old_processes, second.new_processes) == ({"web": 1, "worker": 2}, {"web": 3})
    formation = await store.read(lambda db: queries.formation(db, app.id, release.id))
    assert formation.processes == {"web": 3, "worker": 2}
    kinds = [
        (kind, data.get("state")) for kind, data in await history(store, "scale_request", "scale_request_cancelation")
    ]
    assert kinds == [
        ("scale_request", "pending"),
        ("scale_request", "pending"),
        ("scale_request_cancelation", "cancelled"),
        ("scale_request", "cancelled"),
    ]


async def test_the_last_jobs_of_a_critical_app_stay(store):
    app = await make_app(store)
    await store.transact(lambda tx: changes.update_app(tx, app.id, meta={CRITICAL_META: "true"}))
    old, new = await make_release(store, app), await make_release(store, app)

    async def scale(release, count):
        processes = None if count is None else {"web": count}
        return await store.transact(lambda tx: changes.put_formation(tx, app.id, release.id, processes, None))

    async def refused(change):
        with pytest.raises(ValidationError, match="^refusing to scale down critical app hello: "):
            await store.transact(change)

    await scale(old, 2)
    await scale(old, 1)
    await refused(lambda tx: changes.put_formation(tx, app.id, old.id, None, None))
    await refused(lambda tx: changes.create_scale_request(tx, app.id, old.id, {"web": 0}, None))
    await refused(lambda tx: changes.delete_formation(tx, app.id, old.id))
    await scale(new, 1)
    await scale(old, None)
    await refused(lambda tx: changes.put_formation(tx, app.id, new.id, {"web": 0}, None))
    await store.transact(lambda tx: changes.delete_app(tx, app.id))


async def test_a_scale_that_cannot_be_is_refused(store):
    app = await make_app(store)
    release = await make_release(store, app)

    async def scale(processes, tags=None):
        await store.transact(lambda tx: changes.create_scale_request(tx, app.id, release.id, processes, tags))

    with pytest.raises(ValidationError, match="process types that do not exist in the release: bar, foo"):
        await scale({"web": 1, "foo": 1, "bar": 1})
    with pytest.raises(ValidationError, match="must have either processes or tags"):
        await scale(None)
    with pytest.raises(ValidationError, match="negative"):
        await scale({"web": -1})


async def test_a_job_is_told_once_per_state_and_never_goes_back(store):
    app = await make_app(store)
    release = await make_release(store, app)
    job = Job(uuid="j1", app=app.id, release=release.id, type="web")
    for state in ("pending", "starting", "starting", "up", "starting", "stopping", "up", "down", "up"):
        await store.transact(lambda tx, s=state: changes.put_job(tx, replace(job, state=JobState(s)), formation=True))
    told = [data for _, data in await history(store, "job")]
    assert [data["state"] for data in told] == ["pending", "starting", "up", "stopping", "down"]
    assert "id" not in told[0]
    assert told[1]["id"] == "host0-j1"
    assert (await store.read(queries.desired)).jobs == ()


async def test_a_job_that_is_blocked_and_waits_again_is_told_once_and_keeps_its_pause(store):
    app = await make_app(store)
    release = await make_release(store, app)
    later = Time.parse("2099-01-01T00:00:00Z")
    job = Job(uuid=JobID("j1"), app=app.id, release=release.id, type="web", run_at=later)
    for state in ("pending", "blocked", "pending", "blocked", "pending"):
        await store.transact(lambda tx, s=state: changes.put_job(tx, replace(job, state=JobState(s)), formation=True))
    stored = await store.read(lambda db: queries.job(db, job.uuid))
    assert (stored.state, stored.run_at) == (JobState.PENDING, later)
    assert [data["state"] for _, data in await history(store, "job")] == ["pending", "blocked"]


async def test_only_a_placed_job_can_be_stopped(store):
    app = await make_app(store)
    release = await make_release(store, app)
    job = Job(uuid="j1", app=app.id, release=release.id, type="web", state=JobState.PENDING)
    await store.transact(lambda tx: changes.put_job(tx, job, formation=True))
    with pytest.raises(ValidationError, match="has not been placed on a host"):
        await store.transact(lambda tx: changes.stop_job(tx, "j1"))
    await store.transact(lambda tx: changes.put_job(tx, replace(job, state=JobState.UP), formation=True))
    assert (await store.transact(lambda tx: changes.stop_job(tx, "j1"))).state is JobState.STOPPING


async def test_a_first_deployment_is_complete_at_once(store):
    app = await make_app(store)
    release = await make_release(store, app)
    deployment = await store.transact(lambda tx: changes.create_deployment(tx, app.id, release.id))
    assert deployment.status is DeploymentStatus.COMPLETE
    assert deployment.finished_at
    assert (await store.read(lambda db: queries.current_release(db, app.id))).id == release.id
    assert [data["status"] for _, data in await history(store, "deployment")] == ["complete"]


async def deploying(store):
    """Return an app with one web job wanted, and a deployment to a second release that has begun."""
    app = await make_app(store)
    old, new = await make_release(store, app), await make_release(store, app, A="b")
    await store.transact(lambda tx: changes.create_deployment(tx, app.id, old.id))
    await store.transact(lambda tx: changes.create_scale_request(tx, app.id, old.id, {"web": 1}, None))
    return app, old, new, await store.transact(lambda tx: changes.create_deployment(tx, app.id, new.id))


async def test_a_deployment_of_something_running_waits_for_the_scheduler(store):
    app, old, new, deployment = await deploying(store)
    assert (deployment.status, deployment.processes, deployment.old_release) == ("pending", {"web": 1}, old.id)
    with pytest.raises(ValidationError, match="there is already one in progress for this app"):
        await store.transact(lambda tx: changes.create_deployment(tx, app.id, new.id))
    await store.transact(lambda tx: changes.finish_deployment(tx, deployment.id))
    assert (await store.read(lambda db: queries.app(db, app.id))).release == new.id
    assert [data["status"] for _, data in await history(store, "deployment")] == ["complete", "pending", "complete"]


async def test_a_failed_deployment_keeps_the_release_and_says_why(store):
    app, old, _, deployment = await deploying(store)
    await store.transact(lambda tx: changes.finish_deployment(tx, deployment.id, failure=WHY))
    assert (await store.read(lambda db: queries.app(db, app.id))).release == old.id
    assert (await history(store, "deployment"))[-1][1]["error"] == "web job failed to start"
    assert (await store.read(lambda db: queries.deployment(db, deployment.id))).failure == WHY
    listed = await store.read(lambda db: queries.deployments(db, app.id))
    assert [(each.status, each.failure) for each in listed] == [("failed", None), ("complete", None)]


async def test_a_deployment_knows_its_latest_steps(store):
    app, _, _, deployment = await deploying(store)
    for number in range(STEPS_KEPT + 5):
        await store.transact(lambda tx, n=number: changes.note_deployment_step(tx, deployment.id, f"up web={n}"))
    await store.transact(lambda tx: changes.finish_deployment(tx, deployment.id))
    steps = (await store.read(lambda db: queries.deployment(db, deployment.id))).steps
    assert [each.step for each in steps] == [f"up web={n}" for n in range(5, STEPS_KEPT + 5)]
    assert (await store.read(lambda db: queries.deployments(db, app.id)))[0].steps == []


async def test_evidence_stays_with_a_job_that_is_down(store):
    _, _, new, _ = await deploying(store)
    job = Job(uuid=JobID("e"), app=new.app_id, release=new.id, type="web", state=JobState.STARTING)
    seen = Evidence(given_up=True, opened=["127.0.0.1:80"])
    for state, evidence in ((JobState.STARTING, None), (JobState.STOPPING, seen), (JobState.DOWN, None)):
        now = replace(job, state=state)
        await store.transact(lambda tx, now=now, e=evidence: changes.put_job(tx, now, evidence=e, formation=True))
    record = await store.read(lambda db: queries.job_record(db, job.uuid))
    assert (record.evidence, record.job.state, record.started_at) == (seen, JobState.DOWN, None)
    assert record.process == new.processes["web"]


async def test_one_off_jobs_of_the_new_release_are_no_failures_of_its_deployment(store):
    app, _, new, deployment = await deploying(store)
    await store.transact(lambda tx: changes.note_deployment_step(tx, deployment.id, "up web=1"))
    job = Job(uuid="one-off", app=app.id, release=new.id, state=JobState.DOWN)
    await store.transact(lambda tx: changes.put_job(tx, job, formation=False))
    [moving] = (await store.read(queries.desired)).deployments
    assert moving.failures == ()


@pytest.mark.parametrize("pause_s", [0.5, 1.0])
async def test_failures_of_a_step_are_those_since_it_began(store, autojump_clock, pause_s):
    app, _, new, deployment = await deploying(store)

    async def crash(job_id):
        job = Job(uuid=job_id, app=app.id, release=new.id, type="web", state=JobState.DOWN)
        await store.transact(lambda tx: changes.put_job(tx, job, formation=True))

    await crash("j1")
    await trio.sleep(pause_s)
    await store.transact(lambda tx: changes.note_deployment_step(tx, deployment.id, "batch 2"))
    await trio.sleep(1.5 - pause_s)
    await crash("j2")
    [progress] = (await store.read(queries.desired)).deployments
    assert progress.step == "batch 2"
    assert [job.uuid for job in progress.failures] == ["j2"]


async def test_routes_are_normalised_and_unique(store):
    app = await make_app(store)

    async def add(wanted):
        return await store.transact(lambda tx: changes.create_route(tx, wanted, app.id))

    assert (await add(route("WWW.Example.com"))).domain == "www.example.com"
    with pytest.raises(Conflict, match="Duplicate route"):
        await add(route())
    assert (await add(route(path="/api"))).path == "/api/"
    for wrong in (route("other.example.com", path="/api"), route("x.example.com", port=8080), route("y", path="api")):
        with pytest.raises(ValidationError, match="Invalid route"):
            await add(wrong)
    [api] = [one for one in await store.read(lambda db: queries.routes(db, app.id)) if one.path == "/api/"]
    root = next(one for one in await store.read(queries.routes) if one.domain == "www.example.com" and one.path == "/")
    with pytest.raises(ValidationError, match="Route has dependent routes"):
        await store.transact(lambda tx: changes.delete_route(tx, app.id, root.type, root.id))
    for gone in (api, root):
        await store.transact(lambda tx, r=gone: changes.delete_route(tx, app.id, r.type, r.id))


async def test_tcp_ports_are_given_out_once(store):
    app = await make_app(store)

    async def add(port=0):
        wanted = route("", type=RouteType.TCP, port=port)
        return await store.transact(lambda tx: changes.create_route(tx, wanted, app.id))

    first = await add()
    assert first.port == 3000
    await store.transact(lambda tx: changes.delete_route(tx, app.id, first.type, first.id))
    assert (await add()).port == 3001
    assert (await add(9999)).port == 9999
    with pytest.raises(Conflict, match="Port reserved"):
        await add(443)
    with pytest.raises(Conflict, match="Duplicate route"):
        await add(9999)


async def test_an_update_keeps_what_may_not_change(store):
    app = await make_app(store)
    created = await store.transact(lambda tx: changes.create_route(tx, route(tls_cert="C", tls_key="K"), app.id))
    wanted = replace(created, service="other-web", sticky=True, certificate=None, parent_ref="x", drain_backends=False)
    updated = await store.transact(lambda tx: changes.update_route(tx, app.id, wanted))
    assert (updated.service, updated.sticky) == ("other-web", True)
    assert (updated.parent_ref, updated.drain_backends) == (created.parent_ref, True)
    assert updated.certificate == created.certificate
    with pytest.raises(NotFound):
        moved = replace(created, domain="elsewhere.example.com")
        await store.transact(lambda tx: changes.update_route(tx, app.id, moved))


async def test_slugs_live_as_long_as_a_release_refers_to_them(store):
    app = await make_app(store)

    def change(tx):
        artifact = changes.create_artifact(tx, Artifact(type="flynn", uri="slug:abc"))
        return changes.create_release(tx, Release(app_id=app.id, artifacts=[artifact.id]))

    await store.transact(change)
    assert await store.read(queries.live_slugs) == {"abc"}
    await store.transact(lambda tx: changes.delete_app(tx, app.id))
    assert await store.read(queries.live_slugs) == set()


async def test_an_artifact_goes_with_its_last_release_and_layers_with_their_last_artifact(store):
    app = await make_app(store)

    def image(*layers):
        manifest = {"rootfs": [{"layers": [{"id": one} for one in layers]}]}
        uri = f"http://blobs/{'-'.join(layers)}.json"
        template = "http://blobs/{id}.tar"
        meta = {"blobstore": "true"}
        return Artifact(type="flynn", uri=uri, meta=meta, manifest=manifest, layer_url_template=template)

    def release_of(artifact):
        def change(tx):
            created = changes.create_artifact(tx, artifact)
            return changes.create_release(tx, Release(app_id=app.id, artifacts=[created.id]))

        return store.transact(change)

    first, again, other = [
        await release_of(one) for one in (image("s", "a", "a"), image("s", "a", "a"), image("s", "b"))
    ]
    assert await store.read(queries.used_layers) == {"s", "a", "b"}
    assert await store.read(queries.used_images) == {("s", "a", "a"), ("s", "b")}
    for release in (first, again, other):
        await store.transact(lambda tx, id=release.id: changes.delete_release(tx, app.id, id))
    files = [data["release_deletion"].get("deleted_files") for _, data in await history(store, "release_deletion")]
    assert files == [
        None,
        ["http://blobs/s-a-a.json", "http://blobs/a.tar"],
        ["http://blobs/s-b.json", "http://blobs/s.tar", "http://blobs/b.tar"],
    ]
    assert await store.read(queries.used_layers) == set()
    assert await store.read(queries.used_images) == set()
    assert await store.read(queries.artifacts) == []
