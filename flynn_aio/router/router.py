"""Router: keeps what the hot path reads up to date, and knows when a job is drained.

Routes come from the store, backends from discoverd. Requests read both as they are at that
moment; nothing is copied per request, and a change costs no connection.
"""

import logging
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from secrets import token_bytes

import trio

from ..discoverd import Services
from ..errors import FlynnError, Unavailable
from ..model import JOB_META, Instance, JobID
from ..settings import RouterSettings
from ..store import Database, EventFilter, Overflow, Store, Transaction, changes, queries
from .domains import Domains
from .forward import Upstreams
from .listener import Front, Listeners, open_listening
from .pages import Pages
from .pool import Dial, Pool, departed
from .sticky import CookieKey
from .table import Table
from .tcp import TcpRoutes
from .tls import Certificates, listening_context
from .wire import Watchman

logger = logging.getLogger(__name__)

COOKIE_KEY = "router_cookie_key"
"""Under which name the store keeps the key of the sticky cookies, in base64."""
COOKIE_KEY_BYTES = 32
TIDY_S = 15.0
RESYNC_S = 2.0
"""Pause before the routes are read again after the store could not answer; as upstream after a lost stream."""
_ROUTE_EVENTS = EventFilter(object_types=frozenset({"route", "route_deletion", "app_deletion", "domain_migration"}))


class CertificateError(FlynnError):
    """The cluster's own certificate cannot be used."""


