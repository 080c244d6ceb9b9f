"""Inquiry: what can be found out about a job that failed, while it can.

A job that runs is looked at now; one that is down left what was seen of it in its row. Whatever
cannot be found in time is left out: no deployment waits for its explanation.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from msgspec.structs import replace

from ..discoverd import Services
from ..engine import Engine
from ..errors import FlynnError
from ..model import Evidence, Failure, JobID, JobState
from ..store import JobRecord, Store, queries
from .failure import LOG_LINES, Findings, explain, spoken
from .step import Blame

Tail = Callable[[JobID, int], Awaitable[list[str]]]
"""Returns the last lines a job printed."""

PATIENCE_S = 2.0
"""How long one source of facts may take to answer."""


class Inquiry:
    """Looks into the failure of jobs.

    Args:
        tail: finds the last lines of a job; without it there are none.
    """

    def __init__(self, store: Store, engine: Engine, services: Services, tail: Tail | None) -> None:
        self._store = store
        self._engine = engine
        self._services = services
        self._tail = tail

    async def of_job(self, job: JobID, *, waited_s: int) -> Failure:
        """Return why a job that nothing was deployed for does not serve.

        Args:
            waited_s: how long it was waited for; 0: it is down.
        """
        waiting = self._services.snapshot.value.waiting.get(job, "has not become healthy")
        return await self.look_into(Failure(error=""), Blame(job=job, doing=waiting, waited_s=waited_s))

    async def look_into(self, failure: Failure, blame: Blame) -> Failure:
        """Return a failure with all that can be found out about the job it is blamed on.

        The error of a step that ran out of time is ours, so it tells the rest as well.
        """
        if blame.job is not None and (record := await self._record(blame.job)):
            lines = await self._lines(blame.job)
            findings = Findings(record=record, evidence=await self._evidence(record), lines=lines)
            failure = explain(failure, blame, findings)
        return replace(failure, error=spoken(failure)) if blame.waited_s else failure

    async def _record(self, job: JobID) -> JobRecord | None:
        with suppress(FlynnError):
            return await self._store.read(lambda db: queries.job_record(db, job))
        return None

    async def _lines(self, job: JobID) -> list[str]:
        if self._tail is not None:
            with trio.move_on_after(PATIENCE_S), suppress(FlynnError, OSError):
                return await self._tail(job, LOG_LINES)
        return []

    async def _evidence(self, record: JobRecord) -> Evidence:
        job = record.job
        known = self._services.snapshot.value.evidence.get(job.uuid) or record.evidence or Evidence()
        if job.state is JobState.DOWN or record.started_at is None:
            return known
        with trio.move_on_after(PATIENCE_S), suppress(FlynnError):
            opened = await self._engine.listening(job.uuid)
            return known if opened is None else replace(known, opened=list(opened))
        return known
