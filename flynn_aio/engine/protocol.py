"""Engine: what the rest of us may ask of the thing that runs jobs.

`podman.py` is one, `fake.py` another, and one contract suite (`tests/engine/contract.py`) holds
both to this text. The words are Flynn's, so that a second kind of engine stays possible.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import Path
from signal import SIGTERM
from typing import Protocol

from ..model import AppID, JobID, ReleaseID, Time, VolumeID
from ..watch import Bell

NO_RELEASE = ReleaseID("")
"""What a job has that runs no release, such as a build."""


class Partition(StrEnum):
    """Which share of the machine a job lives in, dearest first."""

    SYSTEM = "system"
    USER = "user"
    BACKGROUND = "background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A directory or file of the host, seen inside at `target`."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A volume, seen inside at `target`, writable."""

    id: VolumeID
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """All an engine must know to run one job. Starting is idempotent because `id` is ours.

    Attributes:
        type: process type; empty for one-off jobs, ``slugbuilder`` for builds.
        formation: whether a formation wants it; kept as a label, so that a restart can tell.
        image: the image's name in the engine; empty when it has `layers` instead.
        layers: ids of the layers its image is made of, lowest first; the engine makes it of them when it must.
        slug: id of the slug directory mounted over ``/app``: each job sees its own writable copy.
        args: argv; empty means the image's own entrypoint. No shell is involved.
        env: complete, except `EXTERNAL_IP`, which the engine adds when it has an address.
        user: ``uid:gid``; empty means the image's own.
        memory_bytes, cpu_shares, max_fd, pids, temp_disk_bytes: limits; 0 means none.
        soft_fd: how many files it may open without asking for more, up to `max_fd`; 0 means as many as that.
        host_network, host_pid: whether it lives in the host's own namespace. With the first it is
            reached at the gateway's address.
        capabilities: exactly those it can have; ``None`` means those of every job. An ordinary user has none of
            these, but what is asked for beyond them.
        devices: device nodes of the host it may use, by their path.
        volumes: which it has; all exist, and no other live job has them.
        data: whether it gets an empty, writable `/data` of its own: a volume that has its id and goes with it.
        log: whether stdout and stderr are kept for the log store. Never with `tty`.
        stop_signal: what asks it to end.
        stop_s: seconds it then has until SIGKILL; 0 leaves that to whoever stops it.
        meta: user meta, kept as labels.
    """

    id: JobID
    app: AppID
    app_name: str
    release: ReleaseID = NO_RELEASE
    type: str = ""
    formation: bool = False
    image: str = ""
    layers: tuple[str, ...] = ()
    slug: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    user: str = ""
    memory_bytes: int = 0
    cpu_shares: int = 0
    max_fd: int = 0
    soft_fd: int = 0
    pids: int = 0
    temp_disk_bytes: int = 0
    host_network: bool = False
    host_pid: bool = False
    capabilities: tuple[str, ...] | None = None
    devices: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    volumes: tuple[VolumeMount, ...] = ()
    data: bool = False
    partition: Partition = Partition.USER
    tty: bool = False
    rows: int = 0
    columns: int = 0
    log: bool = True
    stop_signal: int = SIGTERM
    stop_s: float = 0.0
    meta: Mapping[str, str] = field(default_factory=dict)

    @property
    def volume_ids(self) -> tuple[VolumeID, ...]:
        """Its volumes, also the one that is only its own."""
        own = (VolumeID(self.id),) if self.data else ()
        return (*(volume.id for volume in self.volumes), *own)


class RunState(Enum):
    CREATED = "created"
    """Prepared, not started; or found half-made after a crash."""
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What the engine sees of one job. Ended jobs stay listed until `Engine.remove`.

    Attributes:
        address: IPv4 address on the jobs' network.
        exit_code: only with `EXITED`; -1 when it is lost for good. A process ended by
            signal N has 128 + N.
        oom: a process of the job was killed for lack of memory, even if the job goes on.
        error: why it could not run, in the engine's words.
        args: the argv it was started with.
        volumes: those it was started with.
        stop_signal, stop_s: how its spec wants it to be stopped.
    """

    id: JobID
    app: AppID
    release: ReleaseID
    type: str
    formation: bool
    state: RunState
    address: str = ""
    started_at: Time | None = None
    exit_code: int | None = None
    oom: bool = False
    error: str = ""
    args: tuple[str, ...] = ()
    volumes: tuple[VolumeID, ...] = ()
    stop_signal: int = SIGTERM
    stop_s: float = 0.0
    meta: Mapping[str, str] = field(default_factory=dict)


def new_status(spec: JobSpec, *, address: str, started_at: Time | None) -> JobStatus:
    """Return the status of a job that has just been started."""
    return JobStatus(
        id=spec.id,
        app=spec.app,
        release=spec.release,
        type=spec.type,
        formation=spec.formation,
        state=RunState.RUNNING,
        address=address,
        started_at=started_at,
        args=spec.args,
        volumes=spec.volume_ids,
        stop_signal=spec.stop_signal,
        stop_s=spec.stop_s,
        meta=dict(spec.meta),
    )


class Stream(Enum):
    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of a job's output, as it came; at most 64 KiB."""

    stream: Stream
    data: bytes


