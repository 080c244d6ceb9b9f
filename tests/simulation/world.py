"""World: a machine, the control plane that runs on it or not, and who looks on."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import inf
from random import Random

import trio
from sqlite_utils import Database

from flynn_aio.errors import EngineError, FlynnError, Unavailable

from .control_plane import ControlPlane, open_control_plane
from .gate import Gate
from .history import History, Violation
from .invariants import Invariants
from .machine import Machine
from .promises import Promises

Request = Callable[[ControlPlane], Awaitable[str]]
"""What an operation asks of the control plane; it returns what came of it, for the history."""


class World:
    """Everything a step may look at and change.

    Attributes:
        plane: what serves now; ``None`` between a kill and the end of the next boot.
        downtime_s: how long after a kill the next boot begins.
        requests_in_flight: operations that are neither acknowledged nor refused.

    Args:
        last: the point at which the first life ends.
    """

    def __init__(self, machine: Machine, dice: Random, history: History, *, last: int | None = None) -> None:
        self.machine = machine
        self.dice = dice
        self.history = history
        self.promises = Promises()
        self.invariants = Invariants(machine, self.promises, history)
        self.plane: ControlPlane | None = None
        self.gate = Gate()
        self.booted = trio.Event()
        self.downtime_s = 0.0
        self.requests_in_flight = 0
        self._hindrances = 0
        self._last = last

    @property
    def db(self) -> Database:
        """The rows as they are now."""
        return self.invariants.db

    # -- the control plane ---------------------------------------------------------------------

    async def keep_up(self) -> None:
        """Do systemd's part: start the control plane, and again when it has ended.

        Raises:
            Violation: it ended by itself. Only a boot may that finds no engine, or a database locked or without room.
        """
        while True:
            self.gate = gate = self._new_gate()
            try:
                with gate.scope:
                    async with open_control_plane(self.machine, gate) as self.plane:
                        self.history.note("boot")
                        self._note_hindrance()
                        self.invariants.committed()  # what was written in the moment of the kill
                        self.promises.check(self.db)
                        self.booted.set()
                        await trio.sleep_forever()
            except* (EngineError, Unavailable) as group:
                if self.booted.is_set():
                    raise
                self.history.note(f"no boot: {group.exceptions[0]}")
                self.downtime_s = 1.0
            if not gate.is_dead and self.booted.is_set():
                raise Violation("the control plane ended by itself")
            self.plane, self.booted = None, trio.Event()
            await trio.sleep(self.downtime_s)

    def _new_gate(self) -> Gate:
        gate = Gate(last=self._last)
        self._last = None
        gate.delay = self.machine.delay
        gate.refuse = self.machine.refuse
        gate.committed = self.invariants.committed
        gate.calling = lambda name, subject: self.invariants.calling(name, subject, self.plane)
        return gate

    def ask(self, what: str, request: Request) -> None:
        """Let somebody ask something of the control plane, and go on without waiting for the answer."""
        if self.plane is None or self.gate.is_dead:
            self.history.note(f"{what}: nobody is there")
            return
        self.requests_in_flight += 1
        self.plane.requests.start_soon(self._serve, self.plane, what, request)

    async def _serve(self, plane: ControlPlane, what: str, request: Request) -> None:
        answer = "cut off"
        try:
            answer = await request(plane)
        except FlynnError as exc:
            answer = f"refused: {exc.message}"
        finally:
            self.requests_in_flight -= 1
            self.history.note(f"{what}: {answer}")

    # -- faults --------------------------------------------------------------------------------

    @contextmanager
    def hindered(self) -> Iterator[None]:
        """While the block runs, nobody can be expected to notice anything in time."""
        self._hindrances += 1
        self._note_hindrance()
        try:
            yield
        finally:
            self._hindrances -= 1
            self._note_hindrance()

    def _note_hindrance(self) -> None:
        self.invariants.unhindered_since = inf if self._hindrances else trio.current_time()


class Errors(logging.Handler):
    """Turns what is logged as a bug of ours into a violation."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(f"{record.getMessage()} {record.exc_info[1] if record.exc_info else ''}")

    def check(self) -> None:
        if self.found:
            raise Violation(f"an error was logged: {self.found[0]}")
