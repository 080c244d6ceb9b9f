"""A world for the scheduler: the real store, the engine in memory, and a small stand-in for discoverd."""

from collections import Counter
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from flynn_aio.discoverd import Services, Snapshot
from flynn_aio.engine import FakeEngine
from flynn_aio.model import AppID, DeploymentStatus, Job, JobState, PlacedJob, ProcessType, ReleaseID, decode
from flynn_aio.scheduler import open_scheduler
from flynn_aio.settings import SchedulerSettings
from flynn_aio.store import EventFilter, Store, changes, queries

from ..support.build import make_app, make_release

SETTINGS = SchedulerSettings(slug_dir=Path("/slugs"), gateway="100.100.0.1", host_features=())
PRINTER = {"printer": ProcessType(args=["print"])}


class World:
    """What a test may look at and change.

    Attributes:
        sick: tells which running jobs do not answer.
        drains: how many seconds the requests of a job take to finish.
        drained: the jobs that were drained, oldest first.
        tails: job -> its last lines.
        notes: the lines of ours in the logs of apps, oldest first.
    """

    def __init__(self, store: Store, engine: FakeEngine, clock) -> None:
        self.store = store
        self.engine = engine
        self.clock = clock
        self.services = Services()
        self.sick: Callable[[PlacedJob], bool] = lambda placed: False
        self.drains = 0.0
        self.drained: list[str] = []
        self.tails: dict[str, list[str]] = {}
        self.notes: list[str] = []

    # -- the neighbours ------------------------------------------------------------------------

    async def check_health(self) -> None:
        """Do discoverd's part: what has an address is up, unless it is sick."""
        while True:
            seen = self.store.changes.version
            placed = await self.store.read(queries.placed_jobs)
            serving = [one for one in placed if one.address and one.job.state in (JobState.STARTING, JobState.UP)]
            up = frozenset(one.job.uuid for one in serving if not self.sick(one))
            dead = {
                job: why
                for job, why in self.services.snapshot.value.dead.items()
                if job in {o.job.uuid for o in serving}
            }
            waiting = {one.job.uuid: f"connection refused on {one.address}:8080" for one in serving if self.sick(one)}
            self.services.snapshot.set(Snapshot(up=up - dead.keys(), dead=dead, waiting=waiting))
            await self.store.changes.moved_past(seen)

    def give_up(self, job: Job) -> None:
        """Let the health check of a job say that it is to be killed."""
        seen = self.services.snapshot.value
        self.services.snapshot.set(Snapshot(up=seen.up - {job.uuid}, dead={**seen.dead, job.uuid: "no answer"}))

    async def drain(self, job, /) -> None:
        await trio.sleep(self.drains)
        self.drained.append(job)

    async def tail(self, job, lines: int) -> list[str]:
        return self.tails.get(job, [])[-lines:]

    async def note(self, app, job, type: str, text: str) -> None:
        self.notes.append(text)

    @asynccontextmanager
    async def scheduler(self, settings: SchedulerSettings = SETTINGS):
        """Run a scheduler while the block runs; its end is as sudden as a kill -9."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.check_health)
            async with open_scheduler(
                settings,
                self.store,
                self.engine,
                self.services,
                self.clock,
                drained=self.drain,
                tail=self.tail,
                note=self.note,
            ):
                yield
            nursery.cancel_scope.cancel()

    # -- what a user does ----------------------------------------------------------------------

    async def app(self, processes=PRINTER, *, strategy=None, timeout=None, name="hello"):
        """Create an app with a current release."""
        app = await make_app(self.store, name)
        if strategy or timeout:
            app = await self.store.transact(
                lambda tx: changes.update_app(tx, app.id, strategy=strategy, deploy_timeout=timeout)
            )
        release = await make_release(self.store, app, processes)
        await self.store.transact(lambda tx: changes.set_app_release(tx, app.id, release.id))
        return app, release

    async def scale(self, app, release, tags=None, **counts: int):
        return await self.store.transact(lambda tx: changes.create_scale_request(tx, app.id, release.id, counts, tags))

    async def deploy(self, app, release):
        return await self.store.transact(lambda tx: changes.create_deployment(tx, app.id, release.id))

    async def kill(self, job: Job) -> None:
        await self.store.transact(lambda tx: changes.stop_job(tx, job.uuid))

    # -- what a user sees ----------------------------------------------------------------------

    async def jobs(self, app, *states: JobState) -> list[Job]:
        """Return the jobs of an app in these states, oldest first."""
        found = await self.store.read(lambda db: queries.jobs(db, app.id))
        return [job for job in found[::-1] if not states or job.state in states]

    async def up(self, app) -> list[Job]:
        return await self.jobs(app, JobState.UP)

    async def counts(self, app: AppID) -> Counter:
        return Counter(str(job.state) for job in await self.jobs(app))

    async def wait(self, condition, within_s: float = 300.0) -> None:
        """Wait until an async condition holds, looking after each change of the store."""
        with trio.fail_after(within_s):
            while True:
                seen = self.store.changes.version
                if await condition():
                    return
                await self.store.changes.moved_past(seen)

    async def wait_up(self, app, count: int, *, without: Job | None = None) -> list[Job]:
        """Wait until so many jobs are up, one is not among them, and nothing else is going on; return them."""

        async def settled() -> bool:
            active = [job for job in await self.jobs(app) if job.state is not JobState.DOWN]
            gone = without is None or without.uuid not in [job.uuid for job in active]
            return gone and len(active) == count and all(job.state is JobState.UP for job in active)

        await self.wait(settled)
        return await self.up(app)

    async def wait_deployed(self, deployment, within_s: float = 600.0):
        """Wait until a deployment is over; return it and the error of its last event."""

        async def over() -> bool:
            found = await self.store.read(lambda db: queries.deployment(db, deployment.id))
            return found.status in (DeploymentStatus.COMPLETE, DeploymentStatus.FAILED)

        await self.wait(over, within_s)
        event = (await self.events("deployment"))[-1]
        return await self.store.read(lambda db: queries.deployment(db, deployment.id)), event.get("error", "")

    async def events(self, *types: str) -> list[dict]:
        """Return the data of the events of these types, oldest first."""
        found = await self.store.read(lambda db: queries.events(db, EventFilter(object_types=frozenset(types))))
        return [decode(bytes(event.data), dict) for event in found[::-1]]

    async def job_events(self) -> list[str]:
        """Return ``STATE`` of every job event, oldest first."""
        return [event["state"] for event in await self.events("job")]

    async def processes(self, app, release: ReleaseID) -> dict[str, int] | None:
        found = await self.store.read(lambda db: queries.find_formation(db, app.id, release))
        return found and found.processes

    async def has(self, app, state: JobState) -> bool:
        return bool(await self.jobs(app, state))

    async def is_at(self, app, **counts: int) -> bool:
        """Whether an app's jobs are in just these states, each so often."""
        return await self.counts(app) == counts

    async def completed(self, count: int) -> bool:
        """Whether so many scale requests are complete."""
        return [event["state"] for event in await self.events("scale_request")].count("complete") == count
