"""Operations: what users do, as the controller does it for them: a few reads, one transaction, an answer."""

from collections.abc import Callable
from functools import partial

from flynn_aio.engine import one_off_spec
from flynn_aio.model import (
    App,
    AppID,
    Artifact,
    DeploymentStatus,
    HealthCheck,
    Job,
    JobID,
    NewJob,
    Port,
    PortService,
    ProcessType,
    Release,
    ReleaseID,
    Strategy,
    VolumeReq,
)
from flynn_aio.store import Transaction, changes, queries

from .control_plane import ControlPlane
from .history import short
from .world import World

MOST_APPS = 3
MOST_JOBS = 3
"""Apps at a time, and jobs of one process type."""
DOMAIN = "flynn.test"
STRATEGIES = (Strategy.ALL_AT_ONCE, Strategy.ONE_BY_ONE, Strategy.IN_BATCHES, Strategy.ONE_DOWN_ONE_UP)
BATCH_META = "flynn-deploy-batch-size"


def process_types(app: str) -> dict[str, ProcessType]:
    """Return one process type of each nature."""
    check = HealthCheck(type="tcp")
    strict = HealthCheck(type="tcp", kill_down=True)
    return {
        "web": _serving(f"{app}-web", check),
        "api": _serving(f"{app}-api", strict),
        "plain": _serving(f"{app}-plain", None),
        "worker": ProcessType(args=["work"]),
        "store": ProcessType(args=["keep"], volumes=[VolumeReq(path="/data")]),
        "scratch": ProcessType(args=["scratch"], volumes=[VolumeReq(path="/tmp", delete_on_stop=True)]),
    }


def _serving(service: str, check: HealthCheck | None) -> ProcessType:
    port = Port(port=8080, proto="tcp", service=PortService(name=service, create=True, check=check))
    return ProcessType(args=["serve"], ports=[port], service=service)


def create_app(world: World) -> None:
    if len(queries.apps(world.db)) >= MOST_APPS:
        scale(world)
        return
    name = world.dice.choice(("hello", "shop", "blog", "mail"))

    async def request(plane: ControlPlane) -> str:
        app = await make_app(world, plane, name)
        kinds = process_types(name)
        wanted = {kind: kinds[kind] for kind in world.dice.sample(sorted(kinds), world.dice.randint(1, 3))}
        release = await make_release(world, plane, app, wanted)
        await plane.store.transact(partial(changes.set_app_release, app_id=app.id, release_id=release.id))
        world.promises.keep(("current", app.id), release.id)
        return f"app {short(app.id)} with release {short(release.id)}: {' '.join(wanted)}"

    world.ask(f"create_app {name}", request)


async def make_app(world: World, plane: ControlPlane, name: str) -> App:
    app = await plane.store.transact(partial(changes.create_app, app=App(name=name, meta={}), route_domain=DOMAIN))
    world.promises.keep(("app", app.id), (app.name, app.strategy, app.deploy_timeout))
    return app


async def make_release(world: World, plane: ControlPlane, app: App, processes: dict[str, ProcessType]) -> Release:
    def change(tx: Transaction) -> Release:
        artifact = changes.create_artifact(tx, Artifact(type="flynn", uri="image:localhost/test/app:1"))
        env = {"COLOUR": world.dice.choice(("red", "blue"))}
        return changes.create_release(tx, Release(app_id=app.id, artifacts=[artifact.id], env=env, processes=processes))

    release = await plane.store.transact(change)
    world.promises.keep(("release", app.id, release.id), release.id)
    return release


def delete_app(world: World) -> None:
    app = _app(world)
    if app is None or world.dice.random() < 0.7:
        return

    async def request(plane: ControlPlane) -> str:
        with world.promises.changing(("app", app.id)):
            await plane.store.transact(partial(changes.delete_app, app_id=app.id))
        world.promises.keep(("app", app.id), None)
        return "deleted"

    world.ask(f"delete_app {app.name}", request)


