from datetime import timedelta

import pytest

from flynn_aio.model import Failure, JobID, JobState, ProcessType, ReleaseID, Serving, Strategy
from flynn_aio.scheduler.deployments import Progress, Surroundings, goal_of, proceed
from flynn_aio.scheduler.step import Blame, DropFormation, FinishDeployment, NoteStep, SetFormation

from .builders import APP, EARLIER, NOW, formation, job, moving, observed, release

OLD, NEW, UP, STARTING = ReleaseID("old"), ReleaseID("new"), JobState.UP, JobState.STARTING
RELEASES = {NEW: release("new")}


def app(*formations, jobs=()) -> Surroundings:
    grouped = {}
    for one in jobs:
        grouped.setdefault((one.release, one.type), []).append(one)
    return Surroundings({one.release.id: one for one in formations}, grouped)


def go(deployment, surroundings, *, now=NOW, **more) -> Progress:
    return proceed(deployment, surroundings, observed(**({"releases": RELEASES} | more)), now)


def finished(progress: Progress) -> FinishDeployment:
    assert isinstance(progress.writes[-1], FinishDeployment)
    return progress.writes[-1]


def error_of(progress: Progress) -> str:
    failure = finished(progress).failure
    assert failure
    return failure.error


TWO_OLD = [job("o1", UP), job("o2", UP)]
TWO_NEW = [job("n1", UP, of="new"), job("n2", UP, of="new")]


def test_it_begins_by_wanting_the_new_release_as_well():
    assert go(moving(), app(formation(web=2), jobs=TWO_OLD)) == Progress(
        (SetFormation(APP.id, NEW, {"web": 2}, {}), NoteStep(APP.id, "deployment", "up web=2"))
    )


def test_it_waits_until_the_new_jobs_are_up_but_not_for_ever():
    surroundings = app(
        formation(web=2), formation("new", web=2), jobs=[*TWO_OLD, TWO_NEW[0], job("n2", STARTING, of="new")]
    )
    assert go(moving(step="up web=2"), surroundings) == Progress(wake_at=EARLIER + timedelta(seconds=120))


def test_when_they_are_up_the_old_ones_go_and_it_is_complete():
    surroundings = app(formation(web=2), formation("new", web=2), jobs=[*TWO_OLD, *TWO_NEW])
    assert go(moving(step="up web=2"), surroundings).writes == (
        SetFormation(APP.id, OLD, {"web": 0}, {}),
        FinishDeployment(APP.id, "deployment"),
    )


def test_an_old_job_that_is_slow_to_stop_holds_up_no_all_at_once_deployment():
    slow = job("o3", JobState.STOPPING)
    surroundings = app(formation(web=2), formation("new", web=2), jobs=[*TWO_OLD, slow, *TWO_NEW])
    assert finished(go(moving(step="up web=2"), surroundings)).failure is None


def test_a_step_down_waits_for_the_old_jobs_to_be_down():
    deployment = moving(step="down web=1", strategy=Strategy.ONE_BY_ONE)
    formations = formation(web=1), formation("new", web=1)
    stopping = job("o2", JobState.STOPPING)
    waiting = go(deployment, app(*formations, jobs=[TWO_OLD[0], stopping, TWO_NEW[0]]))
    assert waiting == Progress(wake_at=EARLIER + timedelta(seconds=120))
    onward = go(deployment, app(*formations, jobs=[TWO_OLD[0], TWO_NEW[0]]))
    assert onward.writes[-1] == NoteStep(APP.id, "deployment", "up web=2")


def test_five_jobs_may_fail_in_a_step_and_the_sixth_ends_it():
    surroundings = app(formation(web=2), formation("new", web=2), jobs=TWO_OLD)
    failures = [job(f"f{n}", JobState.DOWN, of="new") for n in range(6)]
    assert go(moving(step="up web=2", failures=failures[:5]), surroundings).writes == ()
    failed = go(moving(step="up web=2", failures=failures), surroundings)
    assert failed.writes == (
        SetFormation(APP.id, OLD, {"web": 2}, {}),
        DropFormation(APP.id, NEW),
        FinishDeployment(
            APP.id,
            "deployment",
            Failure(
                error="web job failed to start: got down job event",
                serving=Serving(release=OLD, processes={"web": 2}),
            ),
            Blame(job=JobID("f5")),
        ),
    )


def test_the_reason_of_the_host_is_quoted_to_the_letter():
    text = 'exec: "this-is-gonna-fail": executable file not found in $PATH'
    failures = [job(f"f{n}", JobState.DOWN, of="new", host_error=text) for n in range(6)]
    failed = go(moving(step="up web=2", failures=failures), app(formation(web=2), formation("new", web=2)))
    assert error_of(failed) == f"web job failed to start: {text}"


