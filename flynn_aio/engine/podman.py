"""Podman: the engine that runs jobs as containers on this machine.

What is hot goes over our own small client, see `client.py` for the reason. Podman is asked to make and to
remove; whether a job runs, how it ended and how to signal it is known from the kernel (`watcher.py`), so a
hung or killed service hides nothing. Every call stands under a deadline.
"""

import logging
import os
import signal
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from ..errors import EngineError, NotFound, StartError
from ..model import JobID, VolumeID
from ..settings import EngineSettings
from ..watch import Bell
from .addresses import Addresses
from .attach import PodmanAttachment
from .calls import Calls, deadline
from .client import BareStream, Refused
from .containers import (
    LOST_EXIT_CODE,
    Listed,
    create_body,
    is_address_taken,
    is_logged,
    is_name_taken,
    start_failure,
    status_of,
)
from .layers import LayerImages
from .network import have_address, keep_link_address
from .protocol import Attachment, JobSpec, JobStatus, RunState, new_status
from .scratch import scratch_of
from .service import PodmanService
from .sockets import listening
from .sweep import remove_groups_of
from .volumes import Bind, bind_all, check_free, directory_of, find_volumes, make_volume, remove_tree
from .watcher import Container, Watcher

logger = logging.getLogger(__name__)

START_TRIES = 8
"""How often a start goes around an address or a name that is taken."""

LATE_CREATION_S = (0.02, 0.1, 0.5)
"""Podman goes on with a creation whose caller has left: how long to wait before looking for it once more."""

CLEANUP_S = 10.0
"""How long leaving may take: a removal needs 0.2 s; what does not fit is left to the next look around."""

KILLED_S = 10.0
"""How long after SIGKILL a process may still be there, e.g. in a write to a dying disk."""


def hosts_directory(settings: EngineSettings) -> Path:
    """Return where each job's `/etc/hosts` lies, in a file named after the job."""
    return settings.run_dir / "hosts"


@dataclass(frozen=True, slots=True)
class _Start:
    """A start under way; `settled` when it has come to something."""

    spec: JobSpec
    settled: trio.Event = field(default_factory=trio.Event)


