"""Executor: actions in flight, at most one for each job and volume.

It carries out and tries again; it decides nothing. What an action came to is seen by the next
pass, in the engine's own report; only a start that failed for good leaves nothing there to see,
so its reason is kept here until the job's row has it.

An engine that fails is given a pause that grows with the tries, each job for itself.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from os import cpu_count
from typing import Protocol

import trio

from ..engine import Engine, formation_spec
from ..errors import EngineError, FlynnError, StartError, Unavailable, ValidationError
from ..model import JobID, VolumeID, VolumeState
from ..settings import SchedulerSettings
from ..store import Store, changes
from ..watch import Bell
from .recorder import claim
from .step import Action, Doing, JobAction, RemoveJob, RemoveVolume, StartJob, StopJob

logger = logging.getLogger(__name__)

PARALLEL_STARTS = max(cpu_count() or 1, 2)
"""Jobs claimed at once; the others stay `pending`. More would only wait inside the engine."""

RETRY_S, RETRY_MAX_S = 0.5, 30.0
"""The pause after a failure is so long for each try so far, up to a bound. Source: `jobs.md` §5."""

YIELD_S = 1.0
"""How long a removal may wait for the starts in flight. Both want Podman's locks, and what crashed is away until the
job that takes its place is started."""

LINGER_S = 60.0
"""How long an ended one-off job stays: whoever is attached to it may still read its last output, or
make an image of it, and then removes it. This is for those nobody is attached to."""


class Drained(Protocol):
    """How the scheduler learns that no request is with a job any more, without knowing of a router."""

    def __call__(self, job: JobID, /) -> Awaitable[None]:
        """Wait until nobody sends the job anything, and nothing sent is still in flight."""
        ...


class Executor:
    """Carries out actions in a nursery that is lent to it.

    Attributes:
        doing: what is in flight.
        failed: jobs whose start failed for good, and why.
        troubled: jobs whose start is being tried again, and what went wrong last.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: SchedulerSettings,
        *,
        store: Store,
        engine: Engine,
        drained: Drained,
        bell: Bell,
    ) -> None:
        self._nursery = nursery
        self._store = store
        self._engine = engine
        self._settings = settings
        self._drained = drained
        self._bell = bell
        self._starts = trio.CapacityLimiter(PARALLEL_STARTS)
        self._unwanted: dict[JobID, trio.Event] = {}
        """The starts in flight, and what makes each give up."""
        self._removing: set[VolumeID] = set()
        self.doing: dict[JobID, Doing] = {}
        self.failed: dict[JobID, str] = {}
        self.troubled: dict[JobID, str] = {}

    def submit(self, actions: Iterable[Action]) -> None:
        """Begin what is not in flight yet. Stopping a job whose start is in flight makes the start give up."""
        for action in actions:
            if isinstance(action, RemoveVolume):
                if action.volume not in self._removing:
                    self._removing.add(action.volume)
                    self._nursery.start_soon(self._remove_volume, action)
            elif action.job not in self.doing:
                self._begin(action)
            elif isinstance(action, StopJob) and action.job in self._unwanted:
                self._unwanted[action.job].set()

    def forget(self, jobs: Iterable[JobID]) -> None:
        """Drop the reasons of failed starts which are in their rows by now."""
        for job in jobs:
            self.failed.pop(job, None)

    def _begin(self, action: JobAction) -> None:
        match action:
            case StartJob():
                self.doing[action.job] = Doing.STARTING
                self._unwanted[action.job] = trio.Event()
                self._nursery.start_soon(self._start, action)
            case StopJob():
                self.doing[action.job] = Doing.STOPPING
                self._nursery.start_soon(self._stop, action)
            case RemoveJob():
                self.doing[action.job] = Doing.REMOVING
                self._nursery.start_soon(self._remove, action)

    @contextmanager
    def _in_flight(self, job: JobID) -> Iterator[None]:
        try:
            yield
        finally:
            del self.doing[job]
            self._unwanted.pop(job, None)
            self.troubled.pop(job, None)
            self._bell.ring()

    async def _start(self, action: StartJob) -> None:
        """Start a job for as long as its row wants it started.

        Cancellation: its container may exist; its row says `starting`, so the next boot adopts or starts it.
        """
        with self._in_flight(action.job):
            for attempt in count(1):
                try:
                    async with self._starts:
                        await self._try_to_start(action)
                    return
                except (StartError, ValidationError) as exc:  # the release cannot be run as it is written
                    logger.warning("job cannot start", extra=_fields(action) | {"reason": exc.message})
                    self.failed[action.job] = exc.message
                    return
                except (EngineError, Unavailable) as exc:
                    self.troubled[action.job] = exc.message
                    _warn("starting a job failed, trying again", action, exc, attempt)
                except Exception as exc:  # the boundary of an action: what breaks one job must not end all of us
                    logger.exception("a bug kept a job from starting", extra=_fields(action))
                    self.failed[action.job] = f"cannot start job {action.job}: {exc!r}; this is a bug of flynn-aio"
                    return
                with trio.move_on_after(_pause_s(attempt)):
                    await self._unwanted[action.job].wait()

    async def _try_to_start(self, action: StartJob) -> None:
        wanted = action.formation
        spec = formation_spec(
            job=action.job,
            app=wanted.app,
            release=wanted.release,
            artifacts=wanted.artifacts,
            type=action.type,
            gateway=self._settings.gateway,
            volumes=action.volumes,
            host_features=self._settings.host_features,
        )
        claimed = await self._store.transact(lambda tx: claim(tx, action.job, list(spec.args)))
        if claimed is None or self._unwanted[action.job].is_set():
            return
        if pending := [volume.id for volume in action.volumes if volume.state is VolumeState.PENDING]:
            for volume in pending:
                await self._engine.create_volume(volume)
            await self._store.transact(lambda tx: changes.note_created_volumes(tx, pending))
        await self._engine.start(spec)
        logger.info("job started", extra=_fields(action) | {"app": wanted.app.name, "type": action.type})

    async def _stop(self, action: StopJob) -> None:
        """Let a job's requests finish, then end it. A cut-off stop is repeated by the next boot."""
        with self._in_flight(action.job):
            if action.patient:
                with trio.move_on_after(self._settings.drain_s) as draining:
                    await self._drained(action.job)
                if draining.cancelled_caught:
                    logger.warning("requests were still in flight when their time was up", extra=_fields(action))
            kill_s = (action.stop_s or self._settings.kill_s) if action.patient else 0.0
            await self._persist("stopping a job", action, lambda: self._engine.stop(action.job, kill_s=kill_s))
            logger.info("job stopped", extra=_fields(action))

    async def _remove(self, action: RemoveJob) -> None:
        with self._in_flight(action.job):
            if action.linger:
                await trio.sleep(LINGER_S)
            await self._let_starts_go_first()
            await self._persist("removing a job", action, lambda: self._engine.remove(action.job))

    async def _let_starts_go_first(self) -> None:
        with trio.move_on_after(YIELD_S):
            while self._unwanted:
                await self._bell.moved_past(self._bell.version)

    async def _remove_volume(self, action: RemoveVolume) -> None:
        """Remove a volume. Cut off, a part of it is left, which the next boot finds and removes."""
        try:
            await self._persist("removing a volume", action, lambda: self._engine.remove_volume(action.volume))
            logger.info("volume removed", extra=_fields(action))
        finally:
            self._removing.discard(action.volume)

    async def _persist(self, doing: str, action: Action, call: Callable[[], Awaitable[None]]) -> None:
        """Call the engine until it does as it is told."""
        for attempt in count(1):
            try:
                await call()
            except EngineError as exc:
                _warn(f"{doing} failed, trying again", action, exc, attempt)
                await trio.sleep(_pause_s(attempt))
            else:
                return


def _pause_s(attempt: int) -> float:
    return min(RETRY_S * attempt, RETRY_MAX_S)


def _fields(action: Action) -> dict[str, object]:
    return {"volume": action.volume} if isinstance(action, RemoveVolume) else {"job": action.job}


def _warn(what: str, action: Action, exc: FlynnError, attempt: int) -> None:
    logger.warning(what, extra=_fields(action) | {"reason": exc.message, "attempt": attempt})
