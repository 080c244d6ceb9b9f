"""Queries: which lines somebody wants, and the last N of them. Pure.

Filter first, then keep the last N. Source: `logs.md` §4.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from ..model import JobID
from .line import Origin
from .record import Line

Dated = tuple[str, Origin, Line]
DEFAULT_STREAMS = frozenset({"stdout", "stderr"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which lines of an app are wanted.

    Attributes:
        lines: at most so many of the newest. ``None`` and 0 mean all when reading, and none
            from before when following.
        job: only this job.
        process_type: only this type; empty means one-off jobs, ``None`` all.
        streams: some of `stdout`, `stderr` and `init`.
    """

    lines: int | None = None
    job: JobID | None = None
    process_type: str | None = None
    streams: frozenset[str] = DEFAULT_STREAMS

    def wants(self, origin: Origin) -> bool:
        """Whether lines of `origin` may be among those wanted."""
        return (
            (self.job is None or origin.job == self.job)
            and (self.process_type is None or origin.type == self.process_type)
            and bool(self.streams & ({"init"} if origin.is_init else DEFAULT_STREAMS))
        )


class Newest:
    """The newest lines of several origins, gathered one origin after the other.

    Args:
        wanted: how many to keep.
        max_bytes: how much text to keep at most, so that very long lines do not fill the memory.
    """

    def __init__(self, *, wanted: int, max_bytes: int) -> None:
        self._wanted = wanted
        self._max_bytes = max_bytes
        self._runs: list[list[Dated]] = []
        self._times: list[str] = []  # a heap: the `wanted` newest

    def add(self, origin: Origin, lines: Sequence[Line]) -> None:
        """Take over an origin's newest lines, in its own order, which is kept."""
        run = _dated(origin, lines)
        for time, _, _ in run:
            if len(self._times) < self._wanted:
                heapq.heappush(self._times, time)
            elif self._times:
                heapq.heappushpop(self._times, time)
        self._runs.append(run)

    @property
    def threshold(self) -> str:
        """What is older is not among the newest; empty as long as there is room."""
        return self._times[0] if self._times and len(self._times) >= self._wanted else ""

    def result(self) -> list[tuple[Line, Origin]]:
        """Return the newest of all, oldest first."""
        merged = _merged(self._runs)[-self._wanted :] if self._wanted else []
        first, room = len(merged), self._max_bytes
        while first > 0 and room >= len(merged[first - 1][0].text):
            first -= 1
            room -= len(merged[first][0].text)
        return merged[first:]


def in_order(batches: Iterable[tuple[Origin, Sequence[Line]]]) -> list[tuple[Line, Origin]]:
    """Return lines of several origins by time, each origin's own order kept."""
    return _merged([_dated(origin, lines) for origin, lines in batches])


def _dated(origin: Origin, lines: Sequence[Line]) -> list[Dated]:
    """Return lines with times that never go back: a clock set back must not mix up one job's lines."""
    latest = ""
    run = []
    for line in lines:
        latest = max(latest, line.time)
        run.append((latest, origin, line))
    return run


def _merged(runs: Iterable[list[Dated]]) -> list[tuple[Line, Origin]]:
    return [(line, origin) for _, origin, line in heapq.merge(*runs, key=itemgetter(0))]
