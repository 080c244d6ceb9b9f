"""Recorder: what a pass decided -> rows and events. The only writer of job rows and of progress."""

from collections.abc import Iterable

from msgspec.structs import replace

from ..model import Job, JobID, JobState
from ..store import Transaction, changes, queries
from .step import (
    AddVolume,
    CompleteScale,
    DropFormation,
    FinishDeployment,
    NoteStep,
    PutJob,
    SetFormation,
    TellJob,
    Write,
)


def record_all(tx: Transaction, writes: Iterable[Write]) -> None:
    """Make the writes of one app, in order.

    Raises:
        FlynnError: what they speak of was changed or deleted since it was read; nothing was
            written, and the next pass sees why.
    """
    for write in writes:
        _record(tx, write)


def claim(tx: Transaction, job: JobID, args: list[str]) -> Job | None:
    """Return the row of a job that is to be started, as `starting`; ``None`` if it is no longer wanted."""
    row = queries.job(tx.db, job)
    if row.state is JobState.PENDING:
        return changes.put_job(tx, replace(row, state=JobState.STARTING, args=args), formation=True)
    return row if row.state is JobState.STARTING else None


def _record(tx: Transaction, write: Write) -> None:
    match write:
        case PutJob():
            changes.put_job(
                tx,
                write.job,
                address=write.address,
                started_at=write.started_at,
                evidence=write.evidence,
                formation=write.formation,
            )
        case AddVolume():
            changes.create_volume(tx, write.volume)
        case CompleteScale():
            changes.complete_scale_request(tx, write.request)
        case SetFormation():
            changes.set_formation(tx, write.app, write.release, write.processes, write.tags)
        case DropFormation():
            changes.drop_formation(tx, write.app, write.release)
        case NoteStep():
            changes.note_deployment_step(tx, write.deployment, write.step)
        case TellJob():
            changes.tell_deployment_job(tx, write.deployment, write.release, write.type, write.state)
        case FinishDeployment():
            changes.finish_deployment(tx, write.deployment, failure=write.failure)
