"""What is said of each way to fail."""

from datetime import timedelta

import pytest

from flynn_aio.model import (
    Evidence,
    Failure,
    FailurePhase,
    HealthCheck,
    JobState,
    NextStep,
    Port,
    PortService,
    Probes,
    ProcessType,
    ResourceSpec,
    Serving,
)
from flynn_aio.scheduler.failure import LINE_CHARS, LOG_LINES, Findings, explain, spoken
from flynn_aio.scheduler.step import Blame
from flynn_aio.store import JobRecord

from .builders import EARLIER, NOW, job

MIB = 1024 * 1024
DOWN, STARTING = JobState.DOWN, JobState.STARTING
ERROR = "web job failed to start: got down job event"
SOON = EARLIER + timedelta(seconds=0.3)


def web(path="", memory=512 * MIB) -> ProcessType:
    check = HealthCheck(type="http" if path else "tcp", path=path)
    port = Port(port=8080, proto="tcp", service=PortService(name="hello-web", create=True, check=check))
    return ProcessType(ports=[port], resources={"memory": ResourceSpec(limit=memory)})


def why(state=DOWN, *, process=None, started=True, evidence=None, lines=(), blame=None, **ended) -> Failure:
    ended.setdefault("updated_at", SOON)
    record = JobRecord(
        job=job("n1", state, of="new", **ended),
        app_name="hello",
        process=process or web(),
        started_at=EARLIER if started else None,
        evidence=evidence,
    )
    found = Findings(record=record, evidence=evidence or Evidence(), lines=lines)
    return explain(Failure(error=ERROR), blame or Blame(job=record.job.uuid), found)


def late(doing="connection refused on ip:8080, 9 probes in 1.0 s", **more) -> Blame:
    return Blame(job="n1", doing=doing, waited_s=120, **more)


LOG = NextStep(purpose="see more", command="flynn -a hello log -j host0-n1")
RUN = NextStep(purpose="see how it is run", command="flynn -a hello release show --json new")
TIME = NextStep(purpose="allow more time", command="flynn -a hello deployment timeout 240")


def test_a_process_that_exits_is_told_with_its_status_and_its_last_lines():
    failure = why(exit_status=7, lines=["there is no table of users"])
    assert failure == Failure(
        error=ERROR,
        phase=FailurePhase.START,
        explanation=["its process ended with exit status 7, 0.3 s after its start"],
        job="host0-n1",
        job_type="web",
        exit_status=7,
        memory_limit=512 * MIB,
        port=8080,
        log=["there is no table of users"],
        try_next=[LOG],
    )


def test_one_that_exits_well_is_told_that_it_must_not():
    assert (
        why(exit_status=0).explanation[1] == "a process of a formation has to go on running, whatever its exit status"
    )


def test_a_signal_takes_the_place_of_the_exit_status():
    failure = why(exit_status=0, signal="SIGSEGV")
    assert failure.explanation == ["its process was killed by SIGSEGV, 0.3 s after its start"]
    assert (failure.signal, failure.exit_status) == ("SIGSEGV", None)


def test_out_of_memory_is_told_with_the_limit_and_how_to_raise_it():
    failure = why(exit_status=0, signal="SIGKILL", oom=True)
    assert failure.explanation == [
        "its process ran out of memory, 0.3 s after its start: it needs more than its limit of 512MB"
    ]
    assert (failure.oom, failure.memory_limit) == (True, 512 * MIB)
    more = NextStep(purpose="give it more memory", command="flynn -a hello limit set web memory=1GB")
    assert failure.try_next == [more, LOG]


def test_a_child_that_ran_out_of_memory_is_told_beside_the_exit_status():
    assert why(exit_status=0, oom=True).explanation == [
        "its process ended with exit status 0, 0.3 s after its start",
        "a process of a formation has to go on running, whatever its exit status",
        "a process of it was killed for lack of memory",
    ]


def test_a_missing_command_is_named():
    failure = why(started=False, host_error='exec: "this-is-gonna-fail": executable file not found in $PATH')
    assert failure.phase is FailurePhase.START
    assert failure.explanation == [
        "its command this-is-gonna-fail cannot be executed: executable file not found in $PATH"
    ]
    assert failure.try_next == [RUN]


