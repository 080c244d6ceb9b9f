"""History: what the probes of one endpoint came to, and where its job listened meanwhile. Pure.

It explains to a person why a job never served, long after it is gone, so it must be small: equal
results in a row are one entry, and only the latest are kept.
"""

from collections import deque

from msgspec.structs import replace

from ..model import Evidence, Probes, Time

RUNS = 10
"""Runs of equal results that are kept: the latest."""

FIRST_LOOK_S = 1.0
"""So long after the beginning it is first looked where a silent job listens; then each time that span has doubled."""


class History:
    """What one endpoint went through. Each `now` is in seconds of a clock that never goes back."""

    __slots__ = ("_began_at", "_look_at", "_opened", "_runs")

    def __init__(self, *, now: float) -> None:
        self._runs: deque[Probes] = deque(maxlen=RUNS)
        self._began_at = now
        self._look_at = now + FIRST_LOOK_S
        self._opened: tuple[str, ...] | None = None

    def probed(self, error: str, at: Time) -> None:
        """Take in a result: an empty `error` is a success."""
        last = self._runs[-1] if self._runs else None
        if last and last.error == error:
            self._runs[-1] = replace(last, count=last.count + 1)
        else:
            self._runs.append(Probes(at=at, error=error))

    def wants_look(self, now: float) -> bool:
        """Tell whether it is time to look where the job listens."""
        return now >= self._look_at

    def looked(self, opened: tuple[str, ...] | None, now: float) -> None:
        """Take in where the job listens, ``ip:port``; ``None``: nobody could tell."""
        self._opened = opened
        self._look_at = now + (now - self._began_at)

    def evidence(self) -> Evidence:
        """Return all of it."""
        opened = None if self._opened is None else list(self._opened)
        return Evidence(opened=opened, probes=list(self._runs))
