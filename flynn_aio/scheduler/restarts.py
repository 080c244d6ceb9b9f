"""Restarts: how long a place in a formation stays empty after its job ended by itself. Pure.

Source: Flynn `controller/scheduler/scheduler.go`, `restartJob`, `getBackoffDuration`; `jobs.md` §5.
"""

from datetime import timedelta

from ..model import Job, JobID, JobState, Time

STABLE_AFTER = timedelta(minutes=5)
"""A job that ran for longer was healthy: its end is a first crash again."""

STEPS = ((5, timedelta(0)), (15, timedelta(seconds=10)))
"""Below so many restarts the pause is this long."""
LONGEST = timedelta(seconds=30)


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
        return timedelta(0)
    return next((delay for below, delay in STEPS if restarts < below), LONGEST)


def replacement(
    ended: Job, job: JobID, *, ran_for: timedelta, now: Time, stable_after: timedelta = STABLE_AFTER
) -> Job:
    """Return the row of the job that takes the place of one that ended by itself.

    Args:
        job: id of the new job.
        ran_for: how long the ended job ran.
    """
    restarts = 0 if ran_for > stable_after else (ended.restarts or 0)
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
        created_at=now,
    )


def has_to_wait(job: Job, now: Time) -> bool:
    """Whether the pause before a start is still to come. One longer than we give is from before the clock was set."""
    return job.run_at is not None and now < job.run_at <= now + LONGEST
