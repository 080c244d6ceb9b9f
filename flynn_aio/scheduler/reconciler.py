"""Reconciler: the loop that brings what runs to what is wanted.

It decides app by app, from what is there and from nothing it remembers. At the start, after an outage and every
`resync_s` it looks at all of them; in between only at those of which something has moved since they were planned
(`news`), so that a pass costs what has changed, not what there is. A lost wake-up costs a delay, never a job.

What is in flight the executor knows; since when neither engine nor store was away, by a clock that nobody set, is
the one fact kept here, for no deployment is to be blamed for an outage.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import trio

from ..clock import Clock
from ..discoverd import Services
from ..engine import Engine, JobStatus
from ..errors import EngineError, FlynnError, NotFound, Unavailable
from ..model import AppID, JobID, JobState, Release, ReleaseID, Time, Volume
from ..settings import SchedulerSettings
from ..store import Database, DatabaseBroken, Desired, Store, queries
from ..watch import Bell
from .executor import Executor
from .inquiry import Inquiry
from .news import Look, News
from .pace import Pace
from .plan import plan
from .recorder import record_all
from .step import FinishDeployment, Observed, PutJob, RemoveVolume, Step, Write

logger = logging.getLogger(__name__)

Note = Callable[[AppID, JobID, str, str], Awaitable[None]]
"""Puts a line into the log of an app, among those of a job of this type."""

ROUNDS = 10
"""Plans of one app in one pass. A deployment's step takes four; whatever wants more gets the next pass."""

APPS_AT_ONCE = 25
"""Apps read and planned after one look: what a look at everything does in between lets others have their turn."""

OUTAGE_PAUSE_S = 1.0
"""The pause before an engine, or a disk, that failed is asked again."""

BREATH_S = 0.25
"""A pass is followed by a rest as long as itself, up to this: a storm of changes costs half a core."""

NOTE_S = 1.0
"""How long a line in a log may wait for its turn: it is not worth holding up what it tells of."""


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
        inquiry: Inquiry,
        note: Note | None = None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._services = services
        self._clock = clock
        self._settings = settings
        self._executor = executor
        self._bell = bell
        self._inquiry = inquiry
        self._note = note
        self._stable_after = timedelta(seconds=settings.restart_stable_s)
        self._engine_is_silent = False
        self._steady_since: Time | None = None
        self._well_since = -math.inf
        self._pace = Pace()
        self._news = News()
        self._resync_at = -math.inf
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
        if trio.current_time() >= self._resync_at:
            self._news.forget()
        try:
            await self._bring_up_to_date()
        except EngineError as exc:
            if not self._engine_is_silent:
                logger.warning("the engine does not answer, jobs are left as they are", extra={"reason": exc.message})
            self._engine_is_silent, self._steady_since = True, None
            return await self._rest()
        except Unavailable as exc:
            logger.warning("the store cannot be used, jobs are left as they are", extra={"reason": exc.message})
            self._steady_since = None
            return await self._rest()
        return self._clock.seconds_until(self._news.wake_at, at_most=max(self._resync_at - trio.current_time(), 0.0))

    async def _rest(self) -> float:
        """Let an outage pass. The bell does not shorten it: it may be the outage that rings."""
        self._news.forget()
        await trio.sleep(OUTAGE_PAUSE_S)
        return 0.0

    async def _bring_up_to_date(self) -> None:
        """Settle every app of which there is news."""
        look = await self._look()
        version = self._store.changes.version
        touched = self._store.touched_since(self._news.version)
        apps = self._news.take(look, touched, version=version, now=self._clock.now())
        if apps is None:
            self._resync_at = trio.current_time() + self._settings.resync_s
            scheduled = await self._store.read(partial(queries.scheduled_apps, on_disk=look.volumes))
            apps = scheduled.union(status.app for status in look.statuses)
        left = sorted(apps)
        while left:
            some, left = left[:APPS_AT_ONCE], left[APPS_AT_ONCE:]
            await self._settle(some, look)
            if left:
                look = await self._look()

    async def _look(self) -> Look:
        """Return what there is, in the order `Observed` asks for."""
        doing, failed = dict(self._executor.doing), dict(self._executor.failed)
        statuses = await self._engine.jobs()
        volumes = await self._engine.volumes()
        snapshot = self._services.snapshot.value
        return Look(
            doing=doing,
            failed=failed,
            statuses=statuses,
            volumes=volumes,
            up=snapshot.up,
            dead=snapshot.dead,
            waiting={**snapshot.waiting, **self._executor.troubled},
            evidence=snapshot.evidence,
            steady_since=self._note_disturbances(),
        )

    def _note_disturbances(self) -> Time:
        """Return since when nothing stood between a release and its jobs but the release itself."""
        now, known = self._clock.now(), self._well_since
        self._well_since = self._engine.well_since
        was_unwell = self._well_since > known or self._well_since == math.inf
        if moved := self._pace.moved(now, trio.current_time()):
            logger.warning("the clock was set", extra={"by_s": round(moved.total_seconds())})
            self._news.forget()  # what waits for a moment may wait no more
        if self._steady_since is None or was_unwell or moved:
            self._engine_is_silent, self._steady_since = False, now
        return self._steady_since

    async def _settle(self, apps: Collection[AppID], look: Look) -> None:
        """Plan and write until the rows of some apps are as they should be, then act."""
        for _ in range(ROUNDS):
            version = self._store.changes.version  # before reading: a change meanwhile is news for the next pass
            read, over = await self._store.read(partial(_read, apps=apps, look=look))
            self._executor.forget(over)
            steps: dict[AppID, Step] = {}
            for app, (desired, observed) in read.items():
                step = plan(desired, observed, self._clock.now(), self._clock.new_id, stable_after=self._stable_after)
                if await self._write(app, step.writes):
                    steps[app] = step
                else:
                    self._act(app, step, version)
            if not steps:
                return
            apps = list(steps)
        for app, step in steps.items():
            self._act(app, step, version)

    def _act(self, app: AppID, step: Step, version: int) -> None:
        self._executor.submit(step.actions)
        acting = [action.job for action in step.actions if not isinstance(action, RemoveVolume)]
        self._news.planned(app, version=version, acting=acting, wake_at=step.wake_at)

    async def _write(self, app: AppID, writes: Sequence[Write]) -> bool:
        """Write what was decided about an app; return whether anything was. What is refused waits for the next pass."""
        if not writes:
            await trio.lowlevel.checkpoint()
            return False
        try:
            explained = [await self._explained(write) for write in writes]
            await self._store.transact(partial(record_all, writes=explained))
        except (Unavailable, DatabaseBroken):
            raise  # no app's fault
        except FlynnError as exc:
            logger.warning("an app's jobs could not be written", extra={"app": app, "reason": exc.message})
            self._news.owe(app)
            return False
        await self._tell(app, explained)
        return True

    async def _tell(self, app: AppID, writes: Sequence[Write]) -> None:
        """Put into the app's log what its owner should know of what was written."""
        for write in writes:
            if self._note and isinstance(write, PutJob) and (remark := write.remark):
                with trio.move_on_after(NOTE_S), suppress(FlynnError):
                    await self._note(app, remark.job, remark.type, remark.text)

    async def _explained(self, write: Write) -> Write:
        """Return the end of a deployment with all that explains it."""
        if not isinstance(write, FinishDeployment) or write.failure is None or write.blame is None:
            return write
        return replace(write, failure=await self._inquiry.look_into(write.failure, write.blame))


