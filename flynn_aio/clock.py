"""Wall time and ids: the two things a deterministic program must be given.

Pure cores take both as arguments; shells get a `Clock`. A test supplies its own.
"""

import uuid
from datetime import timedelta
from typing import Protocol

from .model import Time


class Clock(Protocol):
    def now(self) -> Time:
        """Return the wall time in UTC."""
        ...

    def new_id(self) -> str:
        """Return a lower-case, hyphenated UUIDv4."""
        ...

    def seconds_until(self, moment: Time | None, *, at_most: float) -> float:
        """Return how long to wait for `moment`, in 0…`at_most` seconds; `at_most` for ``None``."""
        ...


class SystemClock:
    """The machine's own clock and randomness."""

    def now(self) -> Time:
        return Time.utcnow()

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def seconds_until(self, moment: Time | None, *, at_most: float) -> float:
        if moment is None:
            return at_most
        return min(max((moment - self.now()) / timedelta(seconds=1), 0.0), at_most)
