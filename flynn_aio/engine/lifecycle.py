"""Lifecycle: an engine from open to drained, and the end of all it ever made."""

import fcntl
import logging
import os
import shutil
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from ..clock import Clock, SystemClock
from ..errors import EngineError
from ..model import JobID
from ..settings import EngineSettings
from .calls import Calls
from .exits import ExitFiles, watch_oom
from .host import look
from .layers import LayerImages
from .network import delete_link, drop_address, ensure_network, keep_link_address
from .podman import PodmanEngine, hosts_directory
from .protocol import Engine, JobStatus
from .scratch import watch_scratch
from .service import PodmanService, find_service, service_paths
from .sweep import SUSPICION_S, remove_suspects, sweep
from .watcher import Watcher

logger = logging.getLogger(__name__)

EXITS = (Path("/run/libpod/exits"), Path("/var/run/libpod/exits"))
"""Where conmon leaves exit files: below Podman's `tmpdir`, which its service makes when it starts."""

LONGEST_STOP_S = 60.0
"""Whatever a job asks for: who types `flynn-aio down` waits for it."""

LEFTOVERS_S = 5.0
"""How soon to look again while something could not be removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What `shut_down` took away: the jobs it found, whether there were a network and a service."""

    jobs: tuple[JobID, ...]
    network: bool
    service: bool


@asynccontextmanager
async def open_engine(settings: EngineSettings, clock: Clock | None = None) -> AsyncIterator[Engine]:
    """Have Podman run jobs while the block runs; jobs and Podman's service go on behind it.

    Entering means: the service answers, the network is there, what a crash left is swept, and every job
    that runs is adopted. Only one process at a time minds the service and puts things away; a second one,
    such as a command beside the running appliance, is a guest and works with what it finds.

    Raises:
        EngineError: Podman is missing, too old or hangs, or the subnet is taken.
    """
    with _claim(settings) as is_owner:
        async with (
            _open_service(settings, is_owner=is_owner) as (service, calls),
            _open_network(settings, calls),
            _open_engine(settings, service, calls, clock or SystemClock(), is_owner=is_owner) as engine,
        ):
            yield engine


async def shut_down(settings: EngineSettings, *, kill_s: float = 10.0) -> Removed:
    """Stop and remove all that this appliance ever made in Podman, and its Podman service.

    The appliance itself must have ended: it would start its service and its jobs again. Images of the stack
    stay: they cost minutes to make again. Those made of layers go: their layers are still there.

    Args:
        kill_s: seconds until SIGKILL for a job that does not say itself how many it needs, of which it gets
            `LONGEST_STOP_S` at most; 0 is SIGKILL at once, for all.

    Raises:
        EngineError: Podman is missing or does not answer, or a job cannot be removed.
    """
    with closing(find_service(service_paths(settings))) as found:
        was_running = not found.has_ended
    async with _open_service(settings, is_owner=True) as (service, calls):
        async with _open_engine(settings, service, calls, SystemClock(), is_owner=True) as engine:
            statuses = await engine.jobs()
            async with trio.open_nursery() as nursery:
                for status in statuses:
                    nursery.start_soon(_end_job, engine, status, kill_s)
        await LayerImages(settings, calls).keep(())
        if suspects := await sweep(calls, settings, in_flight=frozenset):
            await trio.sleep(SUSPICION_S)
            await remove_suspects(calls, suspects)
        network = await calls.remove_network(settings.network)
        await service.terminate()
    await trio.to_thread.run_sync(_remove_traces, settings)
    return Removed(jobs=tuple(status.id for status in statuses), network=network, service=was_running)


async def _end_job(engine: PodmanEngine, job: JobStatus, kill_s: float) -> None:
    await engine.stop(job.id, kill_s=min(job.stop_s or kill_s, LONGEST_STOP_S) if kill_s else 0.0)
    await engine.remove(job.id)


def _remove_traces(settings: EngineSettings) -> None:
    """Remove what the service and the jobs left beside Podman. Blocks."""
    delete_link(settings.network)
    drop_address(settings.gateway)
    shutil.rmtree(service_paths(settings).directory, ignore_errors=True)
    shutil.rmtree(hosts_directory(settings), ignore_errors=True)


