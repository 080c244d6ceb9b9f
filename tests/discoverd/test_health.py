"""Sequences of probe results and the verdicts they give."""

import math

import pytest

from flynn_aio.discoverd.health import (
    FIRST_INTERVALS_S,
    INTERVAL_S,
    SHORTEST_INTERVAL_S,
    START_INTERVAL_S,
    Health,
    Verdict,
)
from flynn_aio.model import HealthCheck

UP, DOWN, KILL = Verdict.UP, Verdict.DOWN, Verdict.KILL
SECOND_NS = 1_000_000_000


def verdicts(check: HealthCheck, results: str) -> list[Verdict | None]:
    """Feed a text of `+` and `-`, one probe a second from 0 on."""
    health = Health(check, now=0.0)
    return [health.probed("" if result == "+" else "refused", now=float(at)) for at, result in enumerate(results)]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("+", [UP]),
        ("---+", [None, None, None, UP]),
        ("++++", [UP, None, None, None]),
        ("+-", [UP, None]),
        ("+--", [UP, None, DOWN]),
        ("+-+-", [UP, None, None, None]),
        ("+----", [UP, None, DOWN, None, None]),
        ("+--+", [UP, None, DOWN, None]),
        ("+--++", [UP, None, DOWN, None, UP]),
        ("+--+-++", [UP, None, DOWN, None, None, None, UP]),
        ("+--++--", [UP, None, DOWN, None, UP, None, DOWN]),
    ],
)
def test_the_first_success_counts_alone_and_then_it_takes_two_in_a_row(results, expected):
    assert verdicts(HealthCheck(), results) == expected


def test_the_threshold_is_a_setting():
    assert verdicts(HealthCheck(threshold=3), "+--+---+++") == [UP, None, None, None, None, None, DOWN, None, None, UP]
    assert verdicts(HealthCheck(threshold=1), "+-+-") == [UP, DOWN, UP, DOWN]


def test_without_kill_down_nothing_is_ever_killed():
    assert verdicts(HealthCheck(), "-" * 1000) == [None] * 1000
    assert Health(HealthCheck(), now=5.0).deadline == math.inf


def test_kill_down_kills_what_is_not_up_within_the_start_timeout():
    check = HealthCheck(kill_down=True, start_timeout=2 * SECOND_NS)
    assert verdicts(check, "---") == [None, None, KILL]
    assert Health(check, now=5.0).deadline == 7.0
    assert Health(HealthCheck(kill_down=True), now=5.0).deadline == 15.0


def test_kill_down_kills_what_was_up_and_is_no_longer():
    assert verdicts(HealthCheck(kill_down=True), "+--") == [UP, None, KILL]


def test_probes_come_quickly_until_the_first_success():
    health, pauses = Health(HealthCheck(), now=0.0), []
    for _ in range(7):
        health.probed("refused", now=0.0)
        pauses.append(health.interval_s)
    assert pauses == [*FIRST_INTERVALS_S, START_INTERVAL_S, START_INTERVAL_S, START_INTERVAL_S]
    health.probed("", now=0.1)
    assert health.interval_s == INTERVAL_S
    assert health.deadline == math.inf
    for at in (2.0, 4.0):
        health.probed("refused", now=at)
    assert not health.is_up
    assert health.interval_s == INTERVAL_S


def test_the_interval_once_settled_is_a_setting():
    health = Health(HealthCheck(interval=SECOND_NS // 2), now=0.0)
    health.probed("", now=0.0)
    assert health.interval_s == 0.5


def test_the_report_counts_probes_since_the_last_good_one():
    health = Health(HealthCheck(), now=10.0)
    assert health.report(now=10.0) == "not probed yet"
    health.probed("connection refused on 100.100.0.5:8080", now=10.0)
    assert health.report(now=10.0) == "connection refused on 100.100.0.5:8080, 1 probe in 0.0 s"
    for step in range(30):
        health.probed("connection refused on 100.100.0.5:8080", now=10.1 + step / 10)
    assert health.report(now=13.1) == "connection refused on 100.100.0.5:8080, 31 probes in 3.1 s"
    health.probed("", now=14.0)
    health.probed("no answer", now=16.0)
    health.probed("no answer", now=18.0)
    assert health.report(now=18.0) == "no answer, 2 probes in 4.0 s"
    health.probed("", now=20.0)
    assert health.report(now=20.0) == "answers again, 3 probes in 6.0 s"


@pytest.mark.parametrize("interval", [-SECOND_NS, 1])
def test_probes_never_come_without_a_pause(interval):
    health = Health(HealthCheck(interval=interval), now=0.0)
    health.probed("", now=0.0)
    assert health.interval_s == SHORTEST_INTERVAL_S


def test_those_that_came_up_together_do_not_stay_together():
    health = Health(HealthCheck(), now=0.0, phase=0.75)
    health.probed("", now=0.0)
    assert health.interval_s == INTERVAL_S / 4
    health.probed("", now=0.5)
    assert health.interval_s == INTERVAL_S
