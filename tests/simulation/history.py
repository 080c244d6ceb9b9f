"""History: what was done, and what became of it, line by line."""

import hashlib
from collections import Counter, deque
from pathlib import Path

import trio

TAIL_LINES = 120
"""How many of the last lines explain a violation."""


class Violation(AssertionError):
    """Something happened that must never happen."""


class History:
    """The lines of one run. Of a long one only the end is kept, and a digest of all.

    Args:
        place: the directory of the run, which is another one each time, and so no part of the history.

    Attributes:
        counts: how often each kind of thing was noted: the first word of its line.
    """

    def __init__(self, place: Path) -> None:
        self._place = f"{place}/"
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._digest = hashlib.sha256()
        self.counts: Counter[str] = Counter()

    def note(self, what: str) -> None:
        line = f"{trio.current_time():11.3f}  {what.replace(self._place, '')}"
        self._tail.append(line)
        self._digest.update(line.encode())
        self.counts[what.partition(" ")[0]] += 1

    @property
    def digest(self) -> str:
        """The same for the same history."""
        return self._digest.hexdigest()[:16]

    @property
    def tail(self) -> str:
        return "\n".join(self._tail)


def short(uuid: str | None) -> str:
    """Return what tells an id from the others of a run."""
    return uuid[-6:].lstrip("0") if uuid else "-"
