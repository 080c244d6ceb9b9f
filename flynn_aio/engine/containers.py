"""Containers: a job spec as Podman's request, and Podman's answers as a job's status. Pure.

Everything a status tells stands in the container's labels, so that a restart needs nothing but a list.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any, TypeVar

import msgspec

from ..model import AppID, JobID, ReleaseID, Time, VolumeID
from ..settings import MIB, EngineSettings
from .addresses import mac_of
from .privileges import DEFAULT_CAPABILITIES
from .protocol import JobSpec, JobStatus, Partition, RunState
from .spec import log_file_name
from .volumes import Bind

T = TypeVar("T")

APPLIANCE_LABEL = "flynn.appliance"
JOB_LABEL = "flynn.job"
APP_LABEL = "flynn.app"
APP_NAME_LABEL = "flynn.app-name"
RELEASE_LABEL = "flynn.release"
TYPE_LABEL = "flynn.type"
FORMATION_LABEL = "flynn.formation"
ADDRESS_LABEL = "flynn.address"
ARGS_LABEL = "flynn.args"
META_LABEL = "flynn.meta"
VOLUMES_LABEL = "flynn.volumes"
LOG_LABEL = "flynn.log"
TEMP_DISK_LABEL = "flynn.temp-disk"
STOP_LABEL = "flynn.stop"
"""How the job wants to be stopped: the number of the signal, and after a space the seconds until SIGKILL."""

SHM_BYTES = 64 * MIB
LOST_EXIT_CODE = -1

BACKGROUND_CPU_DIVISOR = 8
"""Builds use what is idle: against one busy app a build gets a ninth of a core that both want."""

OOM_SCORE = {Partition.SYSTEM: -500, Partition.USER: 0, Partition.BACKGROUND: 500}
"""Whom the kernel takes first when the whole machine runs out of memory: builds, then apps."""

_MISSING_COMMAND = re.compile(r'exec: "(?:[^"\\]|\\.)*": (?:executable file not found in \$PATH|[^:]+(?:: [^:]+)?)')
_CRUN_MISSING_COMMAND = re.compile(r"executable file [`'](?P<name>[^`']*)[`'] not found in \$PATH")
_ADDRESS_TAKEN = re.compile(r"requested ip address \S+ is already allocated")
_NAME_TAKEN = "container already exists"
_HOPELESS = (
    "unable to start container process",  # runc, after the container was made: the command, its user, its directory
    "unable to find user",
    "image not known",
    "does not exist on container",  # the working directory
    "no command or entrypoint provided",
    "stat /dev/",  # a device that is not there
    "statfs /",  # neither is what a mount shows
)
_TRANSIENT = ("cannot allocate memory", "resource temporarily unavailable", "no space left", "device or resource busy")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimits:
    """What the machine lets a container have.

    Attributes:
        nofile, nproc: the hard limits of Podman's service; a higher one cannot be set.
        swap: whether the kernel can limit swap.
    """

    nofile: int
    nproc: int
    swap: bool


class Listed(msgspec.Struct, rename="pascal"):
    """One row of Podman's list."""

    id: str
    names: list[str] = []
    labels: dict[str, str] | None = None
    state: str = ""
    exit_code: int = 0
    started_at: int = 0

    @property
    def job(self) -> JobID:
        return JobID((self.labels or {}).get(JOB_LABEL, ""))

    @property
    def is_logged(self) -> bool:
        return (self.labels or {}).get(LOG_LABEL) == "true"

    @property
    def temp_disk_bytes(self) -> int:
        return int((self.labels or {}).get(TEMP_DISK_LABEL, "0"))

    @property
    def address(self) -> str:
        return (self.labels or {}).get(ADDRESS_LABEL, "")

    @property
    def run_state(self) -> RunState:
        if self.state in {"running", "paused", "stopping"}:
            return RunState.RUNNING
        return RunState.EXITED if self.state in {"exited", "stopped"} else RunState.CREATED


class InspectedState(msgspec.Struct, rename="pascal"):
    status: str = ""
    pid: int = 0
    conmon_pid: int = 0
    exit_code: int = 0
    started_at: str = ""
    error: str = ""


class GraphDriver(msgspec.Struct, frozen=True, rename="pascal"):
    data: dict[str, str] = {}


class Inspected(msgspec.Struct, rename="pascal"):
    """What we need of Podman's inspect."""

    id: str
    state: InspectedState
    graph_driver: GraphDriver = GraphDriver()

    @property
    def upper(self) -> Path | None:
        """Where what it writes to its image's file system lies."""
        found = self.graph_driver.data.get("UpperDir")
        return Path(found) if found else None

    @property
    def has_ended(self) -> bool:
        return self.state.status in {"exited", "stopped"}

    @property
    def started_at(self) -> Time | None:
        moment = Time.parse(self.state.started_at) if self.state.started_at else None
        return moment if moment and moment.year > 1 else None


