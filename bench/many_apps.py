"""`python -m bench.many_apps APPS`: the control plane of so many apps in a process of its own, on an engine in memory.

Store, scheduler and discoverd are the real ones; the jobs run nowhere, and the first look at each finds it well.
Prints what one change, an idle pass and a plan of everything cost, as JSON.
"""

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

import trio

from flynn_aio.clock import SystemClock
from flynn_aio.discoverd import Services, Snapshot, open_monitor
from flynn_aio.engine import FakeEngine, open_fake_engine
from flynn_aio.model import App, AppID, Artifact, HealthCheck, Port, PortService, ProcessType, Release
from flynn_aio.scheduler import open_scheduler
from flynn_aio.scheduler.plan import plan
from flynn_aio.scheduler.step import Observed
from flynn_aio.settings import SchedulerSettings, StoreSettings
from flynn_aio.store import Store, Transaction, changes, open_store, queries
from flynn_aio.watch import Watch

from .processes import resident_mb

JOBS = 3
"""Of each app."""
TIMES = 21
TOUCHED = 100
"""Apps that change at once."""
PASS_S = 0.1
"""A pass and the rest after it take less."""
HOUR_NS = 3600 * 10**9
SETTINGS = SchedulerSettings(slug_dir=Path("/"), gateway="127.104.0.1", host_features=(), resync_s=1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured; times are processor time of the whole process in ms, one per sample.

    Attributes:
        plan_ms: planning all jobs when all is as it should be.
        idle_ms: a pass without news.
        touch_ms: what follows from a change of one app that calls for nothing.
        touches_ms: the same for `TOUCHED` apps in one change, of which there may be fewer.
        scale_ms: one job more or less, from the wish until it is fulfilled.
        resident_mb: with all jobs up.
    """

    jobs: int
    plan_ms: list[float]
    idle_ms: list[float]
    touch_ms: list[float]
    touches_ms: list[float]
    scale_ms: list[float]
    resident_mb: float


async def run(count: int) -> Measured:
    """Have so many apps with all their jobs up, and measure."""
    clock, snapshot = SystemClock(), Watch(Snapshot())
    with tempfile.TemporaryDirectory(prefix="flynn-aio-bench-") as directory:
        async with (
            open_store(StoreSettings(path=Path(directory) / "flynn.db"), clock) as store,
            open_fake_engine(clock=clock, subnet=IPv4Network("127.104.0.0/16")) as engine,
            open_monitor(store, snapshot, probe_timeout_s=1.0, probe=_is_well),
        ):
            apps = await store.transact(partial(_create, count=count))
            services = Services(snapshot=snapshot)
            async with open_scheduler(SETTINGS, store, engine, services, clock, drained=_is_drained):
                await _fulfilled(store)
                resident = resident_mb(os.getpid())
                await trio.sleep(1.0)
                gc.freeze()  # as the appliance does once it is ready
                return Measured(
                    jobs=count * JOBS,
                    plan_ms=await _planned(store, engine, snapshot, apps),
                    idle_ms=await _cpu_ms(partial(_ring, engine)),
                    touch_ms=await _cpu_ms(partial(_touch, store, apps[:1])),
                    touches_ms=await _cpu_ms(partial(_touch, store, apps[:TOUCHED])),
                    scale_ms=await _cpu_ms(_scaling(store, apps[0])),
                    resident_mb=resident,
                )


def _create(tx: Transaction, *, count: int) -> list[AppID]:
    """Create apps of one web process type each, and wish for their jobs."""
    apps = []
    for number in range(count):
        app = changes.create_app(tx, App(name=f"app-{number}", meta={}), route_domain="flynn.test")
        image = changes.create_artifact(tx, Artifact(type="flynn", uri=f"image:localhost/app-{number}:1"))
        check = HealthCheck(type="tcp", interval=HOUR_NS)
        service = PortService(name=f"{app.name}-web", create=True, check=check)
        web = ProcessType(args=["serve"], ports=[Port(port=8080, proto="tcp", service=service)])
        wanted = Release(app_id=app.id, artifacts=[image.id], env={"A": "B"}, processes={"web": web})
        release = changes.create_release(tx, wanted)
        changes.set_app_release(tx, app.id, release.id)
        changes.create_scale_request(tx, app.id, release.id, {"web": JOBS}, None)
        apps.append(app.id)
    return apps


async def _fulfilled(store: Store) -> None:
    """Wait until there is as many of each as was wished for."""
    pending = "SELECT count(*) FROM scale_requests WHERE state = 'pending'"
    seen = store.changes.version
    while (await store.read(lambda db: next(db.conn.execute(pending))))[0]:
        await store.changes.moved_past(seen)
        seen = store.changes.version


async def _is_well(check: HealthCheck, addr: str) -> str:
    await trio.lowlevel.checkpoint()
    return ""


async def _is_drained(job: str, /) -> None:
    await trio.lowlevel.checkpoint()


async def _planned(store: Store, engine: FakeEngine, snapshot: Watch[Snapshot], apps: list[AppID]) -> list[float]:
    """Plan app by app, as a look at everything does, from rows that were read before."""
    desired = await store.read(partial(queries.desired_by_app, apps=apps))
    statuses = {app: {each.id: each for each in await engine.jobs() if each.app == app} for app in apps[:TOUCHED]}
    clock, samples = SystemClock(), []
    now = clock.now()
    observed = {app: Observed(statuses=each, up=snapshot.value.up, steady_since=now) for app, each in statuses.items()}
    for _ in range(TIMES):
        began = time.process_time()
        steps = [plan(desired[app], seen, now, clock.new_id) for app, seen in observed.items()]
        samples.append((time.process_time() - began) * 1000 * len(apps) / len(observed))
        assert not any(step.writes or step.actions for step in steps)
    return samples


async def _cpu_ms(bring_about: Callable[[], Awaitable[None]]) -> list[float]:
    """Return what it and all that follows from it cost, less what as long a time costs without it."""
    samples = []
    for _ in range(TIMES):
        spent = await _spent_ms(bring_about)
        samples.append(max(spent - await _spent_ms(trio.lowlevel.checkpoint), 0.0))
    return samples


async def _spent_ms(bring_about: Callable[[], Awaitable[None]]) -> float:
    began = time.process_time()
    await bring_about()
    await trio.sleep(PASS_S)
    return (time.process_time() - began) * 1000


async def _ring(engine: FakeEngine) -> None:
    await trio.lowlevel.checkpoint()
    engine.bell.ring()


async def _touch(store: Store, apps: list[AppID]) -> None:
    """Change something about some apps that no job depends on."""

    def change(tx: Transaction) -> None:
        for app in apps:
            changes.update_app(tx, app, meta={"touched": str(tx.now)})

    await store.transact(change)


def _scaling(store: Store, app: AppID) -> Callable[[], Awaitable[None]]:
    """Return what wishes for one job more, the next time for one less, and waits until it is so."""
    more = False

    async def scale() -> None:
        nonlocal more
        more = not more
        release = (await store.read(lambda db: queries.app(db, app))).release
        assert release is not None
        wanted = {"web": JOBS + more}
        await store.transact(lambda tx: changes.create_scale_request(tx, app, release, wanted, None))
        await _fulfilled(store)

    return scale


if __name__ == "__main__":
    print(json.dumps(asdict(trio.run(run, int(sys.argv[1])))), flush=True)
