from datetime import timedelta

import pytest
from msgspec.structs import replace

from flynn_aio.model import AppID, Job, JobID, JobState, ReleaseID, Time
from flynn_aio.scheduler.restarts import (
    STABLE_AFTER,
    calm_at,
    calmed,
    how_it_ended,
    remark_on_calm,
    remark_on_end,
    replacement,
    restart_delay,
)

from .builders import placed

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
        failing_since=NOW,
        created_at=NOW,
    )


def test_the_replacement_of_one_that_keeps_crashing_says_when_it_will_run():
    job = replacement(ended(5), JobID("new"), ran_for=A_MOMENT, now=NOW)
    assert (job.restarts, job.run_at) == (6, NOW + timedelta(seconds=10))


def test_the_count_of_restarts_begins_again_after_a_long_run():
    job = replacement(ended(20), JobID("new"), ran_for=timedelta(hours=1), now=NOW)
    assert (job.restarts, job.run_at) == (1, None)


def in_a_row(ends: int, *, apart_s: float = 10.0) -> tuple[Job, Job, Time]:
    """Return the last job of so many that ended one after the other, the one that follows it, and when that is."""
    now, job = NOW, ended(None)
    for number in range(ends):
        now = Time.of(NOW + timedelta(seconds=number * apart_s))
        before = replace(job, uuid=JobID(f"job-{number + 1}"), exit_status=1)
        job = replacement(before, JobID("next"), ran_for=A_MOMENT, now=now, last_end=how_it_ended(before))
    return before, job, now


def test_the_third_end_in_a_row_is_flapping():
    assert [in_a_row(ends)[1].flapping for ends in (1, 2, 3, 4)] == [False, False, True, True]
    _, following, now = in_a_row(5)
    assert (following.failing_since, now - following.failing_since) == (NOW, timedelta(seconds=40))
    assert following.last_end == "ended with exit status 1"


def test_a_long_run_ends_the_row():
    _, job, _ = in_a_row(9)
    following = replacement(job, JobID("new"), ran_for=STABLE_AFTER * 2, now=NOW)
    assert (following.restarts, following.flapping, following.failing_since) == (1, False, NOW)


def test_it_is_told_when_it_begins_and_when_the_pauses_grow():
    told = {ends: remark.text for ends in range(1, 100) if (remark := remark_on_end(*in_a_row(ends)))}
    assert told == {
        3: "flapping: job host0-job-3 ended with exit status 1; 3 ends in a row within 20 s; next try at once",
        6: "flapping: job host0-job-6 ended with exit status 1; 6 ends in a row within 50 s; next try in 10 s",
        16: "flapping: job host0-job-16 ended with exit status 1; 16 ends in a row within 2 min; next try in 30 s",
    }


def test_who_runs_for_long_flaps_no_longer():
    _, following, _ = in_a_row(5)
    up = replace(following, state=JobState.UP)
    assert calmed(up, STABLE_AFTER - A_MOMENT) is None
    assert calm_at(placed(up, started_at=NOW)) == NOW + STABLE_AFTER
    assert calm_at(placed(following, started_at=NOW)) is None
    assert calmed(following, STABLE_AFTER * 2) is None
    calm = calmed(up, STABLE_AFTER * 2)
    assert calm == replace(up, flapping=False, failing_since=None)
    assert calmed(calm, STABLE_AFTER * 3) is None
    assert calm_at(placed(calm, started_at=NOW)) is None
    assert remark_on_calm(calm).text == "no longer flapping: job host0-next has run for 5 min"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"exit_status": 0}, "ended with exit status 0"),
        ({"exit_status": 0, "signal": "SIGSEGV"}, "was killed by SIGSEGV"),
        ({"exit_status": 0, "signal": "SIGKILL", "oom": True}, "ran out of memory"),
        ({"exit_status": 137, "oom": True}, "ran out of memory"),
        ({"exit_status": 0, "oom": True}, "ended with exit status 0"),
        ({"exit_status": None, "host_error": 'exec: "x": not found'}, 'failed: exec: "x": not found'),
        ({"exit_status": None}, "ended"),
    ],
)
def test_an_end_in_words(facts, said):
    assert how_it_ended(replace(ended(None), **facts)) == said
