"""Lifecycle: an engine from open to drained, and the end of all it ever made."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import trio

from ..clock import Clock, SystemClock
from ..errors import EngineError
from ..settings import EngineSettings
from .calls import Calls
from .exits import ExitFiles, watch_oom
from .host import look
from .network import ensure_network
from .podman import PodmanEngine
from .protocol import Engine
from .service import PodmanService
from .sweep import sweep
from .watcher import Watcher

logger = logging.getLogger(__name__)

EXITS = (Path("/run/libpod/exits"), Path("/var/run/libpod/exits"))
"""Where conmon leaves exit files: below Podman's `tmpdir`, which its service makes when it starts."""


@asynccontextmanager
async def open_engine(settings: EngineSettings, clock: Clock | None = None) -> AsyncIterator[Engine]:
    """Have Podman run jobs while the block runs; jobs and Podman's service go on behind it.

    Entering means: the service answers, the network is there, what a crash left is swept, and every job
    that runs is adopted.

    Raises:
        EngineError: Podman is missing, too old or hangs, or the subnet is taken.
    """
    for directory in (settings.run_dir, settings.log_dir, settings.slug_dir, settings.volume_dir):
        directory.mkdir(parents=True, exist_ok=True)
    service = PodmanService(settings, look(settings))
    await service.start()
    calls = Calls(service.client, settings)
    with closing(ExitFiles(_exits_directory())) as exit_files:
        async with trio.open_nursery() as nursery:
            watcher = Watcher(
                nursery, log_dir=settings.log_dir, clock=clock or SystemClock(), exit_files=exit_files, calls=calls
            )
            engine = PodmanEngine(settings, service, calls, watcher)
            await ensure_network(calls, settings)
            await sweep(calls, settings, in_flight=lambda: engine.in_flight)
            nursery.start_soon(exit_files.run)
            nursery.start_soon(watch_oom, watcher.note_oom)
            await engine.look_around()
            await engine.remove_stray_files()
            nursery.start_soon(service.run)
            nursery.start_soon(_keep_in_step, settings, service, calls, engine)
            yield engine
            nursery.cancel_scope.cancel()


async def _keep_in_step(settings: EngineSettings, service: PodmanService, calls: Calls, engine: PodmanEngine) -> None:
    """Look around every now and then, and sweep first when a new service took over."""
    while True:
        generation = service.generation.value
        with trio.move_on_after(settings.resync_s):
            await service.generation.moved_past(generation)
        try:
            if service.generation.value != generation:
                await ensure_network(calls, settings)
                await sweep(calls, settings, in_flight=lambda: engine.in_flight)
            await engine.look_around()
        except EngineError as exc:
            logger.warning("podman not looked at", extra={"why": exc.message})


def _exits_directory() -> Path:
    for directory in EXITS:
        if directory.is_dir():
            return directory
    raise EngineError(f"cannot watch for exits: Podman's directory is at none of {', '.join(map(str, EXITS))}")