@contextmanager
def _claim(settings: EngineSettings) -> Iterator[bool]:
    """Try to be the one who minds Podman's service while the block runs; yield whether we are.

    The kernel gives the claim back when we die, however we die.
    """
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(settings.run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_owner = True
        except BlockingIOError:
            is_owner = False
        yield is_owner
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _open_service(settings: EngineSettings, *, is_owner: bool) -> AsyncIterator[tuple[PodmanService, Calls]]:
    for directory in (settings.log_dir, settings.slug_dir, settings.layer_dir, settings.volume_dir):
        directory.mkdir(parents=True, exist_ok=True)
    service = PodmanService(settings, look(settings))
    if is_owner:
        adopted = await service.start()
    else:
        await service.join()
        adopted = True
    try:
        yield service, Calls(service.client, settings)
    except Exception:
        if not adopted:  # started for something that failed; jobs do not need it
            await service.terminate()
        raise
    finally:
        service.close()


@asynccontextmanager
async def _open_network(settings: EngineSettings, calls: Calls) -> AsyncIterator[None]:
    """Have the network. One made for a start that then failed goes again: it would hold its subnet."""
    is_new = await ensure_network(calls, settings)
    await trio.to_thread.run_sync(keep_link_address, settings.network)
    try:
        yield
    except Exception:
        if is_new:
            with suppress(EngineError):  # jobs are in it by now
                await calls.remove_network(settings.network)
        raise


@asynccontextmanager
async def _open_engine(
    settings: EngineSettings, service: PodmanService, calls: Calls, clock: Clock, *, is_owner: bool
) -> AsyncIterator[PodmanEngine]:
    with closing(ExitFiles(_exits_directory())) as exit_files, ExitStack() as after_the_tasks:
        async with trio.open_nursery() as nursery:
            watcher = Watcher(nursery, log_dir=settings.log_dir, clock=clock, exit_files=exit_files, calls=calls)
            after_the_tasks.callback(watcher.close)  # they wait on its descriptors
            engine = PodmanEngine(settings, service, calls, watcher, is_owner=is_owner)
            nursery.start_soon(exit_files.run)
            nursery.start_soon(watch_oom, watcher.note_oom)
            await engine.look_around()
            if is_owner:
                suspects = await sweep(calls, settings, in_flight=lambda: engine.in_flight)
                await engine.remove_stray_files()
                nursery.start_soon(service.run)
                nursery.start_soon(watch_scratch, watcher)
                nursery.start_soon(_keep_in_step, settings, service, calls, engine, suspects)
            yield engine
            nursery.cancel_scope.cancel()


async def _keep_in_step(
    settings: EngineSettings,
    service: PodmanService,
    calls: Calls,
    engine: PodmanEngine,
    suspects: Collection[Path],
) -> None:
    """Look around every now and then; sweep as well when a new service took over.

    In that order: what a killed service left half made must be removed for Podman to forget it, and only
    then are its conmon and its network namespace seen to belong to nobody. A start that is tried again
    removes its own later on, so a sweep follows that, too.

    Args:
        suspects: what the sweep at boot was not sure of.
    """
    swept, suspected_at = (service.generation.value, engine.late_removals), trio.current_time()
    while True:
        seen = service.generation.value
        unfinished = engine.has_leftovers or suspects or (seen, engine.late_removals) != swept
        with trio.move_on_after(min(LEFTOVERS_S, settings.resync_s) if unfinished else settings.resync_s):
            await service.generation.moved_past(seen)
        try:
            await engine.look_around()
            if trio.current_time() - suspected_at >= SUSPICION_S:
                await remove_suspects(calls, suspects)
                suspects = ()
            if (due := (service.generation.value, engine.late_removals)) != swept:
                await ensure_network(calls, settings)
                suspects = {*suspects, *await sweep(calls, settings, in_flight=lambda: engine.in_flight)}
                swept, suspected_at = due, trio.current_time()
        except EngineError as exc:
            logger.warning("podman not looked at", extra={"why": exc.message})


def _exits_directory() -> Path:
    for directory in EXITS:
        if directory.is_dir():
            return directory
    raise EngineError(f"cannot watch for exits: Podman's directory is at none of {', '.join(map(str, EXITS))}")