def update_app(world: World) -> None:
    """Change strategy, deploy timeout or batch size."""
    app = _app(world)
    if app is None:
        return
    strategy, timeout_s = world.dice.choice(STRATEGIES), world.dice.choice((3, 15, 60))
    meta = {**app.meta, BATCH_META: world.dice.choice(("1", "2", "nonsense"))}

    async def request(plane: ControlPlane) -> str:
        with world.promises.changing(("app", app.id)):
            change = partial(changes.update_app, app_id=app.id, meta=meta, strategy=strategy, deploy_timeout=timeout_s)
            changed = await plane.store.transact(change)
        world.promises.keep(("app", app.id), (changed.name, changed.strategy, changed.deploy_timeout))
        return f"{strategy} {timeout_s} s"

    world.ask(f"update_app {app.name}", request)


def scale(world: World) -> None:
    """Ask for other counts, usually of the current release."""
    found = _release_of(world, current=world.dice.random() < 0.93)
    if found is None:
        return
    app, release = found
    kinds = sorted(release.processes)
    counts = {
        kind: world.dice.randint(0, MOST_JOBS) for kind in world.dice.sample(kinds, world.dice.randint(1, len(kinds)))
    }
    ask_for(world, app, release.id, counts, None)


def tag(world: World) -> None:
    """Ask for a host with tags, which there is none of, or no longer."""
    found = _release_of(world)
    if found is None:
        return
    app, release = found
    kind = world.dice.choice(sorted(release.processes))
    ask_for(world, app, release.id, None, {kind: world.dice.choice(({"disk": "ssd"}, {}, {}))})


def ask_for(world: World, app: App, release: ReleaseID, counts, tags) -> None:
    async def request(plane: ControlPlane) -> str:
        with world.promises.changing(("count", app.id, release)):
            await plane.store.transact(
                _disturbing(world, app.id, lambda tx: changes.create_scale_request(tx, app.id, release, counts, tags))
            )
        if queries.unfinished_deployment(world.db, app.id) is None:
            world.promises.keep_counts(app.id, release, counts or {})
        return "accepted"

    world.ask(f"scale {app.name} {short(release)} {counts or tags}", request)


def _disturbing(world: World, app: AppID, change):
    """Return a change of counts; from the moment it is made, a deployment's course is not to be foreseen."""

    def made(tx: Transaction):
        world.promises.disturb(app)
        return change(tx)

    return made


def deploy(world: World) -> None:
    """Change the environment: a new release, and its deployment."""
    found = _release_of(world)
    if found is None:
        return
    app, release = found
    kinds = process_types(app.name)
    processes = dict(release.processes)
    if world.dice.random() < 0.2:
        processes[kind] = kinds[kind := world.dice.choice(sorted(kinds))]
    elif world.dice.random() < 0.1 and len(processes) > 1:
        del processes[world.dice.choice(sorted(processes))]

    async def request(plane: ControlPlane) -> str:
        new = await make_release(world, plane, app, processes)
        return await deploy_release(world, plane, app.id, new.id)

    world.ask(f"deploy {app.name}", request)


def rollback(world: World) -> None:
    """Deploy an earlier release."""
    found = _release_of(world, current=False)
    if found:
        app, release = found
        world.ask(f"rollback {app.name}", lambda plane: deploy_release(world, plane, app.id, release.id))


async def deploy_release(world: World, plane: ControlPlane, app: AppID, release: ReleaseID) -> str:
    def change(tx: Transaction):
        new = queries.find_formation(tx.db, app, release)
        return changes.create_deployment(tx, app, release), new is not None and new.total > 0

    with world.promises.changing(("current", app), ("count", app)):
        deployment, was_running = await plane.store.transact(change)
    world.promises.keep(("deployment", deployment.id), deployment.status)
    if deployment.status is DeploymentStatus.COMPLETE:
        world.promises.keep(("current", app), release)
    else:
        world.promises.begun(deployment)
        if was_running or any(
            other.release not in (deployment.old_release, release) and other.total
            for other in queries.formations(world.db, app)
        ):
            world.promises.disturb(app)
    return f"deployment {short(deployment.id)} {deployment.strategy} to {short(release)}: {deployment.status}"


