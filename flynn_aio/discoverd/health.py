"""Health: when a row of probe results becomes a verdict. Pure: time comes in as an argument.

The first success counts alone, since whoever waits for a deploy should not wait for a second
opinion. Afterwards it takes `threshold` results in a row to turn, so that one lost packet
takes no backend away.

Source: `discovery.md` §4; Flynn `discoverd/health/monitor.go`, `registration.go`.
"""

import math
from enum import Enum, auto

from ..model import HealthCheck

START_INTERVAL_S = 0.1
FIRST_INTERVALS_S = (0.01, 0.02, 0.04, 0.08)
"""The pauses behind the first probes of all: most of what listens does so within milliseconds."""
INTERVAL_S = 2.0
SHORTEST_INTERVAL_S = 0.01
"""Whatever a release asks for: without pauses the probes of one job would take a whole core."""
THRESHOLD = 2
START_TIMEOUT_S = 10.0
NS_PER_S = 1_000_000_000


class Verdict(Enum):
    """What a probe changed."""

    UP = auto()
    """Register the instance."""
    DOWN = auto()
    """Take it out again; probing goes on."""
    KILL = auto()
    """Take it out, and have its job killed; probing is over."""


class Health:
    """One endpoint on its way from unknown to up, and between up and down.

    Feed it each probe's result; it answers with what that changes, or ``None``. Times are
    seconds of a clock that never goes back.

    Args:
        phase: 0 to 1, another one for each endpoint: those that came up together, as all do when we start, are
            not probed together for ever.
    """

    __slots__ = ("_began_at", "_check", "_is_up", "_last_error", "_phase", "_probes", "_streak", "_was_up")

    def __init__(self, check: HealthCheck, *, now: float, phase: float = 0.0) -> None:
        self._check = check
        self._phase = phase  # of what is left of the first pause; 0 behind it
        self._began_at = now
        self._was_up = False
        self._is_up = False
        self._streak = 0  # results in a row that contradict the present state
        self._probes = 0  # since it last was well, or since the beginning
        self._last_error = ""

    @property
    def is_up(self) -> bool:
        return self._is_up

    @property
    def interval_s(self) -> float:
        """From the beginning of one probe to that of the next."""
        if not self._was_up:
            return (
                FIRST_INTERVALS_S[self._probes - 1] if 0 < self._probes <= len(FIRST_INTERVALS_S) else START_INTERVAL_S
            )
        interval_s = max(self._check.interval / NS_PER_S or INTERVAL_S, SHORTEST_INTERVAL_S)
        return max(interval_s * (1 - self._phase), SHORTEST_INTERVAL_S)

    @property
    def deadline(self) -> float:
        """The moment at which waiting for a first success ends with a kill; infinite when it never does."""
        if self._was_up or not self._check.kill_down:
            return math.inf
        return self._began_at + (self._check.start_timeout / NS_PER_S or START_TIMEOUT_S)

    def probed(self, error: str, *, now: float) -> Verdict | None:
        """Take in one result: an empty `error` is a success."""
        self._probes += 1
        self._last_error = error
        if self._was_up:
            self._phase = 0.0
        self._streak = self._streak + 1 if bool(error) == self._is_up else 0
        if not error and (self._is_up or not self._was_up):
            return self._well(now)
        if not self._was_up:
            return Verdict.KILL if now >= self.deadline else None
        if self._streak < (self._check.threshold or THRESHOLD):
            return None
        if not self._is_up:
            return self._well(now)
        self._is_up, self._streak = False, 0
        return Verdict.KILL if self._check.kill_down else Verdict.DOWN

    def report(self, *, now: float) -> str:
        """Say how it went so far: ``connection refused on 100.100.0.5:8080, 31 probes in 3.1 s``."""
        if not self._probes:
            return "not probed yet"
        probes = "1 probe" if self._probes == 1 else f"{self._probes} probes"
        return f"{self._last_error or 'answers again'}, {probes} in {now - self._began_at:.1f} s"

    def _well(self, now: float) -> Verdict | None:
        """Count from here again; a verdict only when it was not up before."""
        was_up, self._was_up, self._is_up = self._is_up, True, True
        self._streak, self._probes, self._began_at = 0, 0, now
        return None if was_up else Verdict.UP
