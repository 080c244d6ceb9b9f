"""What the senders of log sinks ask: which sinks there are, and whose lines these are. Answered by the store."""

from dataclasses import dataclass

from .model import AppID, JobFacts, JobID, Sink
from .store import Store, queries
from .watch import Watch


@dataclass(frozen=True, slots=True)
class StoredSinks:
    """A `SinkSource` of `logs`, which does not know the store."""

    store: Store

    @property
    def changes(self) -> Watch[int]:
        return self.store.changes

    async def sinks(self) -> list[Sink]:
        return await self.store.read(queries.sinks)

    async def describe(self, app: AppID, job: JobID) -> JobFacts:
        return await self.store.read(lambda db: queries.job_facts(db, app, job))