class Attachment(Protocol):
    """The live ends of one job: it was created, attached and started, in that order.

    Read `output` to its end or leave the block: a reader that stops stops the job too.
    """

    @property
    def output(self) -> AsyncIterator[Output]:
        """What the job prints, until its streams end. With a TTY everything is stdout."""
        ...

    async def send(self, data: bytes) -> None:
        """Write to stdin; waits while the job does not read. Silently dropped once it has ended."""
        ...

    async def send_eof(self) -> None:
        """Close stdin; the job goes on."""
        ...

    async def resize(self, *, rows: int, columns: int) -> None: ...

    async def signal(self, number: int) -> None:
        """Send a signal to the main process; nothing happens once it has ended."""
        ...

    async def wait(self) -> JobStatus:
        """Wait until the job has ended."""
        ...


class Engine(Protocol):
    """Runs jobs. Every call is bounded by the engine's own deadlines and raises `EngineError` past them."""

    @property
    def bell(self) -> Bell:
        """Rings when any job's status may have changed; a hint, so look at `jobs` then."""
        ...

    @property
    def well_since(self) -> float:
        """Since when jobs can be started and removed, by Trio's clock; infinite while they cannot.

        An engine that is unwell may still know its jobs, and signal and stop them.
        """
        ...

    async def jobs(self) -> list[JobStatus]:
        """Return every job of this appliance, running or ended and not yet removed."""
        ...

    async def start(self, spec: JobSpec) -> JobStatus:
        """Create and start a job, or return the status of the one that has this id already.

        Raises:
            StartError: it cannot start, e.g. ``exec: "x": executable file not found in $PATH``, or
                because one of its volumes is gone. Nothing is left behind.
            EngineError: it may start on another try, e.g. ``volumes in use: …``.

        Cancellation: the job may exist; `jobs` tells.
        """
        ...

    async def stop(self, job: JobID, *, kill_s: float) -> None:
        """Send its `stop_signal`, `kill_s` seconds later SIGKILL; return when it has ended. 0 is SIGKILL at once.

        A job that has ended or never was is no error.
        """
        ...

    async def signal(self, job: JobID, number: int) -> None:
        """Send a signal to the main process.

        Raises:
            NotFound: no running job has this id.
        """
        ...

    async def listening(self, job: JobID) -> tuple[str, ...] | None:
        """Return where a job listens over TCP right now, ``ip:port``, the lowest port first.

        ``None`` when nobody can tell: it does not run, or shares the host's network.
        """
        ...

    async def remove(self, job: JobID) -> None:
        """Forget an ended job and free what it held; a running one is killed first. Idempotent.

        Its log file stays: the log store owns it.
        """
        ...

    def attach(self, spec: JobSpec) -> AbstractAsyncContextManager[Attachment]:
        """Start a job with its streams in our hands. Leaving the block kills and removes it.

        Raises: as `start`, on entering.
        """
        ...

    async def volumes(self) -> frozenset[VolumeID]:
        """Return every volume there is."""
        ...

    async def create_volume(self, volume: VolumeID) -> None:
        """Make an empty volume that survives a power cut. Idempotent: one that is there stays as it is.

        Raises:
            StartError: there is no room for it.
        """
        ...

    async def remove_volume(self, volume: VolumeID) -> None:
        """Remove a volume with all that is in it. Idempotent.

        Raises:
            EngineError: a live job has it, or something in it cannot be removed.

        Cancellation: a part may be gone.
        """
        ...

    async def image_exists(self, image: str) -> bool: ...

    async def pull_image(self, image: str) -> None:
        """Fetch an image from its registry.

        Raises:
            EngineError: the registry does not answer, or has no such image.
        """
        ...

    async def import_image(self, tar: Path, image: str) -> None:
        """Make an image of a root file system given as a tar file."""
        ...

    async def commit(self, job: JobID, image: str) -> None:
        """Make an image of an ended, not yet removed job's file system."""
        ...

    async def make_image(self, layers: tuple[str, ...]) -> None:
        """Make the image of these layers, lowest first, if it is missing: what needs it then starts without delay.

        Raises:
            StartError: no job could ever be made of them.
            EngineError: it may work on another try.
        """
        ...

    async def keep_images(self, wanted: Collection[tuple[str, ...]]) -> bool:
        """Forget the images made of layers but for these, each the ids of its layers, lowest first.

        One that a job is made of stays; return whether there is such a one, to be asked about again.
        Named images are not touched.
        """
        ...