def test_a_container_that_cannot_be_made_has_not_run():
    failure = why(started=False, host_error="unable to find user nobody2")
    assert failure.phase is FailurePhase.CREATE
    assert failure.explanation == ["its container could not be made: unable to find user nobody2"]
    assert failure.try_next == [RUN]


def test_a_job_that_was_never_placed_says_what_it_waits_for():
    failure = why(JobState.PENDING, started=False, blame=late("has not been started yet"))
    assert failure.phase is FailurePhase.CREATE
    assert failure.explanation == ["job host0-n1: has not been started yet"]
    assert failure.try_next == [RUN, TIME]


REFUSED = [Probes(at=EARLIER, error="connection refused on ip:8080", count=31)]


def test_a_health_check_that_gives_up_says_what_it_met():
    evidence = Evidence(given_up=True, opened=["127.0.0.1:8080"], probes=REFUSED)
    failure = why(evidence=evidence, exit_status=0, signal="SIGKILL")
    assert failure.phase is FailurePhase.HEALTH
    assert failure.explanation == [
        "its health check gave it up, and it was killed: connection refused on ip:8080",
        "listens on 127.0.0.1:8080 only: bind 0.0.0.0",
    ]
    assert (failure.port, failure.opened, failure.probes) == (8080, ["127.0.0.1:8080"], REFUSED)


@pytest.mark.parametrize(
    ("opened", "advice"),
    [
        (None, []),
        (["0.0.0.0:8080"], []),
        (["0.0.0.0:3000"], ["told PORT=8080, opened 3000: use the PORT variable"]),
        (["[::]:8080"], ["listens on port 8080 over IPv6 only: bind 0.0.0.0"]),
    ],
)
def test_out_of_time_the_port_is_looked_at(opened, advice):
    failure = why(STARTING, evidence=Evidence(opened=opened, probes=REFUSED), blame=late())
    assert failure.phase is FailurePhase.HEALTH
    assert failure.explanation == [
        "it runs, but has not become healthy within 120 s: connection refused on ip:8080",
        *advice,
    ]
    assert failure.try_next == [TIME, LOG]


def test_out_of_time_it_is_told_how_many_ended_meanwhile():
    failure = why(exit_status=1, blame=Blame(job="n1", waited_s=4, ends=3))
    assert failure.explanation == [
        "its process ended with exit status 1, 0.3 s after its start",
        "3 jobs of its type went down within the 4 s of the step",
    ]
    assert failure.phase is FailurePhase.START


def test_a_path_that_answers_something_else_is_told_with_what_is_asked_for():
    said = "HTTP status 404 instead of 200 from ip:8080/health"
    evidence = Evidence(opened=["0.0.0.0:8080"], probes=[*REFUSED, Probes(at=NOW, error=said, count=5)])
    failure = why(STARTING, process=web("/health"), evidence=evidence, blame=late())
    assert failure.explanation == [
        f"it runs, but has not become healthy within 120 s: {said}",
        "its check asks for /health, and wants HTTP status 200",
    ]


def test_an_old_job_that_does_not_stop_is_another_matter():
    failure = why(JobState.STOPPING, blame=late("is still stopping", draining=True))
    assert failure.phase is FailurePhase.DRAIN
    assert failure.explanation == ["job host0-n1 of the old release is still stopping"]
    assert failure.try_next == [TIME, LOG]


def test_what_is_kept_of_the_output_is_bounded():
    failure = why(exit_status=1, lines=["x" * 10_000] * 100)
    assert failure.log == ["x" * LINE_CHARS] * LOG_LINES


def test_who_sees_nothing_but_the_error_is_told_everything_in_it():
    serving = Serving(release="old", processes={"web": 2})
    failure = Failure(
        error="web job failed to start: 0 of 1 up after 5 s",
        explanation=["one", "two"],
        job="host0-n1",
        log=["listening"],
        serving=serving,
        try_next=[TIME],
    )
    assert spoken(failure) == (
        "web job failed to start: 0 of 1 up after 5 s\none\ntwo\nrelease old keeps serving\n"
        "to allow more time: flynn -a hello deployment timeout 240\nlast lines of job host0-n1:\n    listening"
    )