def _read(
    db: Database, apps: Collection[AppID], look: Look
) -> tuple[dict[AppID, tuple[Desired, Observed]], set[JobID]]:
    """Return, of one moment, what is wanted of each app and what there is; and the failed jobs whose rows have it."""
    statuses: dict[AppID, dict[JobID, JobStatus]] = {app: {} for app in apps}
    for status in look.statuses:
        if status.app in statuses:
            statuses[status.app][status.id] = status
    spent: dict[AppID, list[Volume]] = defaultdict(list)
    for volume in queries.destroyed_volumes(db, look.volumes, apps):
        spent[volume.app].append(volume)
    read = {}
    for app, desired in queries.desired_by_app(db, apps).items():
        rows = {placed.job.uuid for placed in desired.jobs}
        strays = [status for job, status in statuses[app].items() if job not in rows]
        observed = Observed(
            statuses=statuses[app],
            doing=look.doing,
            failed=look.failed,
            up=look.up,
            dead=look.dead,
            waiting=look.waiting,
            evidence=look.evidence,
            told=frozenset(status.id for status in strays if _is_told(db, status)),
            releases=_releases(db, desired),
            spent=tuple(spent[app]),
            steady_since=look.steady_since,
        )
        read[app] = desired, observed
    return read, {job for job in look.failed if _is_over(db, job)}


def _releases(db: Database, desired: Desired) -> dict[ReleaseID, Release]:
    """Return what the unfinished deployments move from and to."""
    releases: dict[ReleaseID, Release] = {}
    for moving in desired.deployments:
        for release in (moving.deployment.old_release, moving.deployment.new_release):
            with suppress(NotFound):  # deleted meanwhile: the plan ends its deployment
                if release:
                    releases[release] = queries.release(db, release)
    return releases


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


def _is_over(db: Database, job: JobID) -> bool:
    """Tell whether a job's row says that it is down."""
    try:
        return queries.job(db, job).state is JobState.DOWN
    except NotFound:
        return True
