"""Changes to volumes.

Which job has a volume is part of what `put_job` writes, so that it is true at any moment. A
volume is destroyed here first and on the disk afterwards: nothing is given a directory that is
about to go.

Source: `jobs.md` §9; Flynn `controller/data/volume.go`, `controller/scheduler/scheduler.go`.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ...errors import Conflict, NotFound, ObjectExists, ValidationError
from ...model import AppID, JobID, Volume, VolumeID, VolumeState
from .. import queries, rows
from ..transaction import Transaction


def create_volume(tx: Transaction, volume: Volume) -> Volume:
    """Create the row of a volume; its times are ours.

    Raises:
        ObjectExists: a volume had this id already.
    """
    if tx.execute("SELECT 1 FROM volumes WHERE id = ?", (volume.id,)):
        raise ObjectExists(f'volume "{volume.id}" already exists')
    return _save(tx, replace(volume, created_at=tx.now))


def put_volume(tx: Transaction, volume: Volume) -> Volume:
    """Create a volume, or change which job has the one of this id: nothing else about it can change.

    Raises:
        ValidationError: its app or its job does not exist.
        Conflict: another job has it.
    """
    if volume.app and not tx.execute("SELECT 1 FROM apps WHERE id = ?", (volume.app,)):
        raise ValidationError(f"names the app {volume.app!r}, which does not exist", field="app")
    if volume.job and not tx.execute("SELECT 1 FROM jobs WHERE id = ?", (volume.job,)):
        raise ValidationError(f"names the job {volume.job!r}, which does not exist", field="job")
    found = tx.execute("SELECT doc FROM volumes WHERE id = ?", (volume.id,))
    if not found:
        return create_volume(tx, volume)
    old = rows.volume(found[0][0])
    if volume.job and old.job not in (None, volume.job):
        raise _in_use([old.id])
    return _save(tx, replace(old, job=volume.job))


def note_created_volumes(tx: Transaction, ids: Iterable[VolumeID]) -> None:
    """Write that these have their directory now. One that was destroyed meanwhile stays so."""
    for volume in _by_id(tx, ids):
        if volume.state is VolumeState.PENDING:
            _save(tx, replace(volume, state=VolumeState.CREATED))


def decommission_volume(tx: Transaction, app_id: AppID, volume_id: str) -> Volume:
    """Give a volume to no new job any more; the job that has it keeps it, and its data stays.

    Raises:
        NotFound: the app has no such volume.
    """
    volume = queries.volume(tx.db, app_id, volume_id)
    if volume.decommissioned_at is not None:
        return volume
    return _save(tx, replace(volume, decommissioned_at=tx.now))


def attach_volumes(tx: Transaction, job: JobID, ids: Sequence[VolumeID]) -> None:
    """Let a job have volumes.

    Raises:
        Conflict: another job has one of them.
    """
    wanted = _by_id(tx, ids)
    if missing := set(ids) - {volume.id for volume in wanted}:
        raise NotFound(f"volumes {', '.join(sorted(missing))} of job {job} do not exist")
    if taken := [volume.id for volume in wanted if volume.job not in (None, job)]:
        raise _in_use(taken)
    for volume in wanted:
        if volume.job is None:
            _save(tx, replace(volume, job=job))


def release_volumes(tx: Transaction, job: JobID) -> None:
    """Take its volumes from a job that is down: they wait for the next one, or end with it."""
    for (text,) in tx.execute("SELECT doc FROM volumes WHERE job = ? AND state != 'destroyed' ORDER BY seq", (job,)):
        volume = rows.volume(text)
        _save(tx, replace(volume, state=VolumeState.DESTROYED) if volume.delete_on_stop else replace(volume, job=None))


def destroy_volumes_of_app(tx: Transaction, app_id: AppID) -> None:
    """Destroy every volume of an app. A job that still has one keeps its directory until it has ended."""
    for (text,) in tx.execute("SELECT doc FROM volumes WHERE app = ? AND state != 'destroyed' ORDER BY seq", (app_id,)):
        _save(tx, replace(rows.volume(text), state=VolumeState.DESTROYED))


def _by_id(tx: Transaction, ids: Iterable[VolumeID]) -> list[Volume]:
    found = tx.execute("SELECT doc FROM volumes WHERE id IN (SELECT value FROM json_each(?))", (rows.doc(list(ids)),))
    return [rows.volume(text) for (text,) in found]


def _save(tx: Transaction, volume: Volume) -> Volume:
    stored = replace(volume, updated_at=tx.now)
    tx.execute(
        """INSERT INTO volumes (id, app, job, state, updated_at, doc) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET job = excluded.job, state = excluded.state,
               updated_at = excluded.updated_at, doc = excluded.doc""",
        (stored.id, stored.app, stored.job, stored.state, tx.now.sortable, rows.doc(stored)),
    )
    tx.emit("volume", stored.id, stored, app=stored.app or None)
    return stored


def _in_use(ids: Iterable[VolumeID]) -> Conflict:
    return Conflict(f"volumes in use: {', '.join(ids)}")