class Created(msgspec.Struct, rename="pascal"):
    id: str


def create_body(
    spec: JobSpec,
    *,
    settings: EngineSettings,
    limits: HostLimits,
    address: str,
    hosts: Path,
    data: Path | None,
    volumes: Sequence[Bind] = (),
    attached: bool,
) -> dict[str, Any]:
    """Return the body of Podman's `containers/create` for a job.

    Args:
        address: static IPv4 address; the MAC follows from it.
        hosts: the job's `/etc/hosts`, already written.
        data: the directory behind `/data`, when it has one.
        volumes: where its volumes are.
        attached: whether its stdin will be ours.
    """
    files = min(spec.max_fd or limits.nofile, limits.nofile)
    body: dict[str, Any] = {
        "name": settings.prefix + spec.id,
        "image": spec.image,
        "env": {**spec.env, "EXTERNAL_IP": address},
        "labels": _labels(spec, settings.appliance, address),
        "hostname": spec.id[:64],
        "stdin": attached,
        "terminal": spec.tty,
        "log_configuration": _log(spec, settings),
        "resource_limits": _resources(spec, settings, limits),
        "r_limits": [
            {"type": "nofile", "soft": min(spec.soft_fd or files, files), "hard": files},
            # Podman would ask for more than it may give; the real limit on processes is the cgroup's
            {"type": "nproc", "soft": limits.nproc, "hard": limits.nproc},
        ],
        "oom_score_adj": OOM_SCORE[spec.partition],
        "no_new_privileges": True,
        "shm_size": SHM_BYTES,
        "image_volume_mode": "ignore",  # a VOLUME of the image would leave an anonymous volume behind
        "stop_signal": int(spec.stop_signal),
        **_network(spec, settings, address),
        "dns_server": [settings.gateway],
        "dns_search": ["."],
        "use_image_hosts": True,  # leave /etc/hosts alone: ours is mounted
        "mounts": _mounts(spec, hosts, data, volumes),
    }
    if spec.args:
        body["entrypoint"] = list(spec.args)
    if spec.workdir:
        body["work_dir"] = spec.workdir
    if spec.user:
        body["user"] = spec.user
    if spec.host_pid:
        body["pidns"] = {"nsmode": "host"}
    if spec.capabilities is not None:
        body |= _capabilities(spec.capabilities)
    if spec.devices:
        body["devices"] = [{"path": device} for device in spec.devices]
    if spec.slug:
        body["overlay_volumes"] = [{"destination": "/app", "source": str(settings.slug_dir / spec.slug)}]
    return body


def is_logged(spec: JobSpec) -> bool:
    """Whether the job's output is kept. A terminal's never is."""
    return spec.log and not spec.tty


def _network(spec: JobSpec, settings: EngineSettings, address: str) -> dict[str, Any]:
    if spec.host_network:
        return {"netns": {"nsmode": "host"}}
    return {
        "netns": {"nsmode": "bridge"},
        "networks": {settings.network: {"static_ips": [address], "static_mac": mac_of(address)}},
    }


def _capabilities(wanted: Sequence[str]) -> dict[str, list[str]]:
    """Ask for exactly these. What is added ordinary users get as well, so what is there already is not."""
    return {
        "cap_drop": [name for name in DEFAULT_CAPABILITIES if name not in wanted],
        "cap_add": [name for name in wanted if name not in DEFAULT_CAPABILITIES],
    }


def _labels(spec: JobSpec, appliance: str, address: str) -> dict[str, str]:
    return {
        APPLIANCE_LABEL: appliance,
        JOB_LABEL: spec.id,
        APP_LABEL: spec.app,
        APP_NAME_LABEL: spec.app_name,
        RELEASE_LABEL: spec.release,
        TYPE_LABEL: spec.type,
        FORMATION_LABEL: str(spec.formation).lower(),
        ADDRESS_LABEL: address,
        ARGS_LABEL: msgspec.json.encode(spec.args).decode(),
        LOG_LABEL: str(is_logged(spec)).lower(),
        TEMP_DISK_LABEL: str(spec.temp_disk_bytes),
        META_LABEL: msgspec.json.encode(dict(spec.meta)).decode(),
        VOLUMES_LABEL: msgspec.json.encode(spec.volume_ids).decode(),
        STOP_LABEL: f"{int(spec.stop_signal)} {spec.stop_s:g}",
    }


