"""FakeEngine: an engine without a machine, for tests and for trying things out.

Its jobs are small async programs in this process; time is Trio's, so a test with an autojump clock
runs at once. It is product code: the contract suite (`tests/engine/contract.py`) holds it and the
Podman driver to one behaviour. What real jobs do by themselves is said with `script`, what the
world does to them with `crash`, `run_out_of_memory`, `lose`, `hang` and `outage`.
"""

import math
import signal
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Self

import trio

from ..clock import Clock, SystemClock
from ..errors import EngineError, NotFound, StartError
from ..model import JobID, Time, VolumeID
from ..settings import DEFAULT_SUBNET
from ..watch import Bell
from .addresses import Addresses
from .fake_process import Behaviour, Process, Program
from .init_log import OOM_TEXT, disk_text, log_record, tell_readers
from .protocol import Attachment, JobSpec, JobStatus, Output, RunState, Stream, new_status
from .spec import log_file_name
from .volumes import check_free, missing

OUTPUT_PIECES = 16
"""Pieces of output an attached job may be ahead of its reader; then it waits, as with a full pipe."""


@dataclass(frozen=True, slots=True)
class _Rule:
    behaviour: Behaviour
    image: str | None
    args: tuple[str, ...] | None
    type: str | None

    def matches(self, spec: JobSpec) -> bool:
        return self.image in (None, spec.image) and self.args in (None, spec.args) and self.type in (None, spec.type)


@dataclass(frozen=True, slots=True)
class _Start:
    """A start under way; `settled` when it has come to something."""

    spec: JobSpec
    settled: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True)
class _Job:
    """A started job: its process, and how it is doing."""

    process: Process
    status: JobStatus
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    output: trio.MemorySendChannel[Output] | None = None
    midline: bool = False


