"""Pace: whether the wall clock goes as fast as time does. Pure.

A clock is set forward or back by a person or at a late NTP answer, and stands still with a machine that
sleeps. No deployment is to blame for the hours in between.
"""

from datetime import timedelta

from ..model import Time

TOLERANCE = timedelta(seconds=1)
"""NTP's own corrections stay far below this from one look to the next."""


class Pace:
    """The distance between the wall clock and the one that never goes back."""

    def __init__(self) -> None:
        self._last: tuple[Time, float] | None = None

    def moved(self, now: Time, ticks: float) -> timedelta:
        """Return how far somebody moved the wall clock since the last look; zero when it was left alone.

        Args:
            ticks: seconds of a clock that never goes back.
        """
        last, self._last = self._last, (now, ticks)
        if last is None:
            return timedelta(0)
        by = (now - last[0]) - timedelta(seconds=ticks - last[1])
        return by if abs(by) > TOLERANCE else timedelta(0)