class Router:
    """Everything about requests but the front doors; see `open_router`."""

    def __init__(
        self,
        store: Store,
        services: Services,
        upstreams: Upstreams,
        watchman: Watchman,
        *,
        default: tuple[bytes, bytes],
    ) -> None:
        self._store = store
        self._services = services
        self.upstreams = upstreams
        self.watchman = watchman
        self._domains = Domains()
        self._dials: Mapping[str, Dial] = {}
        try:
            self.context = listening_context(*default, self._find_context)
            self._certificates = Certificates(self.context)
        except (ssl.SSLError, ValueError) as exc:
            raise CertificateError(
                f"loading the cluster's certificate and key: {exc}; "
                "remove both files to have new ones made at the next start"
            ) from exc

    def _find_context(self, host: str) -> ssl.SSLContext | None:
        if not host or host in self.upstreams.doors:
            return self._certificates.context(None, host)
        site = self.upstreams.table.site(host)
        return self._certificates.context(site.keypair, host) if site else None

    async def drained(self, job: JobID) -> None:
        """Wait until a job can be stopped without a request noticing.

        That is when none of its instances is in the snapshot or can still come into it, so that no new request
        goes there, and nothing is in flight on it. Requests of routes without `drain_backends` are not waited for.
        """
        pool, followed = self.upstreams.pool, self._services.followed
        stopped = self._store.changes.version
        while followed.value < stopped:  # a job that is told to stop while it starts might be registered meanwhile
            await followed.moved_past(followed.version)
        while True:
            seen = pool.drained.version
            if not self._is_registered(job) and not pool.is_busy(job):
                return
            await pool.drained.moved_past(seen)

    def _is_registered(self, job: JobID) -> bool:
        snapshot = self._services.snapshot.value
        return any(
            instance.meta.get(JOB_META) == job for instances in snapshot.instances.values() for instance in instances
        )

    async def refresh(self) -> None:
        """Read all routes and domains and put them in use. Their certificates are ready before they are."""
        table, domains = await self._store.read(_read_table)
        await self._certificates.prepare(table.keypairs, domains)
        self._domains = domains
        self.upstreams.table = table
        self.upstreams.doors = domains.doors(self._dials)

    def open_doors(self, dials: Mapping[str, Dial]) -> None:
        """Answer for the appliance's own hosts: label below the cluster's domains -> one new connection."""
        self._dials = dials
        self.upstreams.doors = self._domains.doors(dials)

    async def follow_routes(
        self, tcp: TcpRoutes, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep the table up to date; started once it has been read."""
        while True:
            async with self._store.subscribe(_ROUTE_EVENTS) as events:
                try:
                    while True:
                        await self.refresh()
                        tcp.follow(self.upstreams.table.tcp)
                        task_status.started()
                        task_status = trio.TASK_STATUS_IGNORED
                        await events.receive()
                except Overflow:
                    logger.warning("missed route events", extra={"then": "all routes are read again"})
                except Unavailable as exc:
                    logger.warning("routes could not be read", extra={"reason": exc.message, "again_in_s": RESYNC_S})
                    await trio.sleep(RESYNC_S)

    async def follow_services(self) -> None:
        """Forget backends that left, and wake those who wait for that."""
        watch = self._services.snapshot
        before: Mapping[str, Sequence[Instance]] = {}
        while True:
            seen, now = watch.version, watch.value.instances
            self.upstreams.pool.retire(departed(before, now))
            self.upstreams.pool.drained.ring()
            before = now
            await watch.moved_past(seen)

    async def tidy(self) -> None:
        """Close what nobody used for a while, until cancelled."""
        while True:
            await trio.sleep(TIDY_S)
            instances = self._services.snapshot.value.instances
            self.upstreams.pool.retain(each for found in instances.values() for each in found)
            self.upstreams.pool.tidy()


@asynccontextmanager
async def open_router(settings: RouterSettings, store: Store, services: Services) -> AsyncIterator[Router]:
    """Read routes and certificates and follow their changes while the block runs. Nothing listens for HTTP yet.

    Raises:
        CertificateError: the cluster's certificate and key do not load.
    """
    page, certificate, key = await trio.to_thread.run_sync(_read_files, settings)
    cookies = CookieKey(await store.transact(_cookie_key))
    watchman = Watchman()
    pool = Pool(settings, watchman)
    upstreams = Upstreams(settings, pool, services.snapshot, Pages(page), cookies)
    router = Router(store, services, upstreams, watchman, default=(certificate, key))
    try:
        async with trio.open_nursery() as nursery:
            tcp = TcpRoutes(settings, upstreams, watchman, nursery)
            await nursery.start(router.follow_routes, tcp)
            nursery.start_soon(router.follow_services)
            nursery.start_soon(router.tidy)
            nursery.start_soon(watchman.run)
            yield router
            nursery.cancel_scope.cancel()
    finally:
        watchman.close()


def open_front(
    settings: RouterSettings,
    router: Router,
    *,
    doors: Mapping[str, Dial],
    listeners: Listeners | None = None,
) -> AbstractAsyncContextManager[Front]:
    """Open the front doors while the block runs; leaving it drains them.

    Args:
        doors: first label of a host below any of the cluster's domains -> one new in-process connection that
            speaks HTTP/1.1. They win over routes.
        listeners: sockets that listen already, from `inherited`; without them the settings' ports are bound.

    Raises:
        ListenError: a port cannot be listened on.
    """
    router.open_doors(doors)
    return open_listening(settings, router.upstreams, router.watchman, router.context, listeners=listeners)


def _read_table(db: Database) -> tuple[Table, Domains]:
    return Table(queries.routes(db)), Domains.of(queries.domain(db), queries.domain_certificates(db))


def _read_files(settings: RouterSettings) -> tuple[bytes, bytes, bytes]:
    """Return the custom 503 page, the cluster's chain and its key."""
    try:
        page = Path(settings.error_503_page).read_bytes() if settings.error_503_page else b""
        return page, settings.certificate.read_bytes(), settings.key.read_bytes()
    except OSError as exc:
        raise CertificateError(f"reading {exc.filename}: {exc.strerror}; is [router] in flynn.toml right?") from exc


def _cookie_key(tx: Transaction) -> bytes:
    """Return the cluster's cookie key, made at the first start."""
    stored = queries.cluster_value(tx.db, COOKIE_KEY)
    if stored:
        return b64decode(stored)
    key = token_bytes(COOKIE_KEY_BYTES)
    changes.set_cluster_value(tx, COOKIE_KEY, b64encode(key).decode())
    return key
