"""The plan: single decisions, each a few rows and what follows from them."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from flynn_aio.engine import JobStatus, RunState
from flynn_aio.model import JobID, JobState, PlacedJob
from flynn_aio.scheduler.plan import plan
from flynn_aio.scheduler.step import (
    CompleteScale,
    Doing,
    PutJob,
    RemoveJob,
    StartJob,
    Step,
    StopJob,
)
from flynn_aio.store import Desired

from .builders import (
    APP,
    NOW,
    address_of,
    desired,
    exited,
    formation,
    job,
    new_ids,
    observed,
    placed,
    serving,
    status,
)

PENDING, BLOCKED, STARTING, UP, STOPPING, DOWN = (
    JobState.PENDING,
    JobState.BLOCKED,
    JobState.STARTING,
    JobState.UP,
    JobState.STOPPING,
    JobState.DOWN,
)
SSD = {"web": {"disk": "ssd"}}
LATER = NOW + timedelta(seconds=10)


def step_of(wanted: Desired, *statuses: JobStatus, **more) -> Step:
    ids = new_ids()
    return plan(wanted, observed(*statuses, **more), NOW, lambda: next(ids))


def said(step: Step) -> list[tuple[str, JobState]]:
    """Return what becomes of which job."""
    return [(write.job.uuid, write.job.state) for write in step.writes if isinstance(write, PutJob)]


# Counts


def test_what_is_missing_becomes_a_row_before_anything_is_started():
    step = step_of(desired(formations=[formation(web=2)]))
    assert said(step) == [("new-1", PENDING), ("new-2", PENDING)]
    assert step.actions == ()


def test_a_pending_row_is_started():
    wanted = formation(web=1)
    step = step_of(desired(placed(job("a", PENDING)), formations=[wanted]))
    assert step == Step(actions=(StartJob(JobID("a"), "web", wanted),))


def test_a_row_in_back_off_is_started_when_its_time_has_come():
    def later(at):
        return step_of(desired(placed(job("a", PENDING, run_at=at)), formations=[formation(web=1)]))

    assert later(LATER) == Step(wake_at=LATER)
    assert [action.job for action in later(NOW).actions] == ["a"]


def test_a_start_in_flight_is_not_repeated_and_one_that_was_cut_off_is():
    wanted = desired(placed(job("a", STARTING)), formations=[formation(web=1)])
    assert step_of(wanted, doing={JobID("a"): Doing.STARTING}) == Step()
    assert [type(action) for action in step_of(wanted).actions] == [StartJob]


def test_a_half_made_container_is_removed_so_that_its_start_can_be_repeated():
    wanted = desired(placed(job("a", STARTING)), formations=[formation(web=1)])
    half = status("a", RunState.CREATED)
    assert step_of(wanted, half).actions == (RemoveJob(JobID("a")),)
    assert step_of(wanted, half, doing={JobID("a"): Doing.STARTING}).actions == ()


@pytest.mark.parametrize(
    ("count", "ended"),
    [
        (5, []),
        (4, [("p2", DOWN)]),
        (3, [("p1", DOWN), ("p2", DOWN)]),
        (2, [("s1", STOPPING), ("p1", DOWN), ("p2", DOWN)]),
        (1, [("u2", STOPPING), ("s1", STOPPING), ("p1", DOWN), ("p2", DOWN)]),
        (0, [("u1", STOPPING), ("u2", STOPPING), ("s1", STOPPING), ("p1", DOWN), ("p2", DOWN)]),
    ],
)
def test_too_many_jobs_end_in_order_pending_then_starting_then_up_the_newest_first(count, ended):
    rows = [
        serving("u1"),
        placed(job("s1", STARTING)),
        serving("u2"),
        placed(job("p1", PENDING)),
        placed(job("p2", PENDING)),
    ]
    step = step_of(desired(*rows, formations=[formation(web=count)]), status("u1"), status("u2"))
    assert sorted(said(step)) == sorted(ended)


def test_of_the_jobs_that_are_up_those_that_answer_stay():
    rows = [serving("a"), serving("b"), serving("c")]
    alive = {"up": frozenset({JobID("b")})}
    step = step_of(desired(*rows, formations=[formation(web=1)]), *map(status, "abc"), **alive)
    assert said(step) == [("a", STOPPING), ("c", STOPPING)]


def test_a_stopping_job_does_not_count_and_is_stopped():
    wanted = desired(serving("a", state=STOPPING), formations=[formation(web=1)])
    step = step_of(wanted, status("a"))
    assert said(step) == [("new-1", PENDING)]
    assert step.actions == (StopJob(JobID("a")),)
    assert step_of(wanted, status("a"), doing={JobID("a"): Doing.STOPPING}).actions == ()


def test_stopping_reaches_a_job_whose_start_is_in_flight():
    wanted = desired(placed(job("a", STOPPING)))
    assert step_of(wanted, doing={JobID("a"): Doing.STARTING}).actions == (StopJob(JobID("a")),)


def test_the_jobs_of_a_formation_nobody_wants_are_stopped():
    assert said(step_of(desired(serving("a")), status("a"))) == [("a", STOPPING)]


# Ends


def test_the_end_of_a_job_and_the_row_of_its_replacement_are_written_together():
    one = serving("a", restarts=4)
    step = step_of(desired(one, formations=[formation(web=1)]), exited("a"))
    assert said(step) == [("a", DOWN), ("new-1", PENDING)]
    new = step.writes[1].job
    assert (new.restarts, new.run_at) == (5, None)


def test_a_replacement_that_must_wait_says_so():
    one = serving("a", restarts=5)
    new = step_of(desired(one, formations=[formation(web=1)]), exited("a")).writes[1].job
    assert (new.restarts, new.run_at) == (6, NOW + timedelta(seconds=10))


def test_an_ended_job_whose_count_is_no_longer_wanted_is_not_replaced():
    assert said(step_of(desired(serving("a"), formations=[formation(web=0)]), exited("a"))) == [("a", DOWN)]


def test_a_killed_job_is_replaced_by_a_first_one():
    stopping = serving("a", state=STOPPING, restarts=9)
    new = step_of(desired(stopping, formations=[formation(web=1)]), status("a")).writes[0].job
    assert (new.restarts, new.run_at) == (None, None)


def test_a_job_given_up_by_its_health_check_is_stopped_without_patience():
    wanted = desired(serving("a", state=STOPPING), formations=[formation(web=0)])
    assert step_of(wanted, status("a"), dead={JobID("a"): "no answer"}).actions == (StopJob(JobID("a"), patient=False),)


def test_the_container_of_an_ended_job_is_removed_once_its_row_says_so():
    assert step_of(desired(), exited("a"), told=frozenset({JobID("a")})) == Step(actions=(RemoveJob(JobID("a")),))


# Strays


def test_a_running_job_without_a_row_is_adopted_when_one_is_missing():
    step = step_of(desired(formations=[formation(web=1)]), status("a"), status("b"))
    assert said(step) == [("a", STARTING)]
    assert step.writes[0].address == address_of("a")
    assert step.actions == (StopJob(JobID("b")),)


def test_a_running_job_whose_row_is_down_is_stopped_not_adopted():
    step = step_of(desired(formations=[formation(web=1)]), status("a"), told=frozenset({JobID("a")}))
    assert (said(step), step.actions) == ([("new-1", PENDING)], (StopJob(JobID("a")),))


def test_a_one_off_job_is_recorded_and_then_left_alone():
    one = status("a", kind="", formation=False)
    assert said(step_of(desired(), one)) == [("a", UP)]
    row = serving("a", kind="")
    assert step_of(desired(with_row(row, formation=False)), one) == Step()


def test_the_container_of_an_ended_one_off_job_lingers():
    ended = exited("a", 0, kind="", formation=False)
    assert step_of(desired(), ended, told=frozenset({JobID("a")})).actions == (RemoveJob(JobID("a"), linger=True),)


def with_row(one: PlacedJob, **more) -> PlacedJob:
    return replace(one, **more)


# Tags


def test_tags_no_host_has_stop_the_jobs_and_block_their_replacements():
    wanted = desired(serving("a"), placed(job("p", PENDING)), formations=[formation(web=2, tags=SSD)])
    assert said(step_of(wanted, status("a"))) == [("a", STOPPING), ("p", BLOCKED), ("new-1", BLOCKED)]


def test_a_blocked_job_waits_and_goes_on_when_the_tags_are_gone():
    row = placed(job("b", BLOCKED))
    assert step_of(desired(row, formations=[formation(web=1, tags=SSD)])) == Step()
    assert said(step_of(desired(row, formations=[formation(web=1)]))) == [("b", PENDING)]


# Scale requests


@pytest.mark.parametrize(
    ("rows", "complete"),
    [
        ([serving("a"), serving("b")], True),
        ([serving("a"), serving("b", state=STARTING)], False),
        ([serving("a"), serving("b"), serving("c", state=STOPPING)], False),
        ([serving("a")], False),
        ([serving("a"), serving("b"), serving("w", kind="worker", state=STOPPING)], False),
    ],
)
def test_a_request_is_complete_when_just_the_wanted_jobs_are_up(rows, complete):
    wanted = desired(*rows, formations=[formation(web=2, request="scale")])
    step = step_of(wanted, *(status(row.job.uuid, kind=row.job.type) for row in rows))
    assert (CompleteScale(APP.id, "scale") in step.writes) is complete


def test_the_request_comes_after_the_job_that_fulfils_it():
    row = serving("a", state=STARTING)
    step = step_of(desired(row, formations=[formation(web=1, request="scale")]), status("a"), up=frozenset({"a"}))
    assert said(step) == [("a", UP)]
    assert step.writes[-1] == CompleteScale(APP.id, "scale")


def test_five_hundred_jobs_that_are_as_they_should_be_need_nothing():
    rows = [serving(f"job-{number}") for number in range(500)]
    wanted = desired(*rows, formations=[formation(web=500)])
    containers = [status(row.job.uuid) for row in rows]
    assert step_of(wanted, *containers, up=frozenset(row.job.uuid for row in rows)) == Step()
