"""Sinks: a sender for each one there is, started and stopped as they come and go."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from ..clock import Clock
from ..errors import FlynnError, ValidationError
from ..model import AppID, JobFacts, JobID, Sink, SinkID, syslog_config
from ..watch import Watch
from . import cursor
from .follow import RunBlocking
from .line import Origin
from .sender import Sender
from .store import Logs, in_threads
from .syslog import SyslogEncoder
from .syslog_outlet import SyslogOutlet

logger = logging.getLogger(__name__)

T = TypeVar("T")

SETTLE_S = 0.2
"""Between two looks at which sinks there are: many changes of the store in a row are one."""
RETRY_S = 5.0
FINISH_S = 2.0
"""For writing down how far a sink is when its sender is stopped."""
PAUSE = 1.0
"""After reading for so long, all sinks together leave the processor to others for this many times as long."""
CURSORS = "cursors"
"""Directory below the log files."""


class SinkSource(Protocol):
    """Who knows which sinks there are, and what the jobs are whose lines they get."""

    @property
    def changes(self) -> Watch[int]:
        """Moves when there may be other sinks."""
        ...

    async def sinks(self) -> list[Sink]: ...

    async def describe(self, app: AppID, job: JobID) -> JobFacts:
        """Return what is known of a job, also of one that was deleted with its app."""
        ...


@dataclass(slots=True)
class _Running:
    """A sender at work."""

    sink: Sink
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


class _Sinks:
    def __init__(
        self, logs: Logs, source: SinkSource, clock: Clock, nursery: trio.Nursery, run_blocking: RunBlocking
    ) -> None:
        self._logs = logs
        self._source = source
        self._clock = clock
        self._nursery = nursery
        self._run_blocking = run_blocking
        self._running: dict[SinkID, _Running] = {}

    async def run(self) -> None:
        """Have a sender at work for every sink, until cancelled."""
        known: set[SinkID] | None = None
        while True:
            seen = self._source.changes.version
            try:
                wanted = {sink.id: sink for sink in await self._source.sinks()}
            except FlynnError as exc:
                logger.warning("log sinks not read, trying again", extra={"reason": exc.message})
                await trio.sleep(RETRY_S)
                continue
            for running in list(self._running.values()):
                if wanted.get(running.sink.id) != running.sink:
                    await self._stop(running)
            for sink in wanted.values():
                if sink.id not in self._running:
                    self._start(sink)
            if known != set(wanted):
                known = set(wanted)
                await self._run_blocking(partial(_remove_strangers, self._directory, known))
            await self._source.changes.moved_past(seen)
            await trio.sleep(SETTLE_S)

    def _start(self, sink: Sink) -> None:
        running = self._running[sink.id] = _Running(sink)
        self._nursery.start_soon(self._serve, running)

    async def _stop(self, running: _Running) -> None:
        running.scope.cancel()
        await running.ended.wait()
        del self._running[running.sink.id]
        logger.info("log sink stopped", extra={"sink": running.sink.id})

    async def _serve(self, running: _Running) -> None:
        sink = running.sink
        try:
            with running.scope:
                await self._send(sink)
        except ValidationError as exc:  # made by another version of ours
            logger.error("log sink not understood", extra={"sink": sink.id, "reason": exc.message})
        finally:
            running.ended.set()

    async def _send(self, sink: Sink) -> None:
        config = syslog_config(sink)
        path = self._directory / f"{sink.id}.json"
        known = await self._run_blocking(partial(cursor.load, path, str(sink.created_at)))
        opened = self._logs.firehose(
            known, describe=self._describe, encode=SyslogEncoder(config).encode, run_blocking=self._run_blocking
        )
        async with opened as firehose:
            outlet = SyslogOutlet(config)
            sender = Sender(sink.id, outlet, firehose, path, clock=self._clock, run_blocking=self._run_blocking)
            try:
                await sender.run()
            finally:
                with trio.move_on_after(FINISH_S, shield=True):
                    await sender.save()

    async def _describe(self, origin: Origin) -> JobFacts:
        return await self._source.describe(origin.app, origin.job)

    @property
    def _directory(self) -> Path:
        return self._logs.directory / CURSORS


def _remove_strangers(directory: Path, known: set[SinkID]) -> None:
    """Delete the cursors of sinks that are no more. Blocks."""
    for path in directory.glob("*.json"):
        if path.stem not in known:
            cursor.remove(path)


@asynccontextmanager
async def open_sinks(
    logs: Logs, source: SinkSource, clock: Clock, *, run_blocking: RunBlocking | None = None
) -> AsyncIterator[None]:
    """Send every sink the lines of all apps while the block runs.

    Args:
        run_blocking: how to read files; by default in one thread for all sinks, which rests as long as it works, so
            that a flood of output does not slow down those who serve requests.
    """
    async with trio.open_nursery() as nursery:
        sinks = _Sinks(logs, source, clock, nursery, run_blocking or _resting(in_threads(1)))
        nursery.start_soon(sinks.run)
        yield
        nursery.cancel_scope.cancel()


def _resting(run: RunBlocking) -> RunBlocking:
    """Return a way to run blocking functions one by one, each after a rest as long as the one before took."""
    turn = trio.Lock()
    rested_at = 0.0

    async def run_in_turn(blocking: Callable[[], T], /) -> T:
        nonlocal rested_at
        async with turn:
            await trio.sleep_until(rested_at)
            began = trio.current_time()
            try:
                return await run(blocking)
            finally:
                ended = trio.current_time()
                rested_at = ended + (ended - began) * PAUSE

    return run_in_turn
