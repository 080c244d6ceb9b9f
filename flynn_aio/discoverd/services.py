"""Services: the tasks that keep the snapshot true, and answer DNS from it.

One task follows the store, one per endpoint probes it. All of them only tell the registry
what happened and publish what it then says.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from zlib import crc32

import trio

from ..clock import Clock, SystemClock
from ..errors import FlynnError, Unavailable
from ..model import AppID, HealthCheck, JobID, PlacedJob
from ..settings import DiscoverdSettings
from ..store import Store, queries
from ..watch import Watch
from .checks import probe
from .dns_server import open_dns
from .health import START_INTERVAL_S, Health, Verdict
from .history import History
from .registry import Endpoint, EndpointKey, Registry
from .snapshot import Services, Snapshot

logger = logging.getLogger(__name__)

SETTLE_S = 0.5
"""How long the start waits for the first answers of adopted jobs, so that the router finds its
backends, and the leader is the oldest of all and not the quickest."""
REPORT_INTERVAL_S = 1.0
"""How old the counts in `Snapshot.waiting` may get: waking every reader ten times a second for
a number nobody reads would cost more than the probes."""
RESYNC_S = 30.0
"""How often all jobs are read, and not only those of the apps that changed."""
LOOK_S = 1.0
"""How long it may take to find out where a job listens: the next probe waits for it."""
RETRY_S = 1.0
"""The pause after the store could not be read."""

Place = tuple[JobID, str]
"""A job and its address."""

Listening = Callable[[JobID], Awaitable[tuple[str, ...] | None]]
"""Tells where a job listens, as `Engine.listening` does."""

Probe = Callable[[HealthCheck, str], Awaitable[str]]
"""Asks the endpoint at an address once; see `checks.probe`."""


@asynccontextmanager
async def open_discoverd(
    settings: DiscoverdSettings,
    store: Store,
    clock: Clock,
    *,
    running: Mapping[JobID, str] | None = None,
    listening: Listening | None = None,
) -> AsyncIterator[Services]:
    """Follow the jobs in the store, check them, publish who answers, and serve DNS.

    Entered, every job that was running has been asked once, or had `SETTLE_S` to answer.

    Args:
        running: the jobs that do run, with their addresses. A row that says so of another job is from before the
            start and its address may be anybody's by now; without this, all rows are believed.
        listening: asked where a job listens that does not answer; without it nobody will know.

    Raises:
        FlynnError: DNS cannot listen where the settings say.
    """
    snapshot = Watch(Snapshot())
    async with (
        open_dns(settings, snapshot, clock) as dns_port,
        open_monitor(
            store,
            snapshot,
            clock=clock,
            probe_timeout_s=settings.probe_timeout_s,
            running=running,
            listening=listening,
        ) as followed,
    ):
        yield Services(snapshot=snapshot, followed=followed, dns_port=dns_port)


@asynccontextmanager
async def open_monitor(
    store: Store,
    snapshot: Watch[Snapshot],
    *,
    probe_timeout_s: float,
    probe: Probe = probe,
    clock: Clock | None = None,
    running: Mapping[JobID, str] | None = None,
    listening: Listening | None = None,
) -> AsyncIterator[Watch[int]]:
    """Keep the snapshot true while the block runs. Entered, it is, as far as `SETTLE_S` allowed.

    Yields up to which change of the store it is, as `Services.followed`.

    Args:
        clock: tells when a probe was made; the machine's own if none is given.
    """
    async with trio.open_nursery() as checks:
        monitor = Monitor(
            checks, snapshot, clock or SystemClock(), probe_timeout_s=probe_timeout_s, probe=probe, listening=listening
        )
        seen = store.changes.version
        placed = await store.read(queries.placed_jobs)
        past = frozenset[Place]() if running is None else frozenset(map(_place, placed)) - running.items()
        monitor.follow([job for job in placed if _place(job) not in past])
        with trio.move_on_after(SETTLE_S):
            await monitor.wait_settled()
        monitor.publish()
        followed = Watch(seen)
        checks.start_soon(partial(_follow, store, monitor, followed, past=past))
        yield followed
        checks.cancel_scope.cancel()


def _place(placed: PlacedJob) -> Place:
    return placed.job.uuid, placed.address


async def _follow(store: Store, monitor: "Monitor", followed: Watch[int], *, past: Collection[Place]) -> None:
    """Take over the placed jobs of each app that a change not `followed` yet has touched, but for those in the past."""
    seen = followed.value
    resync_at = trio.current_time() + RESYNC_S
    while True:
        with trio.move_on_at(resync_at):
            await store.changes.moved_past(seen)
        newer, touched = store.changes.version, store.touched_since(seen)
        apps = None if trio.current_time() >= resync_at or touched is None else touched.keys()
        try:
            placed = await store.read(partial(queries.placed_jobs, apps=apps)) if apps is None or apps else []
        except Unavailable as exc:  # a full disk, say: what was known still serves
            logger.warning("jobs not read, trying again", extra={"reason": exc.message})
            await trio.sleep(RETRY_S)
            continue
        if apps is None:
            resync_at = trio.current_time() + RESYNC_S
        seen = newer
        monitor.follow([job for job in placed if _place(job) not in past], apps)
        monitor.publish()
        followed.set(seen)


class Monitor:
    """The checks in progress: begun and ended in step with the jobs.

    The nursery is lent by the opener; each check has a cancel scope, by which `follow` ends it.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        snapshot: Watch[Snapshot],
        clock: Clock,
        *,
        probe_timeout_s: float,
        probe: Probe,
        listening: Listening | None,
    ) -> None:
        self._nursery = nursery
        self._snapshot = snapshot
        self._probe_timeout_s = probe_timeout_s
        self._clock = clock
        self._ask = probe
        self._listening = listening
        self._registry = Registry()
        self._scopes: dict[EndpointKey, trio.CancelScope] = {}
        self._unasked: set[EndpointKey] = set()
        self._settled = trio.Event()
        self._is_public = False  # the first snapshot waits for all of the start
        self._published_at = 0.0

    def follow(self, jobs: Sequence[PlacedJob], apps: Collection[AppID] | None = None) -> None:
        """Take over the present jobs. Whoever left is out at the next `publish`, in this same instant.

        Args:
            apps: whose jobs these are; ``None``: they are all there are.
        """
        turnover = self._registry.follow(jobs, apps)
        for key in turnover.ended:
            if scope := self._scopes.pop(key, None):
                scope.cancel()
            self._asked(key)
        for endpoint in turnover.begun:
            if endpoint.check is not None:
                scope = self._scopes[endpoint.key] = trio.CancelScope()
                self._unasked.add(endpoint.key)
                self._nursery.start_soon(self._watch_over, endpoint, endpoint.check, scope)
        if not self._unasked:
            self._settled.set()

    async def wait_settled(self) -> None:
        """Wait until every endpoint of the first `follow` was asked once."""
        await self._settled.wait()

    def publish(self) -> None:
        """Replace the snapshot if anything in it is different."""
        self._is_public, self._published_at = True, trio.current_time()
        snapshot = self._registry.snapshot()
        if snapshot != self._snapshot.value:
            self._snapshot.set(snapshot)

    async def _watch_over(self, endpoint: Endpoint, check: HealthCheck, scope: trio.CancelScope) -> None:
        """Probe one endpoint until its job leaves or is given up."""
        with scope:
            health = Health(check, now=trio.current_time(), phase=_phase(endpoint))
            history = History(now=trio.current_time())
            verdict, error = None, ""
            while verdict is not Verdict.KILL:
                started_at, before = trio.current_time(), error
                error = await self._probe(endpoint, check, health, before)
                verdict = health.probed(error, now=trio.current_time())
                history.probed(error, self._clock.now())
                if error and (verdict is Verdict.KILL or history.wants_look(trio.current_time())):
                    history.looked(await self._look(endpoint.key.job), trio.current_time())
                self._note(endpoint, health, history, verdict, news=error != before)
                await trio.sleep_until(min(started_at + health.interval_s, health.deadline))

    async def _probe(self, endpoint: Endpoint, check: HealthCheck, health: Health, before: str) -> str:
        """Probe once. A probe cut off because the start took too long says nothing new."""
        addr, timeout_s = endpoint.key.addr, self._probe_timeout_s
        now = trio.current_time()
        last_moment = max(health.deadline, now + START_INTERVAL_S)
        with trio.move_on_at(min(now + timeout_s, last_moment)):
            return await self._ask(check, addr)
        if last_moment < now + timeout_s and before:
            return before
        return f"no answer from {addr} within {trio.current_time() - now:.1f} s"

    async def _look(self, job: JobID) -> tuple[str, ...] | None:
        """Return where a job listens; ``None`` when nobody can tell just now."""
        if self._listening is not None:
            with trio.move_on_after(LOOK_S), suppress(FlynnError):
                return await self._listening(job)
        return None

    def _note(
        self, endpoint: Endpoint, health: Health, history: History, verdict: Verdict | None, *, news: bool
    ) -> None:
        """Tell the registry what a probe changed, and publish when it matters to anybody."""
        key = endpoint.key
        report = health.report(now=trio.current_time())
        fields = {"job": key.job, "service": key.service, "addr": key.addr}
        match verdict:
            case Verdict.UP:
                self._registry.answers(endpoint)
                logger.info("instance up", extra=fields)
            case Verdict.DOWN:
                self._registry.is_silent(endpoint, report, history.evidence())
                logger.warning("instance down", extra=fields | {"reason": report})
            case Verdict.KILL:
                self._registry.give_up(endpoint, report, history.evidence())
                logger.warning("instance given up", extra=fields | {"reason": report})
            case None if not health.is_up:
                self._registry.is_silent(endpoint, report, history.evidence())
        self._asked(key)
        is_due = verdict or news or trio.current_time() - self._published_at >= REPORT_INTERVAL_S
        if self._is_public and is_due:
            self.publish()

    def _asked(self, key: EndpointKey) -> None:
        self._unasked.discard(key)
        if not self._unasked:
            self._settled.set()


def _phase(endpoint: Endpoint) -> float:
    """Return a number from 0 to 1 that is always the same for an endpoint, and another for each."""
    return crc32(repr(endpoint.key).encode()) / 2**32
