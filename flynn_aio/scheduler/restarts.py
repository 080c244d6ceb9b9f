"""Restarts: how long a place in a formation stays empty after its job ended by itself. Pure.

A place whose jobs keep ending is *flapping*. That is kept in the row of its present job, so that whoever
reads rows knows, and so that it is told once when it begins and once when it is over.

Source: Flynn `controller/scheduler/scheduler.go`, `restartJob`, `getBackoffDuration`; `jobs.md` §5.
"""

from datetime import timedelta

from msgspec.structs import replace

from ..model import Job, JobID, JobState, PlacedJob, Time, full_job_id
from .step import Remark

STABLE_AFTER = timedelta(minutes=5)
"""A job that ran for longer was healthy: its end is a first crash again."""

STEPS = ((5, timedelta(0)), (15, timedelta(seconds=10)))
"""Below so many restarts the pause is this long."""
LONGEST = timedelta(seconds=30)

FLAPPING_FROM = 3
"""Ends in a row, none of them after a long run. Once is an accident, and twice happens in a deploy."""

NO_TIME = timedelta(0)


def restart_delay(restarts: int, ran_for: timedelta, *, stable_after: timedelta = STABLE_AFTER) -> timedelta:
    """Return the pause before a job that ended by itself is started again.

    A job that stayed up for `stable_after` has earned a clean slate, whatever its history.
    Otherwise the pause grows in steps, until a job that keeps crashing costs no more than two
    starts a minute.

    Args:
        restarts: consecutive restarts so far; 0 for a first crash.
        ran_for: how long the job ran this time.
    """
    if ran_for > stable_after:
        return NO_TIME
    return next((delay for below, delay in STEPS if restarts < below), LONGEST)


def replacement(
    ended: Job,
    job: JobID,
    *,
    ran_for: timedelta,
    now: Time,
    last_end: str = "",
    stable_after: timedelta = STABLE_AFTER,
) -> Job:
    """Return the row of the job that takes the place of one that ended by itself.

    Args:
        job: id of the new job.
        ran_for: how long the ended job ran.
        last_end: how it ended, see `how_it_ended`.
    """
    was_stable = ran_for > stable_after
    restarts = 0 if was_stable else (ended.restarts or 0)
    delay = restart_delay(restarts, ran_for, stable_after=stable_after)
    return Job(
        uuid=job,
        app=ended.app,
        release=ended.release,
        type=ended.type,
        state=JobState.PENDING,
        args=ended.args,
        run_at=now + delay if delay else None,
        restarts=restarts + 1,
        last_end=last_end,
        failing_since=now if was_stable or ended.failing_since is None else ended.failing_since,
        flapping=restarts + 1 >= FLAPPING_FROM,
        created_at=now,
    )


def has_to_wait(job: Job, now: Time) -> bool:
    """Whether the pause before a start is still to come. One longer than we give is from before the clock was set."""
    return job.run_at is not None and now < job.run_at <= now + LONGEST


def calmed(job: Job, ran_for: timedelta, *, stable_after: timedelta = STABLE_AFTER) -> Job | None:
    """Return the row of a flapping job that has run for so long that it is none; ``None`` while it is one."""
    if not job.flapping or job.state is not JobState.UP or ran_for < stable_after:
        return None
    return replace(job, flapping=False, failing_since=None)


def calm_at(placed: PlacedJob, *, stable_after: timedelta = STABLE_AFTER) -> Time | None:
    """Return when a flapping job that is up will have run for long enough."""
    if not placed.job.flapping or placed.job.state is not JobState.UP or placed.started_at is None:
        return None
    return placed.started_at + stable_after


def ran_out_of_memory(job: Job) -> bool:
    """Tell whether a job ended for lack of memory; with exit status 0 it was a child that was killed."""
    return job.oom and bool(job.signal or job.exit_status)


def how_it_ended(job: Job) -> str:
    """Return the end of a job as what is said of it: ``ended with exit status 1``."""
    if ran_out_of_memory(job):
        return "ran out of memory"
    if job.signal:
        return f"was killed by {job.signal}"
    if job.exit_status is not None:
        return f"ended with exit status {job.exit_status}"
    return f"failed: {job.host_error}" if job.host_error else "ended"


def remark_on_end(ended: Job, following: Job, now: Time) -> Remark | None:
    """Return what is told in the app's log when a place begins to flap, or its pauses grow; else nothing.

    An app that crashes for a week must not fill its log with us: three lines, and one when it is over.
    """
    ends = following.restarts or 0
    grows = ends > FLAPPING_FROM and _pause(ends) > _pause(ends - 1)
    if ends != FLAPPING_FROM and not grows:
        return None
    pause = following.run_at - now if following.run_at else NO_TIME
    text = (
        f"flapping: job {full_job_id(ended.uuid)} {following.last_end}; {ends} ends in a row within "
        f"{_span(now - (following.failing_since or now))}; next try {f'in {_span(pause)}' if pause else 'at once'}"
    )
    return Remark(ended.uuid, ended.type, text)


def remark_on_calm(job: Job, *, stable_after: timedelta = STABLE_AFTER) -> Remark:
    """Return what is told when a place flaps no longer."""
    text = f"no longer flapping: job {full_job_id(job.uuid)} has run for {_span(stable_after)}"
    return Remark(job.uuid, job.type, text)


def _pause(ends: int) -> timedelta:
    """Return the pause behind the end of a job that was the `ends`-th in a row."""
    return restart_delay(ends - 1, NO_TIME)


def _span(time: timedelta) -> str:
    seconds = time / timedelta(seconds=1)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