def kill(world: World) -> None:
    job = _job(world)
    if job is None:
        return

    async def request(plane: ControlPlane) -> str:
        await plane.store.transact(lambda tx: changes.stop_job(tx, job.uuid))
        return "accepted"

    world.ask(f"kill {short(job.uuid)}", request)


def run(world: World) -> None:
    """Run a one-off job nobody is attached to."""
    found = _release_of(world)
    if found is None:
        return
    app, release = found

    async def request(plane: ControlPlane) -> str:
        artifacts = await plane.store.read(lambda db: queries.artifacts(db, release.artifacts))
        spec = one_off_spec(
            job=JobID(world.machine.clock.new_id()),
            app=app,
            release=release,
            artifacts=artifacts,
            new_job=NewJob(args=["once"]),
            gateway="127.105.0.1",
        )
        await plane.engine.start(spec)
        return f"job {short(spec.id)}"

    world.ask(f"run {app.name}", request)


def decommission(world: World) -> None:
    volumes = queries.existing_volumes(world.db)
    if not volumes:
        return
    volume = world.dice.choice(volumes)

    async def request(plane: ControlPlane) -> str:
        await plane.store.transact(lambda tx: changes.decommission_volume(tx, volume.app, volume.id))
        world.promises.keep(("decommissioned", volume.app, volume.id), True)
        return "accepted"

    world.ask(f"decommission {short(volume.id)}", request)


def delete_release(world: World) -> None:
    found = _release_of(world, current=False)
    if found is None:
        return
    app, release = found

    async def request(plane: ControlPlane) -> str:
        with world.promises.changing(("release", app.id, release.id), ("count", app.id, release.id)):
            await plane.store.transact(
                _disturbing(world, app.id, lambda tx: changes.delete_release(tx, app.id, release.id))
            )
        world.promises.keep(("release", app.id, release.id), None)
        world.promises.keep_counts(app.id, release.id, dict.fromkeys(release.processes, 0))
        return "deleted"

    world.ask(f"delete_release {short(release.id)}", request)


def delete_formation(world: World) -> None:
    found = _release_of(world)
    if found is None or world.dice.random() < 0.7:
        return
    app, release = found

    async def request(plane: ControlPlane) -> str:
        with world.promises.changing(("count", app.id, release.id)):
            await plane.store.transact(
                _disturbing(world, app.id, lambda tx: changes.delete_formation(tx, app.id, release.id))
            )
        if queries.unfinished_deployment(world.db, app.id) is None:
            world.promises.keep_counts(app.id, release.id, dict.fromkeys(release.processes, 0))
        return "deleted"

    world.ask(f"delete_formation {short(release.id)}", request)


OPERATIONS: tuple[tuple[Callable[[World], None], int], ...] = (
    (create_app, 6),
    (delete_app, 2),
    (update_app, 4),
    (scale, 16),
    (tag, 3),
    (deploy, 12),
    (rollback, 4),
    (kill, 8),
    (run, 6),
    (decommission, 3),
    (delete_release, 4),
    (delete_formation, 2),
)
"""With their weights."""


def _app(world: World) -> App | None:
    apps = queries.apps(world.db)
    return world.dice.choice(apps) if apps else None


def _release_of(world: World, *, current: bool = True) -> tuple[App, Release] | None:
    """Choose an app and its current, or any other of its latest releases."""
    app = _app(world)
    if app is None:
        return None
    releases = queries.app_releases(world.db, app.id)[:6]
    fitting = [one for one in releases if one.processes and (one.id == app.release) == current]
    return (app, world.dice.choice(fitting)) if fitting else None


def _job(world: World) -> Job | None:
    jobs = [placed.job for placed in queries.placed_jobs(world.db)]
    return world.dice.choice(jobs) if jobs else None
