"""Changes to job rows."""

from msgspec.structs import replace

from ...errors import Conflict, NotFound, ValidationError
from ...model import HOST_ID, AppID, Evidence, Job, JobID, JobState, Time, full_job_id
from .. import queries, rows
from ..transaction import Transaction
from .volumes import attach_volumes, release_volumes

_ORDER = {
    JobState.PENDING: 0,
    JobState.BLOCKED: 0,
    JobState.STARTING: 1,
    JobState.UP: 2,
    JobState.STOPPING: 3,
    JobState.DOWN: 4,
}
"""A job only ever moves on; a report that comes late does not take it back."""


def put_job(
    tx: Transaction,
    job: Job,
    *,
    address: str = "",
    started_at: Time | None = None,
    evidence: Evidence | None = None,
    formation: bool,
) -> Job:
    """Write a job as it is now known, and one event for each state it reaches.

    Its volumes are its own until it is down; those that are to go with it are destroyed then.

    A state that lies behind the stored one is ignored, as is everything about a job that is
    down. An empty `address`, no `started_at` and no `evidence` keep what is stored.

    Args:
        formation: whether a formation wants it; false for one-off and build jobs.

    Raises:
        Conflict: another job has one of its volumes.
    """
    found = tx.execute("SELECT doc, address, started_at FROM jobs WHERE id = ?", (job.uuid,))
    old: Job | None = rows.job(found[0][0]) if found else None
    old_address, old_started = found[0][1:] if found else ("", None)
    state = job.state or JobState.PENDING
    if old is not None and old.state is not None:
        if old.state is JobState.DOWN:
            return old
        if _ORDER[state] < _ORDER[old.state]:
            state = old.state
    placed = _ORDER[state] > 0 and not (state is JobState.DOWN and (old is None or not old.id) and not job.id)
    stored = replace(
        job,
        state=state,
        id=full_job_id(job.uuid) if placed else "",
        host_id=HOST_ID if placed else "",
        run_at=None if _ORDER[state] else job.run_at,
        created_at=old.created_at if old else tx.now,
        updated_at=tx.now,
    )
    tx.execute(
        """INSERT INTO jobs (id, app, release, state, formation, address, started_at, ended_at, doc, evidence)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET state = excluded.state, address = excluded.address,
               started_at = excluded.started_at, ended_at = excluded.ended_at, doc = excluded.doc,
               evidence = iif(excluded.evidence = '', evidence, excluded.evidence)""",
        (
            stored.uuid,
            stored.app,
            stored.release,
            state,
            formation,
            address or old_address,
            str(started_at) if started_at else old_started,
            tx.now.sortable if state is JobState.DOWN else None,
            rows.doc(stored),
            rows.doc(evidence) if evidence else "",
        ),
    )
    if state is JobState.UP:  # of a first push, see `initial`
        of_type = (stored.app, stored.release, stored.type)
        tx.execute("DELETE FROM initial_scales WHERE app = ? AND release = ? AND type = ?", of_type)
    if state is JobState.DOWN:
        release_volumes(tx, stored.uuid)
    elif stored.volumes and (old is None or old.volumes != stored.volumes):
        attach_volumes(tx, stored.uuid, stored.volumes)
    if old is None or (old.state is not state and not _was_told(tx, stored.uuid, state)):
        tx.emit("job", stored.uuid, stored, app=stored.app)
    return stored


def _was_told(tx: Transaction, job: JobID, state: JobState) -> bool:
    """Tell whether a job was in a state before: it may be blocked and go back to waiting, and be blocked again.

    Source: `jobs.md` §1; Flynn `controller/data/jobs.go`, where a second event of a job and state is dropped.
    """
    if _ORDER[state] > 0:
        return False
    sql = "SELECT 1 FROM events WHERE object_id = ? AND object_type = 'job' AND json_extract(data, '$.state') = ?"
    return bool(tx.execute(sql, (job, state)))


def record_job(tx: Transaction, job: Job) -> Job:
    """Write down a job that somebody else runs, as they tell of it. Its app may be deleted already.

    The scheduler finds no container of it, so one that is said to be up does not stay so for long.

    Raises:
        ValidationError: there never was such an app or release.
        Conflict: the job runs here, so what is true of it is seen here.
    """
    for noun, key in (("app", job.app), ("release", job.release)):
        if not tx.execute(f"SELECT 1 FROM {noun}s WHERE id = ?", (key,)):
            raise ValidationError(f"names {key!r}, which does not exist", field=noun)
    if tx.execute("SELECT 1 FROM jobs WHERE id = ? AND (formation OR started_at IS NOT NULL)", (job.uuid,)):
        raise Conflict(f"job {job.uuid} runs here, and its state is not for others to say; to stop it, delete it")
    return put_job(tx, job, formation=False)


def stop_job(tx: Transaction, job_id: JobID) -> Job:
    """Wish a job to stop: its row says so, and the scheduler drains and stops it.

    Raises:
        NotFound: there is no such job, or it is down already.
        ValidationError: it has no container yet.
    """
    job = queries.job(tx.db, job_id)
    if job.state is JobState.DOWN:
        raise NotFound(f"job {job_id!r} is down already")
    if not job.id:
        raise ValidationError("cannot kill a job which has not been placed on a host")
    [(formation,)] = tx.execute("SELECT formation FROM jobs WHERE id = ?", (job_id,))
    return put_job(tx, replace(job, state=JobState.STOPPING), formation=bool(formation))


def stop_one_off_jobs(tx: Transaction, app_id: AppID) -> None:
    """Wish every job of an app to stop that no formation wants: one-off jobs and builds."""
    found = tx.execute("SELECT doc FROM jobs WHERE app = ? AND NOT formation AND state != 'down'", (app_id,))
    for (text,) in found:
        put_job(tx, replace(rows.job(text), state=JobState.STOPPING), formation=False)