class FakeEngine:
    """An `Engine` in memory. Make one with `open_fake_engine`.

    Attributes:
        started: every spec whose start succeeded, oldest first.
        stopped: every job somebody asked to stop, oldest first.
        images: the images that exist; ``None`` means all do.
        registry: what `pull_image` finds.
        disk_is_full: whether there is no room for another volume.
        layered: the layers of each image that was made of some.
        torn_layers: those no image can be made of.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        clock: Clock,
        subnet: IPv4Network,
        log_dir: Path | None,
        images: Collection[str] | None,
    ) -> None:
        self._nursery = nursery
        self._clock = clock
        self._log_dir = log_dir
        self._bell = Bell()
        self._addresses = Addresses(subnet)
        self._gateway = str(next(subnet.hosts()))
        self._jobs: dict[JobID, _Job] = {}
        self._starting: dict[JobID, _Start] = {}
        self._volumes: dict[VolumeID, dict[str, bytes]] = {}
        self.disk_is_full = False
        self._rules: list[_Rule] = []
        self._outage = ""
        self._well_since = -math.inf
        self.started: list[JobSpec] = []
        self.stopped: list[JobID] = []
        self.images = None if images is None else set(images)
        self.registry: set[str] = set()
        self.layered: set[tuple[str, ...]] = set()
        self.torn_layers: set[str] = set()

    # -- scripting -----------------------------------------------------------------------------

    def script(
        self,
        behaviour: Behaviour | Program,
        *,
        image: str | None = None,
        args: tuple[str, ...] | None = None,
        type: str | None = None,
    ) -> Self:
        """From now on, jobs that match go like this. The newest matching rule wins; ``None`` matches all."""
        if not isinstance(behaviour, Behaviour):
            behaviour = Behaviour(program=behaviour)
        self._rules.append(_Rule(behaviour, image, args, type))
        return self

    def crash(self, job: JobID, code: int = 1) -> None:
        """End a running job with this exit code."""
        self._end(self._running(job), code)

    def run_out_of_memory(self, job: JobID, *, survives: bool = False) -> None:
        """Let the kernel kill a process of this job: the main one, or a child so that it `survives`."""
        running = self._running(job)
        running.status = replace(running.status, oom=True)
        if self._log_dir is not None:
            tell_readers(self._log_dir, running.status, self._clock.now(), OOM_TEXT)
        self._bell.ring()
        if not survives:
            self._end(running, 128 + signal.SIGKILL)

    def fill_disk(self, job: JobID) -> None:
        """Let a running job write more than its `temp_disk`, which ends it."""
        running = self._running(job)
        text = disk_text(running.process.spec.temp_disk_bytes)
        running.status = replace(running.status, error=text)
        if self._log_dir is not None:
            tell_readers(self._log_dir, running.status, self._clock.now(), text)
        self._end(running, 128 + signal.SIGKILL)

    async def print(self, job: JobID, data: bytes, stream: Stream = Stream.STDOUT) -> None:
        """Let a running job print."""
        await self._running(job).process.write(data, stream)

    def lose(self, job: JobID) -> None:
        """Let a job vanish, as when somebody removes its container behind our back."""
        lost = self._jobs.pop(job)
        self._end(lost, -1)
        self._addresses.give_back(lost.status.address)

    def leave_half_made(self, spec: JobSpec) -> None:
        """Let a job be left that was made and never ran, as when somebody is killed inside of a start."""
        if spec.id in self._jobs:
            return
        job = _Job(
            Process(spec, _discard, {}), replace(new_status(spec, address="", started_at=None), state=RunState.CREATED)
        )
        job.ended.set()
        self._jobs[spec.id] = job
        self._bell.ring()

    def lose_volume(self, volume: VolumeID) -> None:
        """Let the directory of a volume vanish, as when somebody removes it behind our back."""
        del self._volumes[volume]

    @contextmanager
    def outage(self, text: str = "the engine does not answer") -> Iterator[None]:
        """Let every call fail while the block runs; the jobs go on."""
        self._outage, self._well_since = text, math.inf
        try:
            yield
        finally:
            self._outage, self._well_since = "", trio.current_time()
            self._bell.ring()

    @contextmanager
    def hang(self) -> Iterator[None]:
        """Let no job be started or removed while the block runs; what runs is known all the same, as with Podman."""
        self._well_since = math.inf
        try:
            yield
        finally:
            self._well_since = trio.current_time()

    @property
    def listed(self) -> list[JobStatus]:
        """What is there, whether or not `jobs` would answer now."""
        return [job.status for job in self._jobs.values()]

    @property
    def listed_volumes(self) -> frozenset[VolumeID]:
        """What is there, whether or not `volumes` would answer now."""
        return frozenset(self._volumes)

    @property
    def answers(self) -> bool:
        """Whether there is no `outage`."""
        return not self._outage

    # -- Engine --------------------------------------------------------------------------------

    @property
    def bell(self) -> Bell:
        return self._bell

    @property
    def well_since(self) -> float:
        return self._well_since

    async def jobs(self) -> list[JobStatus]:
        await self._call("list jobs")
        return self.listed

    async def start(self, spec: JobSpec) -> JobStatus:
        return (await self._start(spec, output=None)).status

    async def stop(self, job: JobID, *, kill_s: float) -> None:
        await self._call(f"stop job {job}")
        await self._settled(job)
        self.stopped.append(job)
        running = self._jobs.get(job)
        if running is None or running.ended.is_set():
            return
        if kill_s:
            self._deliver(running, running.status.stop_signal)
        with trio.move_on_after(kill_s):
            await running.ended.wait()
        self._deliver(running, signal.SIGKILL)
        await running.ended.wait()

    async def signal(self, job: JobID, number: int) -> None:
        await self._call(f"signal job {job}")
        await self._settled(job)
        self._deliver(self._running(job), number)

    async def listening(self, job: JobID) -> tuple[str, ...] | None:
        await self._call(f"look where job {job} listens")
        await self._settled(job)
        running = self._jobs.get(job)
        if running is None or running.ended.is_set() or running.process.spec.host_network:
            return None
        return tuple(sorted(running.process.listening, key=lambda address: int(address.rpartition(":")[2])))

    async def remove(self, job: JobID) -> None:
        await self._change(f"remove job {job}")
        await self._settled(job)
        self._remove(job)

    @asynccontextmanager
    async def attach(self, spec: JobSpec) -> AsyncIterator[Attachment]:
        send, receive = trio.open_memory_channel[Output](OUTPUT_PIECES)
        job = await self._start(spec, output=send)
        try:
            yield _FakeAttachment(self, job, receive)
        finally:
            receive.close()
            self._remove(spec.id)

    async def volumes(self) -> frozenset[VolumeID]:
        await self._call("list volumes")
        return self.listed_volumes

    async def create_volume(self, volume: VolumeID) -> None:
        await self._call(f"create volume {volume}")
        if self.disk_is_full and volume not in self._volumes:
            raise StartError(f"cannot create volume {volume}: No space left on device; free some space on its disk")
        self._volumes.setdefault(volume, {})

    async def remove_volume(self, volume: VolumeID) -> None:
        await self._call(f"remove volume {volume}")
        if any(volume in held for held in self._held_volumes()):
            raise EngineError(f"cannot remove volume {volume}: volumes in use: {volume}")
        self._volumes.pop(volume, None)

    async def image_exists(self, image: str) -> bool:
        await self._call(f"look for image {image}")
        return self.images is None or image in self.images

    async def pull_image(self, image: str) -> None:
        await self._call(f"pull image {image}")
        if image not in self.registry:
            raise EngineError(f"cannot pull image {image}: the registry does not answer, or has no such image")
        self._add_image(image)

    async def import_image(self, tar: Path, image: str) -> None:
        await self._call(f"import image {image}")
        self._add_image(image)

    async def commit(self, job: JobID, image: str) -> None:
        await self._call(f"commit job {job}")
        if job not in self._jobs:
            raise NotFound(f"cannot commit job {job}: there is no such job")
        self._add_image(image)

    async def make_image(self, layers: tuple[str, ...]) -> None:
        doing = "make an image of the layers"
        await self._call(doing)
        self._make_image(layers, doing)

    async def keep_images(self, wanted: Collection[tuple[str, ...]]) -> bool:
        await self._call("remove images")
        in_use = {job.process.spec.layers for job in self._jobs.values()} - set(wanted)
        self.layered.intersection_update({*wanted, *in_use})
        return bool(self.layered & in_use)

    # -- inside --------------------------------------------------------------------------------

    async def _call(self, doing: str) -> None:
        """What every call to an engine is: a pause, and perhaps a failure."""
        await trio.lowlevel.checkpoint()
        if self._outage:
            raise EngineError(f"cannot {doing}: {self._outage}")

    async def _change(self, doing: str) -> None:
        """What a call is that makes or removes something."""
        await self._call(doing)
        if self._well_since == math.inf:
            raise EngineError(f"cannot {doing}: the engine hangs")

    async def _settled(self, job: JobID) -> None:
        """Wait while a start of this job is under way."""
        while job in self._starting:
            await self._starting[job].settled.wait()

    async def _start(self, spec: JobSpec, *, output: trio.MemorySendChannel[Output] | None) -> _Job:
        await self._change(f"start job {spec.id}")
        await self._settled(spec.id)
        if (found := self._jobs.get(spec.id)) and found.status.state is RunState.CREATED:
            self._remove(spec.id)
        elif found:
            if output is not None:
                raise EngineError(f"cannot attach to job {spec.id}: it has been started already")
            return found
        check_free(spec, self._held_volumes())
        behaviour = self._behaviour(spec)
        start = self._starting[spec.id] = _Start(spec)
        try:
            await trio.sleep(behaviour.start_s)
            await self._change(f"start job {spec.id}")
        finally:
            del self._starting[spec.id]
            start.settled.set()
        if behaviour.start_error:
            raise StartError(behaviour.start_error)
        if spec.layers:
            self._make_image(spec.layers, f"start job {spec.id}")
        elif self.images is not None and spec.image not in self.images:
            raise StartError(f"cannot start job {spec.id}: there is no image {spec.image}")
        for volume in spec.volumes:
            if volume.id not in self._volumes:
                raise StartError(missing(spec, volume.id, "No such file or directory"))
        return self._launch(spec, behaviour.program, output)

    def _make_image(self, layers: tuple[str, ...], doing: str) -> None:
        if torn := self.torn_layers.intersection(layers):
            raise StartError(f"cannot {doing}: layer {min(torn)} is torn")
        self.layered.add(layers)

    def _held_volumes(self) -> Iterator[Collection[VolumeID]]:
        """Yield the volumes of each live job."""
        for job in self._jobs.values():
            if not job.ended.is_set():
                yield job.status.volumes
        for start in self._starting.values():
            yield [volume.id for volume in start.spec.volumes]

    def _launch(self, spec: JobSpec, program: Program, output: trio.MemorySendChannel[Output] | None) -> _Job:
        address = self._gateway if spec.host_network else self._addresses.take()
        spec = replace(spec, env={**spec.env, "EXTERNAL_IP": address})
        status = new_status(spec, address=address, started_at=self._clock.now())

        async def write(piece: Output) -> None:
            await trio.lowlevel.checkpoint()
            self._log(job, piece)
            if job.output is not None:
                try:
                    await job.output.send(piece)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    job.output = None

        files = {volume.target: self._volumes[volume.id] for volume in spec.volumes}
        job = _Job(Process(spec, write, files), status, output=output)
        self._jobs[spec.id] = job
        self.started.append(spec)
        self._nursery.start_soon(self._run, job, program)
        self._bell.ring()
        return job

    async def _run(self, job: _Job, program: Program) -> None:
        with job.scope:
            code = await program(job.process)
            self._end(job, code)

    def _end(self, job: _Job, code: int) -> None:
        if job.ended.is_set():
            return
        job.status = replace(job.status, state=RunState.EXITED, exit_code=code)
        job.scope.cancel()
        job.process.close_stdin()
        if job.output is not None:
            job.output.close()
        job.ended.set()
        self._bell.ring()

    def _deliver(self, job: _Job, number: int) -> None:
        if not job.process.catches(number) and number not in (signal.SIGWINCH, signal.SIGCHLD, signal.SIGCONT):
            self._end(job, 128 + number)

    def _remove(self, job: JobID) -> None:
        removed = self._jobs.pop(job, None)
        if removed is not None:
            self._end(removed, 128 + signal.SIGKILL)
            self._addresses.give_back(removed.status.address)
            self._bell.ring()

    def _running(self, job: JobID) -> _Job:
        running = self._jobs.get(job)
        if running is None or running.ended.is_set():
            raise NotFound(f"cannot reach job {job}: no running job has this id")
        return running

    def _behaviour(self, spec: JobSpec) -> Behaviour:
        return next((rule.behaviour for rule in reversed(self._rules) if rule.matches(spec)), Behaviour())

    def _add_image(self, image: str) -> None:
        if self.images is not None:
            self.images.add(image)

    def _log(self, job: _Job, piece: Output) -> None:
        """Append to the job's log file, one record per line, as conmon does."""
        spec = job.process.spec
        if self._log_dir is None or not spec.log or spec.tty:
            return
        now: Time = self._clock.now()
        *lines, rest = piece.data.split(b"\n")
        name = piece.stream.name.lower()
        records = [log_record(now, name, line) for line in lines]
        if rest:
            records.append(log_record(now, name, rest, whole=False))
        with (self._log_dir / log_file_name(spec.app, spec.id, spec.type)).open("ab") as file:
            file.write(b"".join(records))


