from datetime import timedelta

import pytest

from flynn_aio.model import AppID, Job, JobID, JobState, ReleaseID, Time
from flynn_aio.scheduler.restarts import STABLE_AFTER, replacement, restart_delay

NOW = Time.parse("2026-11-23T12:00:00.5Z")
A_MOMENT = timedelta(seconds=3)


@pytest.mark.parametrize(
    ("restarts", "seconds"), [(0, 0), (1, 0), (4, 0), (5, 10), (14, 10), (15, 30), (16, 30), (1000, 30)]
)
def test_the_pause_grows_in_steps(restarts, seconds):
    assert restart_delay(restarts, A_MOMENT) == timedelta(seconds=seconds)


def test_a_job_that_ran_for_long_starts_with_a_clean_slate():
    assert restart_delay(100, STABLE_AFTER) == timedelta(seconds=30)
    assert restart_delay(100, STABLE_AFTER + timedelta(microseconds=1)) == timedelta(0)


def ended(restarts):
    return Job(
        uuid=JobID("old"),
        id="host0-old",
        app=AppID("app"),
        release=ReleaseID("release"),
        type="web",
        state=JobState.DOWN,
        args=["serve"],
        exit_status=1,
        restarts=restarts,
    )


def test_the_replacement_is_a_new_job_in_the_same_place():
    assert replacement(ended(None), JobID("new"), ran_for=A_MOMENT, now=NOW) == Job(
        uuid=JobID("new"),
        app=AppID("app"),
        release=ReleaseID("release"),
        type="web",
        state=JobState.PENDING,
        args=["serve"],
        restarts=1,
        created_at=NOW,
    )


def test_the_replacement_of_one_that_keeps_crashing_says_when_it_will_run():
    job = replacement(ended(5), JobID("new"), ran_for=A_MOMENT, now=NOW)
    assert (job.restarts, job.run_at) == (6, NOW + timedelta(seconds=10))


def test_the_count_of_restarts_begins_again_after_a_long_run():
    job = replacement(ended(20), JobID("new"), ran_for=timedelta(hours=1), now=NOW)
    assert (job.restarts, job.run_at) == (1, None)
