"""The appliance: every part, in the order they start; the one place that knows all of them.

Each `open_*` owns a nursery; entering means *ready*, leaving means *drained*. Reading downwards is
the start, upwards the drain: the front doors close first, then those who serve, then those who run
the jobs. The jobs themselves are Podman's: they stay, and the next start adopts them.
"""

import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import trio

from .bootstrap import prepare_domain, prepare_files, prepare_rows, prepare_system_apps
from .clock import Clock, SystemClock
from .controller import open_controller
from .discoverd import open_discoverd
from .domain import open_migrations
from .engine import Engine, RunState, open_engine
from .errors import FlynnError
from .images import open_layers
from .logs import open_logs, open_sinks
from .model import JobID, JobState
from .names import Names
from .providers import Providers
from .receive import Stack, open_receive
from .router import Listeners, open_front, open_router
from .scheduler import open_scheduler
from .settings import EngineSettings, Settings
from .sink_source import StoredSinks
from .store import Database, Keyring, open_store, queries

logger = logging.getLogger(__name__)

Say = Callable[[str], Awaitable[None]]
OpenEngine = Callable[[EngineSettings], AbstractAsyncContextManager[Engine]]


NAMED = 5
"""How many of the apps that are not up yet are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Everything serves; address and ports are the real ones, also where the settings said any."""

    address: str
    http_port: int
    https_port: int
    domain: str


async def run(
    settings: Settings,
    stop: trio.Event,
    *,
    say: Say,
    ready: Callable[[Ready], Awaitable[None]],
    open_engine: OpenEngine = open_engine,
    listeners: Listeners | None = None,
    clock: Clock | None = None,
) -> None:
    """Run the appliance until `stop` is set, then drain it from the front doors inwards.

    Args:
        say: told what is being done, line by line, while it starts.
        ready: called once, when everything serves.
        open_engine: Podman's; a test has jobs in memory.
        listeners: sockets that listen already; without them the settings' ports are bound.

    Raises:
        FlynnError: it cannot start here, alone or within exception groups; the message says what to do.
    """
    clock = clock or SystemClock()
    trio.socket.set_custom_hostname_resolver(Names())
    await trio.to_thread.run_sync(prepare_files, settings)
    async with open_store(settings.store, clock) as store:
        domain = await prepare_rows(store, settings)
        certificate = await prepare_domain(store, settings, domain, now=clock.now())
        await prepare_system_apps(store, settings, domain, certificate)
        keys = Keyring(store, clock)
        async with (
            open_engine(settings.engine) as engine,
            open_logs(settings.logs, engine, clock) as logs,
            open_sinks(logs, StoredSinks(store), clock),
            open_discoverd(
                settings.discoverd, store, clock, running=await _running(engine), listening=engine.listening
            ) as services,
            open_router(settings.router, store, services) as router,
            open_scheduler(
                settings.scheduler,
                store,
                engine,
                services,
                clock,
                drained=router.drained,
                tail=logs.tail,
                note=logs.note,
            ) as inquiry,
            open_receive(settings.build, store, keys, engine, clock, why=inquiry.of_job) as receive,
            open_layers(settings.images, store, engine, clock) as layers,
            open_controller(
                settings.controller,
                store,
                keys,
                engine,
                logs,
                services,
                clock,
                git=receive.app,
                layers=layers,
                slugs=receive.slugs,
                providers=Providers(settings.providers, services),
            ) as controller,
            open_front(
                settings.router,
                router,
                doors={
                    "controller": controller.dial("controller"),
                    "git": controller.dial("git"),
                    "images": controller.dial("images"),
                },
                listeners=listeners,
            ) as front,
            open_migrations(store, clock, keys=settings.data_dir / "keys", refresh=router.refresh),
        ):
            await logs.keep_only({app.id for app in await store.read(queries.apps)})

            async def finish() -> None:
                gc.freeze()  # what is loaded now stays: full collections need not look at it again
                gc.enable()  # `main.up` had put it off
                await _make_stack(receive.stack, say)
                if late := await store.read(_not_up_yet):
                    names = ", ".join(late[:NAMED]) + (f" and {len(late) - NAMED} more" if len(late) > NAMED else "")
                    await say(f"not up yet: {names}; to see how far they are, type: flynn-aio status")
                now = await store.read(queries.domain)  # a migration that was cut short has gone on
                await ready(
                    Ready(address=front.address, http_port=front.http_port, https_port=front.https_port, domain=now)
                )

            async with trio.open_nursery() as start:
                start.start_soon(finish)
                await stop.wait()
                start.cancel_scope.cancel("told to stop")


async def _running(engine: Engine) -> dict[JobID, str]:
    """Return the address of each job that runs. What the rows say of others is from before we were away."""
    return {status.id: status.address for status in await engine.jobs() if status.state is RunState.RUNNING}


def _not_up_yet(db: Database) -> list[str]:
    """Return the names of the apps of which less is up than is wanted: after a `down`, all of them."""
    desired = queries.desired(db)
    up = Counter((job.job.release, job.job.type) for job in desired.jobs if job.job.state is JobState.UP)
    late = {
        wanted.app.name
        for wanted in desired.formations
        if any(up[wanted.release.id, kind] < count for kind, count in wanted.processes.items())
    }
    return sorted(late)


async def _make_stack(stack: Stack, say: Say) -> None:
    """Make the images every push needs. Without them everything else still works, and a push tries again."""
    try:
        await stack.ensure(None, say)
    except FlynnError as exc:
        logger.warning("no stack images", extra={"error": str(exc)})
        await say(f"warning: {exc}")
