"""Whether the wall clock goes as fast as time does."""

from datetime import timedelta

import pytest

from flynn_aio.model import Time
from flynn_aio.scheduler.pace import Pace

NOON = Time.parse("2026-01-01T12:00:00Z")


@pytest.mark.parametrize(
    ("later", "ticks", "moved"),
    [(30, 30, 0), (30.2, 30, 0), (29.5, 30, 0), (3630, 30, 3600), (-3570, 30, -3600), (3600, 3600, 0)],
)
def test_only_what_time_does_not_explain_counts(later, ticks, moved):
    pace = Pace()
    assert pace.moved(NOON, 1000.0) == timedelta(0)
    later_on = NOON + timedelta(seconds=later)
    assert pace.moved(later_on, 1000.0 + ticks) == timedelta(seconds=moved)
    assert pace.moved(later_on, 1000.0 + ticks) == timedelta(0)
