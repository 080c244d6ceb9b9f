"""How the work of a plan grows with the jobs, counted in calls: a clock would measure the machine."""

import sys

import pytest

from flynn_aio.scheduler.plan import plan

from .builders import NOW, address_of, desired, formation, moving, new_ids, observed, release, serving, status


def calls_of(work) -> int:
    """Return how many functions are called while `work` runs."""
    count = 0

    def note(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def world_of(jobs: int, **more):
    """Return rows and containers of so many jobs that are as they should be."""
    names = [f"job-{number}" for number in range(jobs)]
    rows = [serving(name, of="old") for name in names]
    seen = observed(*(status(name, address=address_of(name)) for name in names), releases={"new": release("new")})
    return desired(*rows, formations=[formation("old", web=jobs)], **more), seen


def plan_calls(wanted, seen) -> int:
    ids = new_ids()
    return calls_of(lambda: plan(wanted, seen, NOW, lambda: next(ids)))


@pytest.mark.parametrize("deployments", [(), (moving(),)], ids=["calm", "deploying"])
def test_twice_the_jobs_are_twice_the_work(deployments):
    half, whole = (plan_calls(*world_of(jobs, deployments=deployments)) for jobs in (250, 500))
    assert half > 250
    assert whole < 2.1 * half


def test_twice_the_missing_jobs_are_twice_the_work():
    half, whole = (plan_calls(desired(formations=[formation("old", web=jobs)]), observed()) for jobs in (250, 500))
    assert half > 250
    assert whole < 2.1 * half


def test_a_calm_job_costs_a_bounded_number_of_calls():
    assert plan_calls(*world_of(500)) < 500 * 60