class PodmanEngine:
    """An `Engine` over Podman. Make one with `open_engine`.

    Args:
        is_owner: whether half-made containers can only be leftovers, since nobody else starts any.

    Attributes:
        late_removals: how many half-made containers were removed by another service than made them: a removal says
            yes and leaves what only a sweep finds (`findings.md` §11).
    """

    def __init__(
        self, settings: EngineSettings, service: PodmanService, calls: Calls, watcher: Watcher, *, is_owner: bool
    ) -> None:
        self._settings = settings
        self._service = service
        self._calls = calls
        self._watcher = watcher
        self._is_owner = is_owner
        self._layers = LayerImages(settings, calls)
        self._addresses = Addresses(settings.subnet, start=os.getpid())
        self._limiter = trio.CapacityLimiter(settings.parallel_starts)
        self._in_flight: dict[JobID, _Start] = {}
        self._volumes: set[VolumeID] = set()
        self._doomed: set[JobID] = set()
        self._removed: set[str] = set()
        self.late_removals = 0

    @property
    def bell(self) -> Bell:
        return self._watcher.bell

    @property
    def well_since(self) -> float:
        return self._service.well_since

    @property
    def in_flight(self) -> frozenset[JobID]:
        """Jobs whose start is under way: half-made containers of theirs are no leftovers."""
        return frozenset(self._in_flight)

    @property
    def has_leftovers(self) -> bool:
        """Whether something could not be removed and waits for the next look around."""
        return bool(self._doomed)

    async def jobs(self) -> list[JobStatus]:
        await trio.lowlevel.checkpoint()
        return [container.status for container in self._watcher]

    async def start(self, spec: JobSpec) -> JobStatus:
        await self._settled(spec.id)
        known = self._watcher.get(spec.id)
        if known is not None:
            return known.status
        container, _ = await self._launch(spec, attached=False)
        return container.status

    async def stop(self, job: JobID, *, kill_s: float) -> None:
        await self._settled(job)
        container = self._watcher.get(job)
        if container is None or container.ended.is_set():
            return
        if kill_s:
            container.deliver(container.status.stop_signal)
        with trio.move_on_after(kill_s):
            await container.ended.wait()
            return
        container.deliver(signal.SIGKILL)
        with deadline(f"stop job {job}", KILLED_S + self._settings.call_timeout_s):
            await container.ended.wait()

    async def signal(self, job: JobID, number: int) -> None:
        await self._settled(job)
        container = self._watcher.get(job)
        if container is None or container.ended.is_set() or not container.deliver(number):
            raise NotFound(f"cannot signal job {job}: no running job has this id")

    async def listening(self, job: JobID) -> tuple[str, ...] | None:
        await self._settled(job)
        container = self._watcher.get(job)
        if container is None or container.ended.is_set():
            return None
        found = await trio.to_thread.run_sync(listening, container.process.pid, abandon_on_cancel=True)
        return None if container.process.has_ended else found  # the pid may be somebody else's by then

    async def remove(self, job: JobID) -> None:
        await self._settled(job)
        async with self._limiter:
            await self._discard(job)

    @asynccontextmanager
    async def attach(self, spec: JobSpec) -> AsyncIterator[Attachment]:
        if spec.id in self._in_flight or self._watcher.get(spec.id):
            raise EngineError(f"cannot attach to job {spec.id}: it has been started already")
        container, bare = await self._launch(spec, attached=True)
        assert bare is not None
        attachment = PodmanAttachment(container, bare, service=self._service, tty=spec.tty, resize=self._calls.resize)
        try:
            yield attachment
        finally:
            await self._tidy(spec.id, bare)

    async def volumes(self) -> frozenset[VolumeID]:
        await trio.lowlevel.checkpoint()
        return frozenset(self._volumes)

    async def create_volume(self, volume: VolumeID) -> None:
        await trio.to_thread.run_sync(make_volume, self._settings.volume_dir, volume)
        self._volumes.add(volume)

    async def remove_volume(self, volume: VolumeID) -> None:
        if any(volume in held for held in self._held_volumes()):
            raise EngineError(f"cannot remove volume {volume}: volumes in use: {volume}")
        await remove_tree(directory_of(self._settings.volume_dir, volume))
        self._volumes.discard(volume)

    async def image_exists(self, image: str) -> bool:
        return await self._calls.image_exists(image)

    async def pull_image(self, image: str) -> None:
        await self._calls.pull_image(image)

    async def import_image(self, tar: Path, image: str) -> None:
        await self._calls.import_image(tar, image)

    async def commit(self, job: JobID, image: str) -> None:
        container = self._watcher.get(job)
        if container is None:
            raise NotFound(f"cannot commit job {job}: there is no such job")
        from .images import commit_container

        await commit_container(self._service.paths.socket, container.id, image)

    async def make_image(self, layers: tuple[str, ...]) -> None:
        await self._layers.ensure(layers, doing="make an image of the layers")

    async def keep_images(self, wanted: Collection[tuple[str, ...]]) -> bool:
        return await self._layers.keep(wanted)

    async def _settled(self, job: JobID) -> None:
        """Wait while a start of this job is under way."""
        await trio.lowlevel.checkpoint()
        while job in self._in_flight:
            await self._in_flight[job].settled.wait()

    async def look_around(self) -> None:
        """Compare what we know with Podman's list: adopt what runs, drop what is gone, remove what is half made.

        Raises:
            EngineError: Podman does not answer; what we know stays as it is.
        """
        self._volumes = await trio.to_thread.run_sync(find_volumes, self._settings.volume_dir)
        self._removed = removed = set[str]()
        doomed = set(self._doomed)
        before = [(container.status.id, container.id) for container in self._watcher]
        rows = {row.id: row for row in await self._calls.list_ours()}
        for job, id in before:
            container = self._watcher.get(job)
            if container is not None and container.id == id and id not in rows:
                self._forget(job)
        self._doomed -= doomed - {row.job for row in rows.values()}
        for row in rows.values():
            if row.id not in removed and row.job not in self._in_flight:
                await self._look_at(row)

    async def _look_at(self, row: Listed) -> None:
        container = self._watcher.get(row.job)
        if container is not None:  # of another id, the row is older than what we know
            self._watcher.check_memory(container)
            return
        if row.job in self._doomed or row.run_state is RunState.CREATED:
            if row.job in self._doomed or self._is_owner:
                await self._discard(row.job, id=row.id)
            return
        inspected = await self._calls.inspect(row.id)
        if inspected is None:
            return
        self._addresses.note_used([row.address])
        status = status_of(row)
        status = replace(status, started_at=inspected.started_at or status.started_at)
        running = status.state is RunState.RUNNING
        self._watcher.add(
            row.id,
            status,
            is_logged=row.is_logged,
            pid=inspected.state.pid if running else 0,
            keeper_pid=inspected.state.conmon_pid if running else 0,
            adopted=True,
            temp_disk_bytes=row.temp_disk_bytes,
            scratch=scratch_of(inspected),
        )
        logger.info("job adopted", extra={"job": row.job, "state": status.state.value})

    # -- starting ------------------------------------------------------------------------------

    async def _launch(self, spec: JobSpec, *, attached: bool) -> tuple[Container, BareStream | None]:
        """Create and start a container, its streams attached in between when they are wanted."""
        doing = f"start job {spec.id}"
        check_free(spec, self._held_volumes())
        start = self._in_flight[spec.id] = _Start(spec)
        try:
            if spec.layers:
                spec = replace(spec, image=await self._layers.ensure(spec.layers, doing=doing))
            async with self._limiter:
                with deadline(doing, self._settings.start_timeout_s):
                    if spec.id in self._doomed:
                        await self._discard(spec.id)
                    return await self._try_to_start(spec, attached, doing)
        finally:
            del self._in_flight[spec.id]
            start.settled.set()

    def _held_volumes(self) -> Iterator[Collection[VolumeID]]:
        """Yield the volumes of each live job."""
        for container in self._watcher:
            if not container.ended.is_set():
                yield container.status.volumes
        for start in self._in_flight.values():
            yield [volume.id for volume in start.spec.volumes]

    async def _try_to_start(self, spec: JobSpec, attached: bool, doing: str) -> tuple[Container, BareStream | None]:
        for _ in range(START_TRIES):
            address = self._settings.gateway if spec.host_network else self._addresses.take()
            try:
                return await self._create_and_start(spec, address, attached, doing)
            except Refused as exc:
                if is_address_taken(exc.reason):
                    self._addresses.quarantine(address)
                elif not is_name_taken(exc.reason):  # else: a leftover of an earlier try, removed by now
                    reason = start_failure(exc.status, exc.reason)
                    if reason is not None:
                        raise StartError(reason) from exc
                    raise
        raise EngineError(f"cannot {doing}: {START_TRIES} addresses in a row were taken by others")

    async def _create_and_start(
        self, spec: JobSpec, address: str, attached: bool, doing: str
    ) -> tuple[Container, BareStream | None]:
        name, server = self._settings.prefix + spec.id, self._service.process
        id = ""
        bare: BareStream | None = None
        try:
            binds = await trio.to_thread.run_sync(self._prepare, spec, doing)
            if spec.host_network:
                await trio.to_thread.run_sync(have_address, address)
            body = create_body(
                spec,
                settings=self._settings,
                limits=self._service.limits,
                address=address,
                hosts=self._hosts(spec.id),
                data=self._data(spec.id) if spec.data else None,
                volumes=binds,
                attached=attached,
            )
            id = await self._calls.create(body, doing=doing)
            if attached:
                bare = await self._calls.attach(id, doing=doing)
                if spec.tty and spec.rows and spec.columns:
                    await self._calls.resize(id, rows=spec.rows, columns=spec.columns)
            await self._calls.start(id, doing=doing)
            if not spec.host_network:  # the first on the bridge has made it
                await trio.to_thread.run_sync(keep_link_address, self._settings.network)
            inspected = await self._calls.inspect(id)
            if inspected is None:
                raise EngineError(f"cannot {doing}: its container {name} was removed meanwhile")
            if attached and server.is_ending:
                raise EngineError(f"cannot {doing}: Podman's service was restarted, and its streams are lost")
        except BaseException as exc:
            self._addresses.give_back(address)
            if server.is_ending:  # it may have made what no removal finds
                self._doomed.add(spec.id)
            await self._tidy(spec.id, bare, late=not id and not isinstance(exc, EngineError))
            raise
        status = new_status(spec, address=address, started_at=inspected.started_at)
        container = self._watcher.add(
            id,
            status,
            is_logged=is_logged(spec),
            pid=inspected.state.pid,
            keeper_pid=inspected.state.conmon_pid,
            temp_disk_bytes=spec.temp_disk_bytes,
            scratch=scratch_of(inspected),
        )
        return container, bare

    def _prepare(self, spec: JobSpec, doing: str) -> list[Bind]:
        """Write the files a container is given, and return where its volumes are. Blocks."""
        try:
            hosts = self._hosts(spec.id)
            hosts.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            hosts.write_text(f"127.0.0.1 localhost {spec.id[:64]}\n")
            hosts.chmod(0o644)
            if spec.data:
                self._data(spec.id).mkdir(parents=True, exist_ok=True)
                self._data(spec.id).chmod(0o1777)
        except OSError as exc:
            raise EngineError(
                f"cannot {doing}: writing its files in {self._settings.run_dir}: {exc.strerror}; free some space there"
            ) from exc
        if spec.slug and not (self._settings.slug_dir / spec.slug).is_dir():
            raise StartError(f"cannot start job {spec.id}: its slug {spec.slug} is gone; push the app again")
        return bind_all(spec, self._settings.volume_dir)

    def _hosts(self, job: JobID) -> Path:
        return hosts_directory(self._settings) / job

    def _data(self, job: JobID) -> Path:
        return self._settings.volume_dir / f"job-{job}"

    # -- removing ------------------------------------------------------------------------------

    async def _tidy(self, job: JobID, bare: BareStream | None, *, late: bool = False) -> None:
        """Put away what a job left, whatever happens; what does not work now is done at the next look around.

        Args:
            late: the container may only now come to be.
        """
        with trio.move_on_after(CLEANUP_S, shield=True):
            if bare is not None:
                await trio.aclose_forcefully(bare.stream)
            try:
                await self._discard(job)
                for pause in LATE_CREATION_S if late else ():
                    await trio.sleep(pause)
                    await self._discard(job)
            except EngineError as exc:
                logger.warning("job not removed yet", extra={"job": job, "why": exc.message})
                self._doomed.add(job)
            return
        self._doomed.add(job)

    async def _discard(self, job: JobID, *, id: str | None = None) -> None:
        """Kill and remove a job's container, if there is one, and all it held."""
        container = self._watcher.get(job)
        if container is not None:
            container.process.send_signal(signal.SIGKILL)
        await self._calls.remove(id or (container.id if container else self._settings.prefix + job))
        if container is not None and container.status.exit_code == LOST_EXIT_CODE:  # so is who would tidy up
            await trio.to_thread.run_sync(remove_groups_of, container.id)
        await self._remove_files(job)
        if id or container:
            self._removed.add(id or (container.id if container else ""))
        if job in self._doomed:
            self._doomed.discard(job)
            self.late_removals += 1
        self._forget(job)

    def _forget(self, job: JobID) -> None:
        container = self._watcher.get(job)
        if container is not None:
            self._addresses.give_back(container.status.address)
            self._watcher.drop(job)

    async def remove_stray_files(self) -> None:
        """Remove what belonged to jobs that went while nobody looked. At boot, before any start."""
        known = {container.status.id for container in self._watcher}
        for job in (await trio.to_thread.run_sync(self._jobs_with_files)).difference(known):
            await self._remove_files(job)

    def _jobs_with_files(self) -> set[JobID]:
        hosts = {JobID(path.name) for path in hosts_directory(self._settings).glob("*")}
        data = {JobID(path.name.removeprefix("job-")) for path in self._settings.volume_dir.glob("job-*")}
        return hosts | data

    async def _remove_files(self, job: JobID) -> None:
        """Remove what a job was given; its volumes are not its own."""
        self._hosts(job).unlink(missing_ok=True)
        if self._data(job).exists():
            try:
                await remove_tree(self._data(job))
            except EngineError as exc:
                logger.warning("data of a job not removed", extra={"job": job, "why": exc.message})