def _log(spec: JobSpec, settings: EngineSettings) -> dict[str, Any]:
    if not is_logged(spec):
        return {"driver": "none"}
    path = settings.log_dir / log_file_name(spec.app, spec.id, spec.type)
    # `size`, not options.max-size: that one is silently ignored through the API
    return {"driver": "k8s-file", "path": str(path), "size": settings.log_file_bytes}


def _resources(spec: JobSpec, settings: EngineSettings, limits: HostLimits) -> dict[str, Any]:
    resources: dict[str, Any] = {"pids": {"limit": spec.pids or settings.pids_limit}}
    if spec.memory_bytes:
        memory = {"limit": spec.memory_bytes}
        if limits.swap:
            memory["swap"] = spec.memory_bytes  # memory and swap together, so: no swap
        resources["memory"] = memory
    if spec.cpu_shares:
        divisor = BACKGROUND_CPU_DIVISOR if spec.partition is Partition.BACKGROUND else 1
        resources["cpu"] = {"shares": max(spec.cpu_shares // divisor, 2)}
    return resources


def _mounts(spec: JobSpec, hosts: Path, data: Path | None, volumes: Sequence[Bind]) -> list[dict[str, Any]]:
    mounts = [_bind(hosts, "/etc/hosts", writable=True)]
    if data is not None:
        mounts.append(_bind(data, "/data", writable=True))
    mounts += [_volume(volume) for volume in volumes]
    return mounts + [_bind(mount.source, mount.target, writable=mount.writable) for mount in spec.mounts]


def _volume(volume: Bind) -> dict[str, Any]:
    """Bind a volume. With `U` Podman gives it, as long as that costs nothing, to whoever the image says it runs as."""
    mount = _bind(volume.source, volume.target, writable=True)
    mount["options"] += ["nosuid", "nodev", *(["U"] if volume.is_empty else [])]
    return mount


def _bind(source: Path, target: str, *, writable: bool) -> dict[str, Any]:
    options = ["rbind", "rw" if writable else "ro"]
    return {"type": "bind", "source": str(source), "destination": target, "options": options}


def status_of(listed: Listed) -> JobStatus:
    """Return the status of a listed container of ours, as far as the list knows it."""
    labels = listed.labels or {}
    stop_signal, _, stop_s = labels.get(STOP_LABEL, "").partition(" ")
    return JobStatus(
        id=listed.job,
        app=AppID(labels.get(APP_LABEL, "")),
        release=ReleaseID(labels.get(RELEASE_LABEL, "")),
        type=labels.get(TYPE_LABEL, ""),
        formation=labels.get(FORMATION_LABEL) == "true",
        state=listed.run_state,
        address=labels.get(ADDRESS_LABEL, ""),
        started_at=_moment(listed.started_at),
        exit_code=listed.exit_code if listed.run_state is RunState.EXITED else None,
        args=tuple(_json(labels.get(ARGS_LABEL), list[str], [])),
        volumes=tuple(map(VolumeID, _json(labels.get(VOLUMES_LABEL), list[str], []))),
        stop_signal=_json(stop_signal, int, SIGTERM),
        stop_s=_json(stop_s, float, 0.0),
        meta=_json(labels.get(META_LABEL), dict[str, str], {}),
    )


def _moment(seconds: int) -> Time | None:
    return Time.of(Time.fromtimestamp(seconds).astimezone()) if seconds > 0 else None


def _json(text: str | None, wanted: type[T], otherwise: T) -> T:
    try:
        return msgspec.json.decode(text or "null", type=wanted)
    except msgspec.MsgspecError:
        return otherwise


def start_failure(status: int, reason: str) -> str | None:
    """Return why a job can never start, from Podman's answer; ``None`` when another try may succeed.

    A missing command is told in Go's words, as Flynn does, whatever the runtime said around them.

    Args:
        status: HTTP status of the answer.
        reason: Podman's sentence.
    """
    if found := _CRUN_MISSING_COMMAND.search(reason):
        return f'exec: "{found["name"]}": executable file not found in $PATH'
    text = reason.partition(": OCI ")[0]
    if found := _MISSING_COMMAND.search(text):
        return found[0]
    if is_transient(reason):
        return None
    if status in {400, 404} or any(words in reason for words in _HOPELESS):
        return text.rpartition("unable to start container process: ")[2]
    return None


def is_transient(reason: str) -> bool:
    """Whether what Podman could not do may work on another try, though nothing about the job changes."""
    return any(words in reason for words in _TRANSIENT)


def is_name_taken(reason: str) -> bool:
    """Whether Podman refused to create a container because one of this name is there."""
    return _NAME_TAKEN in reason


def is_address_taken(reason: str) -> bool:
    """Whether Podman refused a start because somebody else holds the address."""
    return bool(_ADDRESS_TAKEN.search(reason))
