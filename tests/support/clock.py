"""A clock a test can read the future from."""

import uuid
from datetime import timedelta

import trio

from flynn_aio.model import Time

START = Time.parse("2026-11-23T04:00:00Z")


class TrioClock:
    """Wall time that follows Trio's clock, so `autojump_clock` moves it too; ids count up from 1.

    Attributes:
        ahead: how far somebody has set it forward.
    """

    def __init__(self, start: Time = START) -> None:
        self._start = start
        self._began = trio.current_time()
        self._ids = 0
        self.ahead = timedelta(0)

    def now(self) -> Time:
        return Time.of(self._start + timedelta(seconds=trio.current_time() - self._began) + self.ahead)

    def new_id(self) -> str:
        self._ids += 1
        return str(uuid.UUID(int=self._ids, version=4))

    def seconds_until(self, moment: Time | None, *, at_most: float) -> float:
        if moment is None:
            return at_most
        return min(max((moment - self.now()) / timedelta(seconds=1), 0.0), at_most)
