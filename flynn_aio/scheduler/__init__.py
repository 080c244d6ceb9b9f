"""The scheduler: closes the gap between what is wanted and what runs.

Words used here:

- *group*: the jobs of one process type of one formation; it has a count to be brought to.
- *look*: the world outside the rows at one moment; *news*: the apps of which it, or a row, tells anything new.
- *pass*: a look, and what follows from it for the apps of which there is news; *round*: one plan within a pass.
- *step*: what a plan decided: writes, which change rows, and actions, which change the world.
- *observed*: the world as far as a pass can see it; *desired*: the rows that say how it should be.
- *in flight*: an action that has begun and not ended; the executor has at most one for a job.
- *stray*: a container the engine lists and no living row speaks of.
- *stock*: the volumes there are; a *place* of theirs is an app, a release, a process type and a path.
- *replacement*: the row that takes the place of a job which ended by itself.
- *flapping*: a place whose jobs keep ending; a *remark* in the app's log tells when that begins and when it is over.
- *balance*: the counts of the old and the new release in a deployment; a *strategy* names the next.
- *drained*: no request is with a job any more, so it can be stopped.

It owns the rows of jobs and volumes and the progress of deployments: nobody else writes them, except to wish a job
to stop. What it knows is in those rows and in the engine; it can be killed at any moment.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from ..clock import Clock
from ..discoverd import Services
from ..engine import Engine
from ..errors import FlynnError
from ..settings import SchedulerSettings
from ..store import Store, queries
from ..watch import Bell, Watch
from .executor import Drained, Executor
from .inquiry import Inquiry, Tail
from .reconciler import Note, Reconciler

logger = logging.getLogger(__name__)

__all__ = ["Drained", "Inquiry", "Note", "Tail", "open_scheduler"]


@asynccontextmanager
async def open_scheduler(
    settings: SchedulerSettings,
    store: Store,
    engine: Engine,
    services: Services,
    clock: Clock,
    *,
    drained: Drained,
    tail: Tail | None = None,
    note: Note | None = None,
) -> AsyncIterator[Inquiry]:
    """Keep the right jobs running while the block runs. Entered, the first pass is done.

    What it yields tells why a job does not serve.

    Leaving it stops no job. A start or a stop in flight is cut off; its row says what was meant, and
    the next scheduler takes it up.

    Args:
        drained: waits until no request is with a job; asked before a job is stopped, for at most
            `settings.drain_s`.
        tail: finds the last lines of a job, for the failure of a deployment.
        note: puts a line of ours into an app's log.
    """
    await _name_strangers(store, engine)
    bell = Bell()
    inquiry = Inquiry(store, engine, services, tail)
    async with trio.open_nursery() as actions:
        executor = Executor(actions, settings, store=store, engine=engine, drained=drained, bell=bell)
        reconciler = Reconciler(
            settings,
            store=store,
            engine=engine,
            services=services,
            clock=clock,
            executor=executor,
            bell=bell,
            inquiry=inquiry,
            note=note,
        )
        async with trio.open_nursery() as loops:
            loops.start_soon(_ring_for, store.changes, bell)
            loops.start_soon(_ring_for, engine.bell, bell)
            loops.start_soon(_ring_for_health, services, bell)
            loops.start_soon(reconciler.run)
            await reconciler.ready.wait()
            yield inquiry
            loops.cancel_scope.cancel()
        actions.cancel_scope.cancel()


async def _name_strangers(store: Store, engine: Engine) -> None:
    """Write down the volumes that no row speaks of: since an older database was restored, say. They may be dear."""
    with suppress(FlynnError):
        found = await engine.volumes()
        if strangers := found - await store.read(lambda db: queries.known_volumes(db, found)):
            logger.warning("volumes without a row are left alone", extra={"volumes": sorted(strangers)})


async def _ring_for(source: Watch[int] | Bell, bell: Bell) -> None:
    """Ring the loop's bell whenever the source moves."""
    seen = source.version
    while True:
        await source.moved_past(seen)
        seen = source.version
        bell.ring()


async def _ring_for_health(services: Services, bell: Bell) -> None:
    """Ring when a verdict on a job changes; how often it was probed until then is no news here."""
    snapshot = services.snapshot
    seen, verdicts = snapshot.version, None
    while True:
        if verdicts != (verdicts := (snapshot.value.up, snapshot.value.dead)):
            bell.ring()
        await snapshot.moved_past(seen)
        seen = snapshot.version
