"""Jobs: a one-off one to run, and what is told of one that somebody else runs."""

from msgspec import Struct, field

from ...errors import ValidationError
from ...model import AppID, Job, JobID, JobState, NewJob, ReleaseID, Time, as_uuid
from .checks import INT32_MAX, MAX_PORT, one_of


def new_job(sent: NewJob) -> NewJob:
    """Check a one-off job. What its release and image allow is another question."""
    if not sent.release:
        raise ValidationError('Required error. The data must be an object with "release" as one of its keys')
    for name, size in (("tty_columns", sent.tty_columns), ("tty_lines", sent.tty_lines)):
        if not 0 <= size <= MAX_PORT:
            raise ValidationError("must be 0 to 65535", field=name)
    if any(not key or "=" in key for key in sent.env or {}):
        raise ValidationError("must not have an empty name or one with `=`", field="env")
    return sent


class JobRequest(Struct, frozen=True, kw_only=True):
    """The body of a job that somebody else runs."""

    uuid: str = ""
    app: str = ""
    release: str = ""
    type: str = ""
    state: str = ""
    args: list[str] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    exit_status: int | None = None
    host_error: str | None = None
    run_at: Time | None = None
    restarts: int | None = None


_GONE_STATES = ("crashed", "failed")
"""States of old, which are `down` today."""


def recorded_job(sent: JobRequest, uuid: str) -> Job:
    """Check what is told of a job.

    Args:
        uuid: the one in the path, which counts.
    """
    states = [state for state in JobState if state is not JobState.BLOCKED]
    state = one_of(sent.state, [*states, *_GONE_STATES], field="state")
    if sent.uuid and as_uuid(sent.uuid) != uuid:
        raise ValidationError("is not the one in the path", field="uuid")
    for name, key in (("app", sent.app), ("release", sent.release)):
        if as_uuid(key) is None:
            raise ValidationError("must be a UUID", field=name)
    for name, number in (("exit_status", sent.exit_status), ("restarts", sent.restarts)):
        if number is not None and not -INT32_MAX - 1 <= number <= INT32_MAX:
            raise ValidationError("must be a 32-bit integer", field=name)
    return Job(
        uuid=JobID(uuid),
        app=AppID(as_uuid(sent.app) or ""),
        release=ReleaseID(as_uuid(sent.release) or ""),
        type=sent.type,
        state=JobState.DOWN if state in _GONE_STATES else JobState(state),
        args=sent.args,
        meta=sent.meta,
        exit_status=sent.exit_status,
        host_error=sent.host_error,
        run_at=sent.run_at,
        restarts=sent.restarts,
    )