LATE = NOW + timedelta(seconds=61)


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (job("n2", STARTING, of="new"), "connection refused on ip:8080"),
        (job("n3", STARTING, of="new"), "its container is being started"),
        (job("n3", JobState.PENDING, of="new"), "has not been started yet"),
        (
            job("n3", JobState.BLOCKED, of="new"),
            "blocked, because no host has the tags its formation asks for",
        ),
        (
            job("n3", JobState.PENDING, of="new", run_at=LATE, restarts=7),
            "waits until 2026-11-23T12:01:01.5Z, since it went down 7 times",
        ),
    ],
)
def test_out_of_time_it_says_what_was_missing_and_whom_to_look_into(late, said):
    surroundings = app(formation(web=2), formation("new", web=2), jobs=[*TWO_OLD, TWO_NEW[0], late])
    waiting = {JobID("n2"): "connection refused on ip:8080"}
    failed = go(moving(step="up web=2"), surroundings, now=LATE, waiting=waiting)
    end = finished(failed)
    assert end.blame == Blame(job=late.uuid, doing=said, waited_s=120)
    assert error_of(failed) == "web job failed to start: 1 of 2 up after 120 s"
    assert failed.writes[:2] == (SetFormation(APP.id, OLD, {"web": 2}, {}), DropFormation(APP.id, NEW))


def test_a_job_that_does_not_stop_in_time_fails_a_step_down():
    deployment = moving(step="down web=1", strategy=Strategy.ONE_BY_ONE)
    jobs = [TWO_OLD[0], job("o2", JobState.STOPPING), TWO_NEW[0]]
    failed = go(deployment, app(formation(web=1), formation("new", web=1), jobs=jobs), now=LATE)
    assert error_of(failed) == "web job failed to stop: 2 there instead of 1 after 120 s"
    assert finished(failed).blame == Blame(job=JobID("o2"), draining=True, doing="is still stopping", waited_s=120)


def test_out_of_time_jobs_that_kept_ending_are_to_blame_and_not_the_one_that_has_just_begun():
    surroundings = app(formation(web=2), formation("new", web=1), jobs=[*TWO_OLD, job("n3", STARTING, of="new")])
    ended = [job(f"f{n}", JobState.DOWN, of="new") for n in range(3)]
    other = job("other", JobState.DOWN, "worker", of="new")
    failed = go(moving(step="up web=1", failures=[*ended, other], processes={"web": 1}), surroundings, now=LATE)
    assert finished(failed).blame == Blame(job=JobID("f2"), waited_s=120, ends=3)


def test_time_without_an_engine_does_not_count():
    surroundings = app(formation(web=2), formation("new", web=2), jobs=TWO_OLD)
    assert go(moving(step="up web=2"), surroundings, now=LATE, steady_since=NOW) == Progress(
        wake_at=NOW + timedelta(seconds=120)
    )


def test_a_new_release_that_was_deleted_meanwhile_is_given_up():
    failed = go(moving(step="up web=2"), app(formation(web=2), jobs=TWO_OLD), releases={})
    assert "release new was deleted" in error_of(failed)


def test_no_service_here_can_say_how_far_its_own_deployment_is():
    releases = {NEW: release("new", {"web": ProcessType(service="hello-web")})}
    failed = go(moving(strategy=Strategy.DISCOVERD_META), app(formation(web=2), jobs=TWO_OLD), releases=releases)
    assert len(failed.writes) == 1  # nothing had moved, and nothing does
    error = error_of(failed)
    assert error.startswith("cannot deploy with the strategy discoverd-meta: it waits for what the service hello-web")
    assert error.endswith("use one-by-one or one-down-one-up")


def test_types_without_a_service_have_nothing_to_say_and_go_one_by_one():
    progress = go(moving(strategy=Strategy.DISCOVERD_META), app(formation(web=2), jobs=TWO_OLD))
    assert progress.writes[-1] == NoteStep(APP.id, "deployment", "up web=1")


def test_new_types_and_idle_ones_are_not_started():
    deployment = moving(processes={"web": 1, "idle": 0, "gone": 2}).deployment
    assert goal_of(deployment, release("new")) == {"web": 1, "gone": 0}


def test_when_no_type_is_left_to_deploy_the_old_release_just_goes():
    progress = go(moving(processes={"gone": 2}), app(formation(gone=2)))
    assert progress.writes == (SetFormation(APP.id, OLD, {"gone": 0}, {}), FinishDeployment(APP.id, "deployment"))
