"""Machine: what a crash of ours leaves behind, and who on it is ill."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Network
from math import inf
from pathlib import Path
from random import Random

import trio

from flynn_aio.engine import Behaviour, FakeEngine, JobSpec, JobStatus, Process, RunState, open_fake_engine
from flynn_aio.errors import EngineError, StartError
from flynn_aio.model import HealthCheck, Time

from ..support.clock import TrioClock
from .history import History

START_S = 0.3
"""How long the engine takes to start a job."""
STUBBORN, SLOW_TO_LEAVE = 0.03, 0.1
"""How many of the jobs ignore SIGTERM, and how many take their time after it."""


class JumpingClock(TrioClock):
    """Wall time that follows Trio's clock, unless somebody sets it."""

    def __init__(self) -> None:
        super().__init__()
        self._offset = timedelta(0)
        self.set_at = -inf
        """When it was set last, on Trio's clock."""

    def jump(self, by: timedelta) -> None:
        self._offset += by
        self.set_at = trio.current_time()

    def now(self) -> Time:
        return Time.of(super().now() + self._offset)


class Machine:
    """The database file, the engine, the clock, and what is wrong with them right now.

    Attributes:
        silent: jobs and releases that run and do not answer.
        crashing: releases whose jobs end soon after their start.
        unstartable: releases that cannot be started.
        failing_starts: how many starts from now fail, each once.
        slow_s: the longest a call to the engine, or a probe, takes.
        slow_disk_s: the longest a statement of the store waits for its thread.
        most_pages: how large the database may become; ``None``: as large as it likes.
    """

    def __init__(self, path: Path, engine: FakeEngine, clock: JumpingClock, dice: Random, history: History) -> None:
        self.path = path
        self.engine = engine
        self.clock = clock
        self.dice = dice
        self.history = history
        self.silent: set[str] = set()
        self.crashing: set[str] = set()
        self.unstartable: set[str] = set()
        self.failing_starts = 0
        self.most_pages: int | None = None
        self.slow_s = self.slow_disk_s = 0.01
        engine.script(Behaviour(program=self._live, start_s=START_S))

    def running(self) -> list[JobStatus]:
        """Return the jobs that really run, whether or not the engine would say so now."""
        return [status for status in self.engine.listed if status.state is RunState.RUNNING]

    def delay(self) -> float:
        return self.dice.uniform(0, self.slow_s)

    async def run_blocking(self, blocking):
        """Run a statement of the store here, after a pause as long as a thread might take."""
        await trio.lowlevel.checkpoint()
        if self.dice.random() < 0.3:
            with trio.CancelScope(shield=True):  # a thread that began runs to its end
                await trio.sleep(self.dice.uniform(0, self.slow_disk_s))
        return blocking()

    async def probe(self, check: HealthCheck, addr: str) -> str:
        """Do what a health check does: ask whoever has the address now."""
        await trio.sleep(self.delay())
        address = addr.rpartition(":")[0]
        for status in self.running():
            if status.address == address and not {status.id, status.release} & self.silent:
                return ""
        return f"connection refused on {addr}"

    def refuse(self, name: str, spec: JobSpec | None) -> None:
        """Let a start fail when it is to."""
        if spec is None:
            return
        if self.failing_starts:
            self.failing_starts -= 1
            raise EngineError(f"cannot start job {spec.id}: it did not work out this time")
        if spec.release in self.unstartable:
            raise StartError('exec: "serve": executable file not found in $PATH')

    async def _live(self, process: Process) -> int:
        """Be a job: its nature is in its id."""
        spec, nature = process.spec, Random(process.spec.id)
        if not spec.formation:
            await trio.sleep(nature.uniform(0.1, 30))
            return nature.choice((0, 0, 1, 130))
        if spec.release in self.crashing:
            await trio.sleep(nature.uniform(0.05, 4))
            return 1
        kind = nature.random()
        if kind < STUBBORN:
            process.trap(signal.SIGTERM)
        elif kind < STUBBORN + SLOW_TO_LEAVE:
            process.trap(signal.SIGTERM)
            await process.next_signal()
            await trio.sleep(nature.uniform(0, 35))
            return 0
        await trio.sleep_forever()
        raise AssertionError("unreachable")


@asynccontextmanager
async def open_machine(path: Path, dice: Random, history: History, *, subnet: str) -> AsyncIterator[Machine]:
    """Have a machine while the block runs; nothing of ours runs on it yet."""
    clock = JumpingClock()
    async with open_fake_engine(clock=clock, subnet=IPv4Network(subnet)) as engine:
        yield Machine(path, engine, clock, dice, history)
