"""Registry: from placed jobs and probe results to a snapshot."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flynn_aio.discoverd import Snapshot
from flynn_aio.discoverd.registry import SERVING, Endpoint, Registry
from flynn_aio.model import (
    AppID,
    HealthCheck,
    Instance,
    Job,
    JobID,
    JobState,
    PlacedJob,
    Port,
    PortService,
    ReleaseID,
    Time,
    instance_id,
)

T0 = Time.parse("2026-11-23T04:00:00Z")
CHECK = HealthCheck(type="tcp")
WEB = PortService(name="hello-web", create=True, check=CHECK)


def placed(number: int, *, state=JobState.UP, address="", ports=(WEB,), started_s=None, app="app-id") -> PlacedJob:
    """Return job `number`, at 100.100.0.<number>, whose ports count up from 8080."""
    job = Job(uuid=JobID(f"job-{number}"), app=AppID(app), release=ReleaseID("rel"), type="web", state=state)
    numbered = [Port(port=8080 + index, proto="tcp", service=service) for index, service in enumerate(ports)]
    return PlacedJob(
        job=job,
        app_name="hello",
        address=f"100.100.0.{number}" if address == "" else address.strip("-"),
        started_at=Time.of(T0 + timedelta(seconds=number if started_s is None else started_s)),
        ports=numbered,
        formation=True,
    )


def addrs(snapshot: Snapshot, service: str = "hello-web") -> list[tuple[int, str]]:
    return [(instance.index, instance.addr) for instance in snapshot.instances[service]]


def test_a_checked_endpoint_is_registered_once_it_answers():
    registry = Registry()
    turnover = registry.follow([placed(1, state=JobState.STARTING)])
    (endpoint,) = turnover.begun
    assert endpoint.check is CHECK
    assert registry.snapshot() == Snapshot(
        instances={"hello-web": ()}, waiting={JobID("job-1"): "100.100.0.1:8080 not probed yet"}
    )

    registry.is_silent(endpoint, "connection refused on 100.100.0.1:8080, 1 probe in 0.0 s")
    assert registry.snapshot().waiting == {JobID("job-1"): "connection refused on 100.100.0.1:8080, 1 probe in 0.0 s"}

    registry.answers(endpoint)
    snapshot = registry.snapshot()
    assert snapshot.up == {"job-1"}
    assert snapshot.waiting == {}
    assert snapshot.instances["hello-web"] == (
        Instance(
            id=instance_id("tcp", "100.100.0.1:8080"),
            addr="100.100.0.1:8080",
            proto="tcp",
            index=1,
            meta={
                "FLYNN_APP_ID": "app-id",
                "FLYNN_APP_NAME": "hello",
                "FLYNN_RELEASE_ID": "rel",
                "FLYNN_PROCESS_TYPE": "web",
                "FLYNN_JOB_ID": "job-1",
            },
        ),
    )


def test_an_endpoint_without_a_check_is_registered_at_once():
    registry = Registry()
    registry.follow([placed(1, ports=[PortService(name="plain", create=True)])])
    snapshot = registry.snapshot()
    assert addrs(snapshot, "plain") == [(1, "100.100.0.1:8080")]
    assert snapshot.up == {"job-1"}


def test_a_job_without_services_is_up_as_soon_as_it_has_an_address():
    registry = Registry()
    registry.follow([placed(1, ports=[]), placed(2, ports=[None]), placed(3, ports=[], address="-")])
    assert registry.snapshot().up == {"job-1", "job-2"}


def test_a_job_is_up_only_when_all_its_ports_are():
    registry = Registry()
    admin = PortService(name="admin", create=True, check=CHECK)
    web, other = registry.follow([placed(1, ports=[WEB, admin])]).begun
    registry.answers(web)
    snapshot = registry.snapshot()
    assert addrs(snapshot) == [(1, "100.100.0.1:8080")]
    assert snapshot.up == frozenset()
    assert snapshot.waiting == {JobID("job-1"): "100.100.0.1:8081 not probed yet"}
    registry.answers(other)
    assert registry.snapshot().up == {"job-1"}


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.BLOCKED, JobState.STOPPING])
def test_only_starting_and_up_jobs_are_followed(state):
    registry = Registry()
    assert registry.follow([placed(1, state=state)]).begun == ()
    assert registry.snapshot() == Snapshot()


def test_a_stopping_job_is_out_at_once_and_its_service_stays():
    registry = Registry()
    registry.answers(registry.follow([placed(1)]).begun[0])
    registry.snapshot()
    turnover = registry.follow([placed(1, state=JobState.STOPPING)])
    assert [key.addr for key in turnover.ended] == ["100.100.0.1:8080"]
    assert registry.snapshot() == Snapshot(instances={"hello-web": ()})


def test_results_of_a_job_that_left_change_nothing():
    registry = Registry()
    (endpoint,) = registry.follow([placed(1)]).begun
    registry.follow([])
    registry.answers(endpoint)
    registry.is_silent(endpoint, "refused")
    registry.give_up(endpoint, "refused")
    assert registry.snapshot() == Snapshot(instances={"hello-web": ()})


def test_indexes_only_grow_and_the_oldest_leads():
    registry = Registry()
    first, second = registry.follow([placed(1), placed(2)]).begun
    registry.answers(second)
    registry.snapshot()
    registry.answers(first)
    snapshot = registry.snapshot()
    assert addrs(snapshot) == [(1, "100.100.0.2:8080"), (2, "100.100.0.1:8080")]
    assert snapshot.leader("hello-web").index == 1

    registry.is_silent(second, "refused")
    assert registry.snapshot().leader("hello-web").index == 2
    registry.answers(second)
    snapshot = registry.snapshot()
    assert addrs(snapshot) == [(2, "100.100.0.1:8080"), (3, "100.100.0.2:8080")]
    assert snapshot.leader("nobody") is None


def test_those_that_answer_before_the_same_snapshot_are_registered_oldest_first():
    registry = Registry()
    young, old = registry.follow([placed(1, started_s=100), placed(2, started_s=50)]).begun
    registry.answers(young)
    registry.answers(old)
    assert addrs(registry.snapshot()) == [(1, "100.100.0.2:8080"), (2, "100.100.0.1:8080")]


def test_answering_again_keeps_the_index():
    registry = Registry()
    (endpoint,) = registry.follow([placed(1)]).begun
    registry.answers(endpoint)
    before = registry.snapshot()
    assert registry.follow([placed(1)]).begun == ()
    registry.answers(endpoint)
    assert registry.snapshot() == before


def test_a_new_address_is_a_new_endpoint():
    registry = Registry()
    registry.answers(registry.follow([placed(1)]).begun[0])
    registry.snapshot()
    turnover = registry.follow([placed(1, address="100.100.0.77")])
    assert [key.addr for key in turnover.ended] == ["100.100.0.1:8080"]
    assert [endpoint.key.addr for endpoint in turnover.begun] == ["100.100.0.77:8080"]
    assert addrs(registry.snapshot()) == []


def test_a_job_given_up_is_dead_until_it_is_gone():
    registry = Registry()
    (endpoint,) = registry.follow([placed(1)]).begun
    registry.answers(endpoint)
    registry.snapshot()
    registry.give_up(endpoint, "no answer from 100.100.0.1:8080, 2 probes in 4.0 s")
    registry.follow([placed(1)])
    snapshot = registry.snapshot()
    assert snapshot.dead == {JobID("job-1"): "no answer from 100.100.0.1:8080, 2 probes in 4.0 s"}
    assert (snapshot.up, snapshot.waiting, addrs(snapshot)) == (frozenset(), {}, [])
    registry.follow([placed(1, state=JobState.STOPPING)])
    assert registry.snapshot().dead == {}


def test_without_create_a_service_is_waited_for():
    registry = Registry()
    registry.follow([placed(1, ports=[PortService(name="shared")])])
    snapshot = registry.snapshot()
    assert snapshot.instances == {}
    assert snapshot.waiting == {
        JobID("job-1"): "service shared of 100.100.0.1:8080 does not exist: set `create` on one of its ports"
    }
    maker = PortService(name="shared", create=True)
    registry.follow([placed(1, ports=[PortService(name="shared")]), placed(2, ports=[maker])])
    assert addrs(registry.snapshot(), "shared") == [(1, "100.100.0.1:8080"), (2, "100.100.0.2:8080")]


APPS = ("one", "two", "three")
SHARED = PortService(name="shared", check=CHECK)
SHARED_MADE = PortService(name="shared", create=True)
JOBS = st.builds(
    placed,
    st.integers(1, 4),
    state=st.sampled_from([JobState.STARTING, JobState.UP, JobState.STOPPING]),
    address=st.sampled_from(["", "", "-", "100.100.0.77"]),
    ports=st.sampled_from([(), (WEB,), (WEB, SHARED), (SHARED_MADE,), (None,)]),
    started_s=st.integers(0, 2),
)
LOOKS = st.tuples(st.sampled_from(APPS), st.lists(JOBS, max_size=3, unique_by=lambda one: one.job.uuid))
PROBES = st.tuples(st.sampled_from(["answers", "is_silent", "give_up"]), st.integers(0, 9))


def of(app: str, one: PlacedJob) -> PlacedJob:
    """Return a job as one of an app's own."""
    return replace(one, job=replace(one.job, uuid=JobID(f"{app}-{one.job.uuid}"), app=AppID(app)))


