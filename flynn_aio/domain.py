"""Moving the cluster to another domain while it runs.

The controller writes the wish, a row; this carries it out. The row says how far it is, so that a
restart in the middle goes on where it stopped: until the domain is switched nothing has happened, and
from then on every step can be done again.

Source: `resources.md` §9; Flynn `controller/worker/domain_migration`.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from msgspec.structs import replace

from .certificates import fault_of, issue, pin, publish_certificates
from .clock import Clock
from .errors import FlynnError, Unavailable
from .model import DomainMigration, TLSCert
from .store import EventFilter, Overflow, Store, changes, queries

logger = logging.getLogger(__name__)

WISHES = EventFilter(object_types=frozenset({"domain_migration"}))
RETRY_S = 2.0
"""The pause before the store is asked again that could not answer."""


class NoCertificate(FlynnError):
    """The new domain cannot be served; the cluster stays where it is."""


@asynccontextmanager
async def open_migrations(
    store: Store, clock: Clock, *, keys: Path, refresh: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Carry out migrations while the block runs, one that was cut short by a restart first.

    Args:
        keys: the directory of the certificates in use.
        refresh: lets the router answer for what the store says now.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Migrations(store, clock, keys, refresh).run)
        yield
        nursery.cancel_scope.cancel()


class Migrations:
    """Carries out one migration after the other; see `open_migrations`."""

    def __init__(self, store: Store, clock: Clock, keys: Path, refresh: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._clock = clock
        self._keys = keys
        self._refresh = refresh

    async def run(self) -> None:
        """Wait for wishes and fulfil them, until cancelled."""
        while True:
            try:
                async with self._store.subscribe(WISHES) as wishes:
                    while True:
                        wish = await self._store.read(queries.unfinished_domain_migration)
                        if wish:
                            await self._carry_out(wish)
                        else:
                            await wishes.receive()
            except Overflow:
                continue
            except Unavailable as exc:
                logger.warning("a migration waits", extra={"reason": exc.message, "again_in_s": RETRY_S})
                await trio.sleep(RETRY_S)

    async def _carry_out(self, wish: DomainMigration) -> None:
        """Bring one migration to its end.

        Cancellation: the next start goes on.
        """
        logger.info("moving", extra={"from": wish.old_domain, "to": wish.domain})
        try:
            cert = await trio.to_thread.run_sync(self._certificate, wish)
        except (NoCertificate, OSError) as exc:
            error = f"moving from {wish.old_domain} to {wish.domain}: {exc}"
            logger.warning("not moved", extra={"error": error})
            await self._store.transact(partial(changes.finish_domain_migration, migration_id=wish.id, error=error))
            return
        await self._store.transact(partial(changes.switch_domain, migration_id=wish.id, cert=cert))
        await self._refresh()
        try:
            await trio.to_thread.run_sync(publish_certificates, self._keys, wish.domain, cert)
        except OSError as exc:  # the store has it, and the next start puts it there
            logger.error("certificate files not written", extra={"directory": str(self._keys), "reason": str(exc)})
        await self._store.transact(partial(changes.finish_domain_migration, migration_id=wish.id))
        logger.info("moved", extra={"from": wish.old_domain, "to": wish.domain})

    def _certificate(self, wish: DomainMigration) -> TLSCert:
        """Return what the new domain is served with. Blocks: it may have to be made.

        Raises:
            NoCertificate: what was given does not do.
        """
        now = self._clock.now()
        if wish.tls_cert is None:
            return issue(self._keys, wish.domain, now=now)
        fault = fault_of(wish.tls_cert, self._keys, wish.domain, now=now)
        if fault:
            raise NoCertificate(f"the given certificate cannot be used: {fault}")
        try:
            return replace(wish.tls_cert, pin=pin(wish.tls_cert.cert))
        except ValueError as exc:
            raise NoCertificate(f"the given certificate cannot be used: {exc}") from exc
