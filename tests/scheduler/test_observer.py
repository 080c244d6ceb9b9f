from datetime import timedelta
from signal import SIGKILL, SIGTERM

import pytest
from msgspec.structs import replace

from flynn_aio.engine import OOM_TEXT, RunState
from flynn_aio.model import JobID, JobState
from flynn_aio.scheduler.observer import (
    EXIT_LOST,
    GONE,
    Sighting,
    exit_status,
    observe,
    record,
)
from flynn_aio.scheduler.step import Doing, PutJob

from .builders import EARLIER, NOW, address_of, exited, job, observed, placed, serving, status

PENDING, STARTING, UP, STOPPING, DOWN = (
    JobState.PENDING,
    JobState.STARTING,
    JobState.UP,
    JobState.STOPPING,
    JobState.DOWN,
)
MINUTE = timedelta(minutes=1)


def seen(placed_job, *statuses, **more) -> Sighting:
    return observe(placed_job, observed(*statuses, **more), NOW)


def said(sighting: Sighting) -> list[JobState]:
    return [write.job.state for write in sighting.writes]


# Running


def test_a_job_that_is_as_its_row_says_needs_no_word():
    one = serving("a")
    assert seen(one, status("a"), up=frozenset({JobID("a")})) == Sighting(one.job, ran_for=MINUTE)


def test_a_container_that_runs_gives_its_row_an_address():
    one = job("a", STARTING)
    assert seen(placed(one), status("a")).writes == (PutJob(one, address=address_of("a"), started_at=EARLIER),)


def test_a_job_is_up_when_it_serves():
    one = serving("a", state=STARTING)
    assert said(seen(one, status("a"))) == []
    assert said(seen(one, status("a"), up=frozenset({JobID("a")}))) == [UP]


def test_a_job_that_no_longer_answers_is_still_up():
    assert said(seen(serving("a"), status("a"))) == []


def test_a_job_given_up_by_its_health_check_is_to_stop_and_counts_as_crashed():
    sighting = seen(serving("a"), status("a"), dead={JobID("a"): "no answer"})
    assert (said(sighting), sighting.crashed) == ([STOPPING], True)


def test_a_job_that_is_stopping_is_left_to_it():
    assert said(seen(serving("a", state=STOPPING), status("a"), dead={JobID("a"): "no answer"})) == []


# Ended


@pytest.mark.parametrize("state", [STARTING, UP])
def test_an_exit_nobody_asked_for_is_a_crash(state):
    sighting = seen(serving("a", state=state), exited("a", 7))
    assert (said(sighting), sighting.job.exit_status, sighting.crashed) == ([DOWN], 7, True)
    assert sighting.ran_for == MINUTE


def test_an_exit_that_was_asked_for_is_none():
    sighting = seen(serving("a", state=STOPPING), exited("a", 128 + SIGTERM))
    assert (said(sighting), sighting.job.exit_status, sighting.crashed) == ([DOWN], 0, False)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"code": 0}, None),
        ({"code": 1}, None),
        ({"code": 128 + SIGKILL, "oom": True}, OOM_TEXT),
        ({"code": 0, "oom": True}, None),  # a child was killed, the job went on and ended well
        ({"code": -1}, EXIT_LOST),
        ({"code": 127, "error": "no such user"}, "no such user"),
    ],
)
def test_why_it_ended_is_kept(more, error):
    assert seen(serving("a"), exited("a", more.pop("code"), **more)).job.host_error == error


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (0, 0),
        (1, 1),
        (42, 42),
        (128, 128),
        (128 + SIGTERM, 0),
        (128 + SIGKILL, 0),
        (255, 255),
        (-1, None),
        (None, None),
    ],
)
def test_a_signal_counts_as_exit_status_0(code, shown):
    assert exit_status(code) == shown


# Missing


def test_a_container_that_was_seen_and_is_missing_is_gone_without_a_crash():
    sighting = seen(serving("a"))
    assert (said(sighting), sighting.job.host_error, sighting.crashed) == ([DOWN], GONE, False)


def test_a_stopping_job_that_is_missing_is_down():
    sighting = seen(serving("a", state=STOPPING))
    assert (said(sighting), sighting.job.host_error, sighting.crashed) == ([DOWN], None, False)


@pytest.mark.parametrize("state", [PENDING, JobState.BLOCKED, STARTING])
def test_a_job_whose_container_was_never_seen_is_not_gone(state):
    assert said(seen(placed(job("a", state)))) == []


@pytest.mark.parametrize("state", [STARTING, UP, STOPPING])
def test_a_job_in_flight_is_not_gone(state):
    assert said(seen(serving("a", state=state), doing={JobID("a"): Doing.STOPPING})) == []


def test_a_one_off_job_whose_container_was_removed_is_just_down():
    one = replace(serving("a", kind=""), formation=False)
    assert (said(seen(one)), seen(one).job.host_error) == ([DOWN], None)


# In the middle of a start


@pytest.mark.parametrize("half", [exited("a", 127), status("a", RunState.CREATED)])
def test_what_a_start_looks_like_before_it_is_through_is_not_believed(half):
    one = placed(job("a", STARTING))
    assert seen(one, half, doing={JobID("a"): Doing.STARTING}) == Sighting(one.job)


def test_a_start_that_failed_for_good_is_down_with_the_reason():
    sighting = seen(placed(job("a", STARTING)), failed={JobID("a"): "no such command"})
    assert (said(sighting), sighting.job.host_error, sighting.crashed) == ([DOWN], "no such command", True)
    assert not seen(placed(job("a", STOPPING)), failed={JobID("a"): "no such command"}).crashed


# Jobs of others


def test_a_one_off_job_is_recorded_as_it_runs():
    running = status("a", kind="", formation=False, meta={"foo": "baz"}, args=("date",))
    up = replace(job("a", UP, "", created_at=None), args=["date"], meta={"foo": "baz"})
    assert record(running) == (PutJob(up, formation=False, address=address_of("a"), started_at=EARLIER),)


def test_a_one_off_job_that_has_ended_already_is_recorded_as_up_and_down():
    ended = exited("a", 3, kind="slugbuilder", formation=False)
    assert [(write.job.state, write.job.exit_status) for write in record(ended)] == [(UP, None), (DOWN, 3)]


def test_a_job_that_does_not_run_yet_is_not_recorded():
    assert record(status("a", RunState.CREATED, formation=False)) == ()
