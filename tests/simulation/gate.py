"""Gate: where every commit and every call to the engine passes.

It can make them slow, refuse them, and let the control plane end at any of their moments, as a kill -9 does:
from then on nothing passes, whatever is still being cleaned up.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from flynn_aio.engine import FakeEngine, JobSpec, JobStatus
from flynn_aio.errors import EngineError, StartError
from flynn_aio.model import JobID, VolumeID
from flynn_aio.store import Transaction
from flynn_aio.watch import Bell

T = TypeVar("T")

Point = tuple[str, str]
"""What is done, such as ``commit`` or ``start``, and the moment: ``before``, ``inside`` or ``after``."""


class Gate:
    """One life of the control plane, from boot to kill.

    Attributes:
        scope: everything it does is in there.
        passed: the points that were passed, in order.
        last: the number of the point to end at; ``None`` to go on.
        in_flight: the calls to the engine that have begun and not ended.
    """

    def __init__(self, *, last: int | None = None) -> None:
        self.scope = trio.CancelScope()
        self.passed: list[Point] = []
        self.last = last
        self.in_flight: list[str] = []
        self.is_dead = False
        self.delay: Callable[[], float] = lambda: 0.0
        self.refuse: Callable[[str, JobSpec | None], None] = lambda name, spec: None
        self.committed: Callable[[], None] = lambda: None
        self.calling: Callable[[str, object], None] = lambda name, subject: None

    def kill(self) -> None:
        """End this life here and now."""
        self.is_dead = True
        self.scope.cancel()

    async def commit(self, transact: Callable[[Callable[[Transaction], T]], Awaitable[T]], change) -> T:
        """Let a change of the store pass."""
        await self._reach("commit", "before")
        result = await transact(change)
        if not self.is_dead:
            self.committed()
        await self._reach("commit", "after")
        return result

    async def call(self, name: str, subject: object, call: Callable[[], Awaitable[T]]) -> T:
        """Let a call to the engine pass."""
        await self._reach(name, "before")
        self.in_flight.append(name)
        try:
            await trio.sleep(self.delay())
            self.refuse(name, subject if isinstance(subject, JobSpec) else None)
            self.calling(name, subject)
            result = await call()
        finally:
            self.in_flight.remove(name)
        await self._reach(name, "after")
        return result

    async def reach_inside(self, name: str, half: Callable[[], Awaitable[None]]) -> None:
        """Pass the middle of a call; if it is where we end, `half` of the call is done."""
        if len(self.passed) == self.last:
            await half()
        await self._reach(name, "inside")

    async def _reach(self, name: str, moment: str) -> None:
        if self.is_dead:
            await trio.sleep_forever()  # cleaning up after a kill: nothing of it happens
        number = len(self.passed)
        self.passed.append((name, moment))
        if number == self.last:
            self.kill()
            await trio.sleep_forever()


class GatedEngine:
    """The engine as the control plane has it: every call goes through a gate."""

    def __init__(self, engine: FakeEngine, gate: Gate) -> None:
        self._engine = engine
        self._gate = gate

    @property
    def bell(self) -> Bell:
        return self._engine.bell

    @property
    def well_since(self) -> float:
        return self._engine.well_since

    async def jobs(self) -> list[JobStatus]:
        return await self._gate.call("list", None, self._engine.jobs)

    async def listening(self, job: JobID) -> tuple[str, ...] | None:
        return await self._gate.call("listening", job, lambda: self._engine.listening(job))

    async def start(self, spec: JobSpec) -> JobStatus:
        async def half() -> None:
            if spec.formation:  # what is left of others Podman's driver clears away by itself
                self._engine.leave_half_made(spec)

        async def start() -> JobStatus:
            await self._gate.reach_inside("start", half)
            return await self._engine.start(spec)

        return await self._gate.call("start", spec, start)

    async def stop(self, job: JobID, *, kill_s: float) -> None:
        async def half() -> None:
            with trio.move_on_after(kill_s / 2):
                await self._engine.stop(job, kill_s=kill_s)

        async def stop() -> None:
            await self._gate.reach_inside("stop", half)
            await self._engine.stop(job, kill_s=kill_s)

        await self._gate.call("stop" if kill_s else "kill", job, stop)

    async def remove(self, job: JobID) -> None:
        await self._gate.call("remove", job, lambda: self._engine.remove(job))

    async def volumes(self) -> frozenset[VolumeID]:
        return await self._gate.call("volumes", None, self._engine.volumes)

    async def create_volume(self, volume: VolumeID) -> None:
        await self._gate.call("create_volume", volume, lambda: self._engine.create_volume(volume))

    async def remove_volume(self, volume: VolumeID) -> None:
        await self._gate.call("remove_volume", volume, lambda: self._engine.remove_volume(volume))


def refusal(text: str, *, for_good: bool) -> EngineError | StartError:
    """Return what a start fails with: for good, or so that it is tried again."""
    return StartError(text) if for_good else EngineError(text)
