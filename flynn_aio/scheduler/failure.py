"""Failure: what a person is told about the job that a deployment, or a first start, failed by. Pure.

The first sentence is Flynn's, and `deployments` has it. Here is what explains it: how far the job
got, how it ended, where it listened, what its health check met, and what to type next.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from msgspec.structs import replace

from ..model import (
    Evidence,
    Failure,
    FailurePhase,
    Job,
    JobState,
    NextStep,
    ProcessType,
    filled,
    full_job_id,
    memory_text,
    numbered,
)
from ..store import JobRecord
from .ports import advice, listens_over_ipv6_only
from .restarts import how_it_ended, ran_out_of_memory
from .step import Blame, Observed

LOG_LINES = 20
LINE_CHARS = 500
"""How much of a job's output is kept with a failure: lines, and characters of each."""

REFUSED = "connection refused"
KILLED_FOR_MEMORY = "a process of it was killed for lack of memory"
_NO_PROGRAM = re.compile(r'^exec: "(.*)": (.*)$', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found out about a job.

    Attributes:
        lines: the last ones it printed.
    """

    record: JobRecord
    evidence: Evidence
    lines: Sequence[str] = ()


def doing(job: Job, observed: Observed) -> str:
    """Return what a job was last seen doing, as part of a sentence."""
    if reason := observed.waiting.get(job.uuid):
        return reason
    match job.state:
        case JobState.BLOCKED:
            return "blocked, because no host has the tags its formation asks for"
        case JobState.PENDING if job.run_at:
            return f"waits until {job.run_at}, since it went down {job.restarts} times"
        case JobState.STARTING if job.uuid in observed.statuses:
            return "runs, but has not become healthy"
        case JobState.STARTING:
            return "its container is being started"
        case JobState.STOPPING:
            return "is still stopping"
    return "has not been started yet"


def explain(failure: Failure, blame: Blame, found: Findings) -> Failure:
    """Return a failure with all that is known about the job it came from.

    Its error is left as it is: Flynn's, to the letter.
    """
    record, evidence = found.record, found.evidence
    job = record.job
    process = filled(record.process) if record.process else None
    phase = phase_of(blame, found)
    memory = process.resources["memory"].limit if process else None
    told = _port_told(process)
    return replace(
        failure,
        phase=phase,
        explanation=list(_sentences(phase, blame, found, process, told, memory)),
        job=full_job_id(job.uuid),
        job_type=job.type,
        exit_status=None if job.signal else job.exit_status,
        signal=job.signal,
        oom=job.oom,
        memory_limit=memory,
        port=told,
        opened=evidence.opened,
        probes=evidence.probes,
        log=[line[:LINE_CHARS] for line in found.lines][-LOG_LINES:],
        try_next=list(_next_steps(phase, blame, found, memory)),
    )


def spoken(failure: Failure) -> str:
    """Return a failure as one text, for those who see nothing but the error of an event."""
    steps = [f"to {step.purpose}: {step.command}" for step in failure.try_next]
    lines = [f"last lines of job {failure.job}:", *(f"    {line}" for line in failure.log)] if failure.log else []
    serving = failure.serving
    kept = [f"release {serving.release} keeps serving"] if serving and serving.processes else []
    return "\n".join([failure.error, *failure.explanation, *kept, *steps, *lines])


def phase_of(blame: Blame, found: Findings) -> FailurePhase:
    """Return how far a job got."""
    record = found.record
    job = record.job
    if blame.draining:
        return FailurePhase.DRAIN
    if record.started_at is None:
        return FailurePhase.START if _NO_PROGRAM.match(job.host_error or "") else FailurePhase.CREATE
    if found.evidence.given_up or job.state is not JobState.DOWN:
        return FailurePhase.HEALTH
    return FailurePhase.START


def _sentences(
    phase: FailurePhase,
    blame: Blame,
    found: Findings,
    process: ProcessType | None,
    told: int | None,
    memory: int | None,
) -> Iterator[str]:
    job = found.record.job
    match phase:
        case FailurePhase.DRAIN:
            yield f"job {full_job_id(job.uuid)} of the old release {blame.doing}"
        case FailurePhase.CREATE if job.host_error:
            yield f"its container could not be made: {job.host_error}"
        case FailurePhase.CREATE:
            yield f"job {full_job_id(job.uuid)}: {blame.doing}"
        case FailurePhase.START:
            yield from _how_its_process_ended(found, memory)
        case FailurePhase.HEALTH:
            yield from _how_it_was(blame, found)
            yield from _where_it_listened(found.evidence, told)
            yield from _what_is_asked(process)
    if blame.ends:
        ends = "1 job" if blame.ends == 1 else f"{blame.ends} jobs"
        yield f"{ends} of its type went down within the {blame.waited_s} s of the step"
    if not blame.rolled_back:
        yield "nothing was rolled back: a new database may have written what an old one cannot read"


def _how_its_process_ended(found: Findings, memory: int | None) -> Iterator[str]:
    record = found.record
    job = record.job
    if no_program := _NO_PROGRAM.match(job.host_error or ""):
        yield f"its command {no_program[1]} cannot be executed: {no_program[2]}"
        return
    if job.host_error and job.exit_status is None and not job.signal:
        yield job.host_error
        return
    since = ""
    if record.started_at and job.updated_at:
        since = f", {(job.updated_at - record.started_at) / timedelta(seconds=1):.1f} s after its start"
    needs = f": it needs more than its limit of {memory_text(memory)}" if memory and ran_out_of_memory(job) else ""
    yield f"its process {how_it_ended(job)}{since}{needs}"
    if job.exit_status == 0 and not job.signal:
        yield "a process of a formation has to go on running, whatever its exit status"
    if job.oom and not ran_out_of_memory(job):
        yield KILLED_FOR_MEMORY


def _how_it_was(blame: Blame, found: Findings) -> Iterator[str]:
    probes = found.evidence.probes
    last = probes[-1].error if probes else ""
    if found.evidence.given_up:
        yield f"its health check gave it up, and it was killed: {last or 'no answer'}"
    else:
        yield f"it runs, but has not become healthy within {blame.waited_s} s: {last or blame.doing}"
    if found.record.job.oom:
        yield KILLED_FOR_MEMORY


def _where_it_listened(evidence: Evidence, told: int | None) -> Iterator[str]:
    if told is None or evidence.opened is None:
        return
    if wrong := advice(told, evidence.opened):
        yield wrong
    elif _was_refused(evidence) and listens_over_ipv6_only(told, evidence.opened):
        yield f"listens on port {told} over IPv6 only: bind 0.0.0.0"


def _was_refused(evidence: Evidence) -> bool:
    return bool(evidence.probes) and evidence.probes[-1].error.startswith(REFUSED)


def _what_is_asked(process: ProcessType | None) -> Iterator[str]:
    for port in process.ports if process else []:
        check = port.service.check if port.service else None
        if check and check.path:
            yield f"its check asks for {check.path}, and wants HTTP status {check.status or 200}"


def _next_steps(phase: FailurePhase, blame: Blame, found: Findings, memory: int | None) -> Iterator[NextStep]:
    record = found.record
    job = record.job
    flynn = f"flynn -a {record.app_name}"
    if job.oom and memory:
        command = f"{flynn} limit set {job.type} memory={memory_text(2 * memory)}"
        yield NextStep(purpose="give it more memory", command=command)
    if phase is FailurePhase.CREATE or (job.host_error and _NO_PROGRAM.match(job.host_error)):
        yield NextStep(purpose="see how it is run", command=f"{flynn} release show --json {job.release}")
    if not blame.rolled_back:
        yield NextStep(purpose="see what runs", command=f"{flynn} scale -a")
    if blame.waited_s:
        command = f"{flynn} deployment timeout {2 * blame.waited_s}"
        yield NextStep(purpose="allow more time", command=command)
    if record.started_at:
        yield NextStep(purpose="see more", command=f"{flynn} log -j {full_job_id(job.uuid)}")


def _port_told(process: ProcessType | None) -> int | None:
    ports = numbered(process.ports) if process else []
    return ports[0].port if ports else None
