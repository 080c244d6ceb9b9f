"""Observer: what the engine and the health checks report -> what a job's row is to say. Pure.

Only facts become rows here. Whether a place in a formation is filled again is `plan`'s matter;
it happens in the same transaction, so no crash of ours can lose it.

Source: `jobs.md` §1, §6, §10.
"""

from dataclasses import dataclass
from datetime import timedelta
from signal import SIGSYS, Signals

from msgspec.structs import replace

from ..engine import OOM_TEXT, JobStatus, RunState
from ..model import Evidence, Job, JobState, PlacedJob, Time
from .step import AddVolume, Doing, Observed, PutJob
from .volumes import own_volumes

GONE = "its container is gone: somebody removed it, or the machine was restarted"
EXIT_LOST = "it ended, and its exit status was lost with the process that watched over it"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One job after a look at it.

    Attributes:
        job: as it is now known.
        writes: what its row must be told, in order; empty when it says so already.
        crashed: it came to an end nobody asked for, so its place may be filled again.
        ran_for: how long it has run so far.
        given_up: why its health check wants it killed.
    """

    job: Job
    writes: tuple[PutJob, ...] = ()
    crashed: bool = False
    ran_for: timedelta = timedelta(0)
    given_up: str = ""


def observe(placed: PlacedJob, observed: Observed, now: Time) -> Sighting:
    """Return what is true of a job whose row is not down.

    A job the engine does not list is gone only if its container was seen before: without that,
    its start was interrupted and is simply tried again. What a job in flight looks like is
    believed only as far as it cannot be the middle of something.
    """
    job, status = placed.job, observed.statuses.get(placed.job.uuid)
    doing = observed.doing.get(job.uuid)
    if why := observed.failed.get(job.uuid):
        return _ended(placed, now, host_error=why)
    match status:
        case None:
            return Sighting(job) if doing else _missing(placed, now)
        case JobStatus(state=RunState.RUNNING):
            return _running(placed, status, observed, now)
        case JobStatus(state=RunState.EXITED) if doing is not Doing.STARTING:
            return _exited(placed, status, observed, now)
    return Sighting(job)


def record(status: JobStatus) -> tuple[PutJob | AddVolume, ...]:
    """Return the first rows of a job somebody else started: a one-off or a build.

    It was up even if it has ended before anybody looked: watchers wait for both events.
    """
    if status.state is RunState.CREATED:
        return ()
    job = Job(
        uuid=status.id,
        app=status.app,
        release=status.release,
        type=status.type,
        state=JobState.UP,
        args=list(status.args),
        volumes=list(status.volumes),
        meta=dict(status.meta),
    )
    brought = [AddVolume(volume) for volume in own_volumes(status)]
    up = PutJob(job, formation=False, address=status.address, started_at=status.started_at)
    if status.state is RunState.RUNNING:
        return (*brought, up)
    return *brought, up, PutJob(_down(job, status), formation=False)


def signal_name(code: int | None) -> str:
    """Return the signal that an exit code of the engine tells of; empty for any other code."""
    return Signals(code - 128).name if code is not None and 128 < code <= 128 + SIGSYS else ""


def exit_status(code: int | None) -> int | None:
    """Return the exit status users see of the engine's exit code.

    A process ended by a signal counts as 0: in Flynn the init inside the container maps it so.
    A shell that ends with 128 + N because a child was killed looks the same from outside.

    Source: `jobs.md` §1; Flynn `host/containerinit`.
    """
    if code is None or code < 0:
        return None
    return 0 if signal_name(code) else code


def _running(placed: PlacedJob, status: JobStatus, observed: Observed, now: Time) -> Sighting:
    job = placed.job
    ran_for = _ran_for(placed, status, now)
    if job.state is JobState.STOPPING:
        return Sighting(job, ran_for=ran_for)
    if placed.formation and job.uuid in observed.dead:
        stopping = replace(job, state=JobState.STOPPING)
        put = _put(placed, stopping, status, observed.evidence.get(job.uuid))
        return Sighting(stopping, (put,), crashed=True, ran_for=ran_for, given_up=observed.dead[job.uuid])
    state = JobState.UP if job.uuid in observed.up or job.state is JobState.UP else JobState.STARTING
    known = placed.address == status.address and (placed.started_at or not status.started_at)
    if state is job.state and known:
        return Sighting(job, ran_for=ran_for)
    seen = replace(job, state=state, args=list(status.args) or job.args)
    return Sighting(seen, (_put(placed, seen, status),), ran_for=ran_for)


def _exited(placed: PlacedJob, status: JobStatus, observed: Observed, now: Time) -> Sighting:
    down = _down(placed.job, status)
    crashed = placed.job.state is not JobState.STOPPING
    put = _put(placed, down, status, observed.evidence.get(down.uuid))
    return Sighting(down, (put,), crashed=crashed, ran_for=_ran_for(placed, status, now))


def _missing(placed: PlacedJob, now: Time) -> Sighting:
    job = placed.job
    match job.state:
        case JobState.STOPPING:
            return _ended(placed, now)
        case JobState.PENDING | JobState.BLOCKED:
            return Sighting(job)
    if placed.started_at is None and job.state is JobState.STARTING:
        return Sighting(job)
    # Whoever is attached to a one-off job removes it when it has ended: that is no accident. And a container that
    # was taken away – by `flynn-aio down`, a reboot, somebody's `podman rm` – says nothing bad about its app.
    return _ended(placed, now, host_error=GONE if placed.formation else None, crashed=False)


def _ended(placed: PlacedJob, now: Time, *, host_error: str | None = None, crashed: bool | None = None) -> Sighting:
    """Return the end of a job; by itself it `crashed` unless it was told to stop."""
    down = replace(placed.job, state=JobState.DOWN, host_error=host_error)
    return Sighting(
        down,
        (PutJob(down, formation=placed.formation),),
        crashed=placed.job.state is not JobState.STOPPING if crashed is None else crashed,
        ran_for=now - placed.started_at if placed.started_at else timedelta(0),
    )


def _down(job: Job, status: JobStatus) -> Job:
    """Return a job that ended, with what its end tells."""
    error = status.error
    if not error and status.oom and status.exit_code:
        error = OOM_TEXT
    if not error and status.exit_code is not None and status.exit_code < 0:
        error = EXIT_LOST
    return replace(
        job,
        state=JobState.DOWN,
        exit_status=exit_status(status.exit_code),
        host_error=error or None,
        signal=signal_name(status.exit_code),
        oom=status.oom,
    )


def _put(placed: PlacedJob, job: Job, status: JobStatus, evidence: Evidence | None = None) -> PutJob:
    return PutJob(
        job,
        formation=placed.formation,
        address=status.address,
        started_at=status.started_at,
        evidence=evidence,
    )


def _ran_for(placed: PlacedJob, status: JobStatus, now: Time) -> timedelta:
    started_at = status.started_at or placed.started_at
    return now - started_at if started_at else timedelta(0)
