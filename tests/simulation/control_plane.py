"""The control plane as `appliance.run` puts it together, without what needs a socket or a person."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import trio

from flynn_aio.discoverd import Services, Snapshot, open_monitor
from flynn_aio.engine import RunState
from flynn_aio.model import JobID
from flynn_aio.router import Router
from flynn_aio.router.forward import Upstreams
from flynn_aio.router.pages import Pages
from flynn_aio.router.pool import Pool
from flynn_aio.router.sticky import CookieKey
from flynn_aio.router.tcp import TcpRoutes
from flynn_aio.router.wire import Watchman
from flynn_aio.scheduler import open_scheduler
from flynn_aio.settings import RouterSettings, SchedulerSettings, StoreSettings
from flynn_aio.store import Store, open_store
from flynn_aio.watch import Watch

from ..support.certs import Authority
from .gate import Gate, GatedEngine
from .machine import Machine

PROBE_TIMEOUT_S = 2.0
BUSY_TIMEOUT_S = 15.0
SCHEDULING = SchedulerSettings(slug_dir=Path("/slugs"), gateway="127.105.0.1", host_features=())
ROUTING = RouterSettings(certificate=Path(), key=Path())
ALL_PAGES = 2**32 - 2
"""What SQLite allows a database at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """What serves between a boot and a kill.

    Attributes:
        requests: where those of the API are carried out.
    """

    store: Store
    engine: GatedEngine
    services: Services
    router: Router
    requests: trio.Nursery


@asynccontextmanager
async def open_control_plane(machine: Machine, gate: Gate) -> AsyncIterator[ControlPlane]:
    """Boot on a machine; what it does while the block runs goes through the gate."""
    engine = GatedEngine(machine.engine, gate)
    settings = StoreSettings(path=machine.path, busy_timeout_s=0)
    async with open_store(settings, machine.clock, run_blocking=machine.run_blocking) as store:
        _let_wait(store)
        store.transact = partial(gate.commit, partial(_transact, store, machine, store.transact))
        running = {status.id: status.address for status in await engine.jobs() if status.state is RunState.RUNNING}
        async with (
            open_services(store, machine, engine, running) as services,
            open_routing(store, services, machine) as router,
            open_scheduler(SCHEDULING, store, engine, services, machine.clock, drained=router.drained),
            trio.open_nursery() as requests,
        ):
            yield ControlPlane(store=store, engine=engine, services=services, router=router, requests=requests)
            requests.cancel_scope.cancel()


def _let_wait(store: Store) -> None:
    """Let changes wait for their turn, but not for a lock: SQLite waits in real time, the virtual clock would stop."""
    commit = store._commit
    store._commit = lambda change, now, patience_s: commit(change, now, 0.0)
    store._settings = replace(store._settings, busy_timeout_s=BUSY_TIMEOUT_S)


async def _transact(store: Store, machine: Machine, transact, change):
    """Write, with as much room as the disk has."""
    most = machine.most_pages
    if most is None:
        return await transact(change)
    store._writer.conn.execute(f"PRAGMA max_page_count = {most}")  # never below what there is already
    try:
        return await transact(change)
    finally:
        store._writer.conn.execute(f"PRAGMA max_page_count = {ALL_PAGES}")


@asynccontextmanager
async def open_services(
    store: Store, machine: Machine, engine: GatedEngine, running: Mapping[JobID, str]
) -> AsyncIterator[Services]:
    """Have discoverd without DNS."""
    snapshot = Watch(Snapshot())
    async with open_monitor(
        store,
        snapshot,
        probe_timeout_s=PROBE_TIMEOUT_S,
        probe=machine.probe,
        clock=machine.clock,
        running=running,
        listening=engine.listening,
    ) as followed:
        yield Services(snapshot=snapshot, followed=followed)


@asynccontextmanager
async def open_routing(store: Store, services: Services, machine: Machine) -> AsyncIterator[Router]:
    """Have the router without its doors: it knows where a request goes, and when a job is drained."""
    watchman = Watchman()
    upstreams = Upstreams(ROUTING, Pool(ROUTING, watchman), services.snapshot, Pages(b""), CookieKey(bytes(32)))
    upstreams.random = machine.dice
    router = Router(store, services, upstreams, watchman, default=_certificate())
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(router.follow_routes, TcpRoutes(ROUTING, upstreams, watchman, nursery))
            nursery.start_soon(router.follow_services)
            yield router
            nursery.cancel_scope.cancel()
    finally:
        watchman.close()


@cache
def _certificate() -> tuple[bytes, bytes]:
    pair = Authority().leaf("flynn.test")
    return pair.cert.encode(), pair.key.encode()