async def _discard(piece: Output) -> None:
    await trio.lowlevel.checkpoint()


class _FakeAttachment:
    """The live ends of a job in memory."""

    def __init__(self, engine: FakeEngine, job: _Job, output: trio.MemoryReceiveChannel[Output]) -> None:
        self._engine = engine
        self._job = job
        self._output = output

    @property
    def output(self) -> AsyncIterator[Output]:
        return self._output

    async def send(self, data: bytes) -> None:
        try:
            await self._job.process.stdin.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await self._job.process.stdin.aclose()

    async def resize(self, *, rows: int, columns: int) -> None:
        await trio.lowlevel.checkpoint()
        self._job.process.size = (rows, columns)
        self._engine._deliver(self._job, signal.SIGWINCH)

    async def signal(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        if not self._job.ended.is_set():
            self._engine._deliver(self._job, number)

    async def wait(self) -> JobStatus:
        await self._job.ended.wait()
        return self._job.status


@asynccontextmanager
async def _open(
    clock: Clock, subnet: IPv4Network, log_dir: Path | None, images: Collection[str] | None
) -> AsyncIterator[FakeEngine]:
    async with trio.open_nursery() as nursery:
        yield FakeEngine(nursery, clock=clock, subnet=subnet, log_dir=log_dir, images=images)
        nursery.cancel_scope.cancel()


def open_fake_engine(
    *,
    clock: Clock | None = None,
    subnet: IPv4Network = DEFAULT_SUBNET,
    log_dir: Path | None = None,
    images: Collection[str] | None = None,
) -> AbstractAsyncContextManager[FakeEngine]:
    """Have an engine in memory while the block runs. Unscripted jobs run until they are stopped.

    Args:
        clock: for `JobStatus.started_at` and log times.
        log_dir: where jobs log, in conmon's format; ``None``: nowhere.
        images: the images there are at first; ``None``: every name is an image.
    """
    return _open(clock or SystemClock(), subnet, log_dir, images)
