"""Rest: what must be true when all faults have ended and nobody does anything any more."""

from collections import Counter
from collections.abc import Iterator

import trio
from sqlite_utils import Database

from flynn_aio.engine import RunState
from flynn_aio.model import JOB_META, JobState
from flynn_aio.store import queries

from .history import Violation
from .invariants import live_jobs
from .world import World

REST_S = 900.0
"""How long it may take: a deployment that waits for several jobs which ignore SIGTERM, each for 30 s."""
LOOK_S = 1.0


async def come_to_rest(world: World) -> float:
    """Wait until everything is as it is wanted; return how many seconds that took.

    Raises:
        Violation: it does not become so; the text names what is missing.
    """
    began = trio.current_time()
    complaints = ["nobody looked yet"]
    while complaints:
        if trio.current_time() - began > REST_S:
            raise Violation(f"no rest after {REST_S:.0f} s: {'; '.join(complaints)}")
        await trio.sleep(LOOK_S)
        if world.plane is None:
            complaints = ["the control plane does not run"]
            continue
        world.invariants.look(world.plane)
        complaints = list(_complaints(world))
    world.invariants.committed()
    world.promises.check(world.db)
    return trio.current_time() - began


def _complaints(world: World) -> Iterator[str]:
    db = world.db
    if world.requests_in_flight or any(name != "list" for name in world.gate.in_flight):
        yield f"in flight: {world.requests_in_flight} requests, {world.gate.in_flight}"
    yield from _unfinished(db)
    yield from _jobs(world, db)
    yield from _volumes(world, db)
    yield from _routes(world, db)


def _unfinished(db: Database) -> Iterator[str]:
    for (deployment,) in db.conn.execute("SELECT id FROM deployments WHERE NOT finished").fetchall():
        yield f"deployment {deployment} is unfinished"
    for formation in queries.expanded_formations(db):
        blocked = any(count and formation.tags.get(kind) for kind, count in formation.processes.items())
        if formation.pending_scale_request and not blocked:
            yield f"scale request {formation.pending_scale_request.id} is pending"


def _jobs(world: World, db: Database) -> Iterator[str]:
    """Exactly the wanted jobs run, once each, and nothing else is listed."""
    wanted: Counter[tuple[str, str, str]] = Counter()
    blocked: Counter[tuple[str, str, str]] = Counter()
    for formation in queries.active_formations(db):
        for kind, count in formation.processes.items():
            if count:
                key = formation.app.id, formation.release.id, kind
                (blocked if formation.tags.get(kind) else wanted)[key] = count
    listed = world.machine.engine.listed
    running = Counter((one.app, one.release, one.type) for one in listed if one.formation)
    if running != wanted:
        yield f"containers {running} instead of {wanted}"
    if others := [one.id for one in listed if not one.formation or one.state is not RunState.RUNNING]:
        yield f"listed without being wanted: {others}"
    if (rows := live_jobs(db)) != wanted + blocked:
        yield f"rows {rows} instead of {wanted + blocked}"
    for placed in queries.placed_jobs(db):
        job = placed.job
        state = JobState.BLOCKED if (job.app, job.release, job.type) in blocked else JobState.UP
        if job.state is not state:
            yield f"job {job.uuid} is {job.state} instead of {state}"
    up = {placed.job.uuid for placed in queries.placed_jobs(db) if placed.job.state is JobState.UP}
    if up != {one.id for one in listed}:
        yield f"up are {up}, and there are {[one.id for one in listed]}"


def _volumes(world: World, db: Database) -> Iterator[str]:
    """Every volume has its directory, and every directory its volume; a job has what it is written to have."""
    known = queries.existing_volumes(db)
    if (stored := {one.id for one in known if one.state != "pending"}) != world.machine.engine.listed_volumes:
        yield f"volumes {stored}, and directories {world.machine.engine.listed_volumes}"
    held = {placed.job.uuid: placed.job.volumes for placed in queries.placed_jobs(db)}
    for volume in known:
        if volume.job and volume.id not in held.get(volume.job, ()):
            yield f"volume {volume.id} belongs to job {volume.job}, which does not have it"
    for status in world.machine.running():
        if list(status.volumes) != held.get(status.id):
            yield f"job {status.id} has the volumes {status.volumes}, and its row says {held.get(status.id)}"


def _routes(world: World, db: Database) -> Iterator[str]:
    """Every job that serves is a backend, and nothing else is; every route of an app leads to its service."""
    plane = world.plane
    assert plane is not None
    snapshot = plane.services.snapshot.value
    backends = {instance.meta[JOB_META] for found in snapshot.instances.values() for instance in found}
    serving = {
        placed.job.uuid
        for placed in queries.placed_jobs(db)
        if placed.job.state is JobState.UP and any(port.service for port in placed.ports)
    }
    if backends != serving:
        yield f"backends {backends} instead of {serving}"
    for app in queries.apps(db):
        target = plane.router.upstreams.table.find(f"{app.name}.flynn.test", b"/")
        if target is None or target.service != f"{app.name}-web":
            yield f"requests to {app.name} go to {target}"
    if snapshot.dead or snapshot.waiting:
        yield f"discoverd gave up {snapshot.dead}, and waits for {snapshot.waiting}"
