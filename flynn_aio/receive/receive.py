"""Receive, put together: the door for git clients, and the janitor behind it."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import trio

from ..clock import Clock
from ..engine import Engine
from ..errors import FlynnError
from ..model import SLUGBUILDER_TYPE, ReleaseID, Time
from ..settings import BuildSettings
from ..store import Database, Keyring, Store, changes, queries
from .build import Builder
from .deploy import Why
from .http import GitHTTP
from .push import Pushes
from .repo import Repositories
from .slugs import Slugs, Used
from .stack import Stack
from .transfer import SlugTransfer

logger = logging.getLogger(__name__)

NO_RELEASE = ReleaseID("")
"""What jobs have that run no release, such as builds."""

HELD = timedelta(hours=1)
"""For how long a slug that came from elsewhere waits for its release: an import may restore databases first."""
SWEEP_PAUSE_S = 60.0
"""At least so long between two sweeps: a disk that is freed a minute later is freed in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive:
    """What receive offers.

    Attributes:
        app: the ASGI application for `git.DOMAIN`.
        stack: the images apps are built and run in.
        slugs: takes slugs out of the cluster and into it.
    """

    app: GitHTTP
    stack: Stack
    slugs: SlugTransfer


@asynccontextmanager
async def open_receive(
    settings: BuildSettings, store: Store, keys: Keyring, engine: Engine, clock: Clock, *, why: Why | None = None
) -> AsyncIterator[Receive]:
    """Take pushes while the block runs. A push lives in its request; here only the janitor does.

    Args:
        why: finds out why a job does not serve.
    """
    slugs, repositories = Slugs(settings), Repositories(settings)
    slugs.prepare()
    repositories.prepare()
    stack = Stack(settings, engine)
    builder = Builder(settings=settings, engine=engine, clock=clock, images=stack, host_env=dict(os.environ))
    pushes = Pushes(settings, store, builder, slugs, clock, why)
    janitor = Janitor(store, engine, slugs, repositories, clock)
    await janitor.end_builds()
    await janitor.end_pushes()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(janitor.run)
        yield Receive(
            app=GitHTTP(store, keys, repositories, pushes.decide),
            stack=stack,
            slugs=SlugTransfer(store, slugs, stack, clock, stack=settings.stack),
        )
        nursery.cancel_scope.cancel()


class Janitor:
    """Removes what nobody refers to: slugs of deleted releases, caches and repositories of deleted apps.

    It remembers nothing; what a crash left half made goes the same way.
    """

    def __init__(self, store: Store, engine: Engine, slugs: Slugs, repositories: Repositories, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._slugs = slugs
        self._repositories = repositories
        self._clock = clock

    async def end_builds(self) -> None:
        """End builds of an earlier life: their pushers have gone with it."""
        try:
            for job in await self._engine.jobs():
                if job.type == SLUGBUILDER_TYPE:
                    logger.info("build of an earlier life removed", extra={"app": job.app, "job": job.id})
                    await self._engine.remove(job.id)
        except FlynnError as exc:
            logger.warning("builds of an earlier life not removed", extra={"error": exc.message})

    async def end_pushes(self) -> None:
        """Take back what first pushes of an earlier life have scaled and did not see up: they said it was not done."""
        try:
            for app in await self._store.transact(changes.take_back_initial_scales):
                logger.warning("a first push was cut off before it served, push again", extra={"app": app})
        except FlynnError as exc:
            logger.warning("first pushes of an earlier life not taken back", extra={"error": exc.message})

    async def run(self) -> None:
        """Sweep now and after changes, until cancelled."""
        while True:
            seen = self._store.changes.version
            try:
                await self.sweep()
            except (FlynnError, OSError) as exc:
                logger.warning("sweep failed, the next one tries again", extra={"error": str(exc)})
            await trio.sleep(SWEEP_PAUSE_S)
            await self._store.changes.moved_past(seen)

    async def sweep(self) -> None:
        """Remove what is not in use."""
        gone = [*await self._slugs.sweep(self._find_used), *await self._repositories.sweep(self._find_used)]
        if gone:
            logger.info("what nobody uses removed", extra={"names": gone})

    async def _find_used(self) -> Used:
        since = Time.of(self._clock.now() - HELD)
        return await self._store.read(lambda db: _used(db, since))


def _used(db: Database, since: Time) -> Used:
    """Tell what is in use. The jobs of a deleted release may still be draining, on a slug it cannot name any more.

    Args:
        since: a slug whose artifact is not older may still get its release.
    """
    known = {NO_RELEASE, *(release.id for release in queries.releases(db))}
    draining = any(job.job.release not in known for job in queries.placed_jobs(db))
    slugs = None if draining else queries.live_slugs(db) | queries.new_slugs(db, since)
    return Used(slugs=slugs, apps={app.id for app in queries.apps(db)})
