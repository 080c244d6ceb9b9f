"""Live jobs: which may still write, asked of the engine only when somebody needs to know.

An unfinished line becomes one when its job has ended, and the engine alone can tell. It may
also hang; whoever reads logs must not hang with it. So followers look at the last answer, and
are rung when there is a better one.
"""

import logging

import trio

from ..engine import Engine, RunState
from ..errors import EngineError
from ..model import JobID
from ..watch import Bell

logger = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""How long one who reads waits for the engine before doing without."""
RETRY_S = 5.0
"""After the engine did not answer a question of followers."""


class LiveJobs:
    """The engine's word on which jobs have not ended.

    Attributes:
        bell: rings when the answer may be another one.
    """

    def __init__(self, engine: Engine) -> None:
        self.bell = Bell()
        self._engine = engine
        self._question = Bell()
        self._known: frozenset[JobID] = frozenset()
        self._known_at = -1

    @property
    def version(self) -> int:
        """Grows whenever some job may have ended."""
        return self._engine.bell.version

    def known(self) -> frozenset[JobID] | None:
        """Return the live jobs if that is known for this `version`; otherwise ask, and return ``None``."""
        if self._known_at == self.version:
            return self._known
        self._question.ring()
        return None

    async def ask(self) -> frozenset[JobID] | None:
        """Return the live jobs, or ``None`` when the engine does not say so soon."""
        with trio.move_on_after(PATIENCE_S):
            return await self._list()
        return None

    async def run(self) -> None:
        """Answer questions and pass on the engine's ringing, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._answer)
            seen = self._engine.bell.version
            while True:
                await self._engine.bell.moved_past(seen)
                seen = self._engine.bell.version
                self.bell.ring()

    async def _answer(self) -> None:
        answered = self._question.version
        while True:
            await self._question.moved_past(answered)
            asked, version = self._question.version, self.version
            live = await self._list()
            if live is None:
                await trio.sleep(RETRY_S)
                continue
            self._known, self._known_at, answered = live, version, asked
            self.bell.ring()

    async def _list(self) -> frozenset[JobID] | None:
        try:
            return frozenset(job.id for job in await self._engine.jobs() if job.state is not RunState.EXITED)
        except EngineError as exc:
            logger.info("engine not asked which jobs are live", extra={"reason": exc.message})
            return None