@settings(max_examples=200, deadline=None)
@given(st.lists(LOOKS | PROBES, max_size=12))
def test_following_the_apps_that_changed_comes_to_the_same_as_following_all(moves):
    """One follows app by app; the other is told all jobs each time, and makes each snapshot anew."""
    ours, whole = Registry(), Registry()
    jobs: dict[str, list[PlacedJob]] = {}
    begun: list[Endpoint] = []
    for what, which in moves:
        if isinstance(which, list):
            jobs[what] = [of(what, one) for one in which]
            turnover = ours.follow(jobs[what], [AppID(what)])
            other = whole.follow([one for app in jobs.values() for one in app])
            assert ({*turnover.ended}, {each.key for each in turnover.begun}) == (
                {*other.ended},
                {each.key for each in other.begun},
            )
            begun += turnover.begun
        elif begun:
            endpoint = begun[which % len(begun)]
            for registry in (ours, whole):
                getattr(registry, what)(endpoint, *([] if what == "answers" else ["refused"]))
        snapshot = ours.snapshot()
        assert snapshot == whole.snapshot()
        followed = {one.job.uuid for app in jobs.values() for one in app if one.job.state in SERVING and one.address}
        assert snapshot.up | snapshot.waiting.keys() | snapshot.dead.keys() == followed
        assert not snapshot.up & (snapshot.waiting.keys() | snapshot.dead.keys())
