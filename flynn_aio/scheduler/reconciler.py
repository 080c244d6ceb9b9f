"""Reconciler: the loop that brings what runs to what is wanted.

It reads everything, remembers nothing, and is only woken by change: a lost wake-up costs a
delay, never a job. What is in flight the executor knows; since when the engine has answered
without a break is the one thing kept here, for no deployment is to be blamed for an outage.
"""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import trio

from ..clock import Clock
from ..discoverd import Services
from ..engine import Engine, JobStatus
from ..errors import EngineError, FlynnError, NotFound, Unavailable
from ..model import AppID, JobID, Release, ReleaseID, Time, full_job_id
from ..settings import SchedulerSettings
from ..store import Database, DatabaseBroken, Desired, Store, queries
from ..watch import Bell
from .executor import Executor
from .plan import plan
from .recorder import record_all
from .step import FinishDeployment, Observed, Step, Write

logger = logging.getLogger(__name__)

Tail = Callable[[JobID, int], Awaitable[list[str]]]
"""Returns the last lines a job printed."""

ROUNDS = 10
"""Plans in one pass. A deployment's step takes four; whatever wants more gets the next pass."""

OUTAGE_PAUSE_S = 1.0
"""The pause before an engine, or a disk, that failed is asked again."""

BREATH_S = 0.25
"""A pass is followed by a rest as long as itself, up to this: a storm of changes costs half a core."""

QUOTED_LINES = 10
QUOTE_S = 2.0
"""How many lines of a job's output explain a failed deployment, and how long they may take to find."""


class Reconciler:
    """The loop; `run` it once.

    Attributes:
        ready: set after the first pass.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        *,
        store: Store,
        engine: Engine,
        services: Services,
        clock: Clock,
        executor: Executor,
        bell: Bell,
        tail: Tail | None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._services = services
        self._clock = clock
        self._settings = settings
        self._executor = executor
        self._bell = bell
        self._tail = tail
        self._stable_after = timedelta(seconds=settings.restart_stable_s)
        self._engine_is_silent = False
        self._steady_since: Time | None = None
        self.ready = trio.Event()

    async def run(self) -> None:
        """Bring what runs to what is wanted, until cancelled."""
        while True:
            seen = self._bell.version  # before reading: a change meanwhile wakes the next pass
            began = trio.current_time()
            wait_s = await self._pass()
            self.ready.set()
            await trio.sleep(min(trio.current_time() - began, BREATH_S))
            with trio.move_on_after(wait_s):
                await self._bell.moved_past(seen)

    async def _pass(self) -> float:
        """Look, decide and act once; return how many seconds may pass before the next time.

        An engine that does not answer says nothing about its jobs, so nothing is concluded then.
        """
        try:
            observed = await self._look()
        except EngineError as exc:
            if not self._engine_is_silent:
                logger.warning("the engine does not answer, jobs are left as they are", extra={"reason": exc.message})
            self._engine_is_silent, self._steady_since = True, None
            return await self._rest()
        try:
            step = await self._settle(observed)
        except Unavailable as exc:
            logger.warning("the store cannot be used, jobs are left as they are", extra={"reason": exc.message})
            return await self._rest()
        return self._clock.seconds_until(step.wake_at, at_most=self._settings.resync_s)

    async def _rest(self) -> float:
        """Let an outage pass. The bell does not shorten it: it may be the outage that rings."""
        await trio.sleep(OUTAGE_PAUSE_S)
        return 0.0

    async def _look(self) -> Observed:
        """Return what there is, in the order `Observed` asks for."""
        doing, failed = dict(self._executor.doing), dict(self._executor.failed)
        statuses = {status.id: status for status in await self._engine.jobs()}
        volumes = await self._engine.volumes()
        snapshot = self._services.snapshot.value
        if self._steady_since is None:
            self._engine_is_silent, self._steady_since = False, self._clock.now()
        return Observed(
            statuses=statuses,
            doing=doing,
            failed=failed,
            up=snapshot.up,
            dead=snapshot.dead,
            volumes=volumes,
            waiting={**snapshot.waiting, **self._executor.troubled},
            steady_since=self._steady_since,
        )

    async def _settle(self, observed: Observed) -> Step:
        """Plan and write until the rows are as they should be, then act."""
        refused: set[AppID] = set()
        for _ in range(ROUNDS):
            desired, observed = await self._store.read(partial(_read, seen=observed))
            step = plan(desired, observed, self._clock.now(), self._clock.new_id, stable_after=self._stable_after)
            if not await self._write(step.writes, refused):
                break
        self._executor.forget(observed.failed.keys() - {placed.job.uuid for placed in desired.jobs})
        self._executor.submit(step.actions)
        return step

    async def _write(self, writes: Sequence[Write], refused: set[AppID]) -> bool:
        """Write, each app for itself; return whether anything was.

        Args:
            refused: apps whose writes failed in this pass; they are left to the next one, and added to.
        """
        by_app: dict[AppID, list[Write]] = defaultdict(list)
        for write in writes:
            if write.app not in refused:
                by_app[write.app].append(await self._explained(write))
        for app, those in by_app.items():
            try:
                await self._store.transact(partial(record_all, writes=those))
            except (Unavailable, DatabaseBroken):
                raise  # no app's fault
            except FlynnError as exc:
                logger.warning("an app's jobs could not be written", extra={"app": app, "reason": exc.message})
                refused.add(app)
        return not by_app.keys() <= refused

    async def _explained(self, write: Write) -> Write:
        """Return the end of a deployment with the output that explains it."""
        if not isinstance(write, FinishDeployment) or write.quote is None or self._tail is None:
            return write
        lines: list[str] = []
        with trio.move_on_after(QUOTE_S), suppress(FlynnError, OSError):
            lines = await self._tail(write.quote, QUOTED_LINES)
        if not lines:
            return write
        quoted = "\n".join(f"    {line}" for line in lines)
        return replace(write, error=f"{write.error}\nlast lines of job {full_job_id(write.quote)}:\n{quoted}")


def _read(db: Database, seen: Observed) -> tuple[Desired, Observed]:
    """Return what is wanted, and what the rows tell about what was seen, of one moment."""
    desired = queries.desired(db)
    rows = {placed.job.uuid for placed in desired.jobs}
    strays = [status for job, status in seen.statuses.items() if job not in rows]
    told = frozenset(status.id for status in strays if _is_told(db, status))
    releases: dict[ReleaseID, Release] = {}
    for moving in desired.deployments:
        try:
            releases[moving.deployment.new_release] = queries.release(db, moving.deployment.new_release)
        except NotFound:  # deleted meanwhile: the plan ends its deployment
            continue
    others = seen.volumes.difference(volume.id for volume in desired.volumes)
    spent = tuple(queries.destroyed_volumes(db, others)) if others else ()
    return desired, replace(seen, told=told, releases=releases, spent=spent)


def _is_told(db: Database, stray: JobStatus) -> bool:
    """Tell whether there is no more to record about a job: it is down, or of no app of ours."""
    with suppress(NotFound):
        queries.job(db, stray.id)
        return True
    try:
        queries.app(db, stray.app)
    except NotFound:
        return True
    return False
