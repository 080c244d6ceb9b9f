"""Release: code, environment and process types, frozen together.

Also the process type with its ports, checks and limits. A release never changes; every
change makes a new one.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from .ids import AppID, ArtifactID, ReleaseID
from .json import Time

MIB = 1024 * 1024
SLUGBUILDER_TYPE = "slugbuilder"
"""The pseudo process type that carries the limits of builds and never runs as a process."""


class CheckType(StrEnum):
    TCP = "tcp"
    HTTP = "http"
    HTTPS = "https"


class HealthCheck(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to learn whether an instance answers. Durations are nanoseconds; 0 is the default.

    Source: `discovery.md` §4.
    """

    type: str = ""
    interval: int = 0
    threshold: int = 0
    kill_down: bool = False
    start_timeout: int = 0
    path: str = ""
    host: str = ""
    match: str = ""
    status: int = 0


class PortService(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The discoverd service a port is registered under."""

    name: str = ""
    create: bool = False
    check: HealthCheck | None = None


class Port(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port a process listens on; `port` 0 means 5000 + its index."""

    port: int
    proto: str
    service: PortService | None = None


FIRST_PORT = 5000
"""What a port 0 becomes, plus its index among the ports of its process type. Source: `jobs.md` §2."""


def numbered(ports: Sequence[Port]) -> list[Port]:
    """Return ports as a job has them: a 0 gets its number, and what names no protocol is tcp."""
    return [
        port if port.port and port.proto else replace(port, port=port.port or FIRST_PORT + i, proto=port.proto or "tcp")
        for i, port in enumerate(ports)
    ]


class VolumeReq(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A volume each job of a process type is to have.

    Attributes:
        path: where the job sees it.
        delete_on_stop: whether it ends with the first job that has it.
        keep: whether the next release takes it over, instead of beginning with an empty one. Not Flynn's.
    """

    path: str = ""
    delete_on_stop: bool = False
    keep: bool = False


class ResourceSpec(Struct, frozen=True, kw_only=True):
    """What a process asks for and may use at most, in the unit of its kind."""

    request: int | None = None
    limit: int | None = None


DEFAULT_RESOURCES: Mapping[str, ResourceSpec] = {
    "memory": ResourceSpec(request=1024 * MIB, limit=1024 * MIB),  # bytes
    "temp_disk": ResourceSpec(request=100 * MIB, limit=100 * MIB),  # bytes
    "cpu": ResourceSpec(request=1000, limit=1000),  # milliCPU
    "max_fd": ResourceSpec(request=10000, limit=10000),  # descriptors
}
"""What a process gets when its release says nothing. Source: Flynn `host/resource`."""


class ProcessType(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to run one kind of process of a release. All fields may be absent.

    Attributes:
        stop_signal: what asks it to end, by name; SIGTERM when empty. Not in Flynn.
        stop_timeout: seconds from there to SIGKILL; 30 when 0. Not in Flynn.

    Source: `controller-api.md` §3, `jobs.md` §3.
    """

    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    ports: list[Port] = field(default_factory=list)
    volumes: list[VolumeReq] = field(default_factory=list)
    omni: bool = False
    host_network: bool = False
    host_pid_namespace: bool = False
    service: str = ""
    resurrect: bool = False
    resources: dict[str, ResourceSpec] = field(default_factory=dict)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    linux_capabilities: list[str] = field(default_factory=list)
    allowed_devices: list[dict[str, Any]] = field(default_factory=list)
    writeable_cgroups: bool = False
    stop_signal: str = ""
    stop_timeout: int = 0


class Release(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A release as the API shows it.

    Attributes:
        artifacts: ids in order, later layers on top.
        env: given to every process.
        artifact: legacy; the first of `artifacts`, filled on reads.
    """

    id: ReleaseID = ReleaseID("")
    app_id: AppID = AppID("")
    artifacts: list[ArtifactID] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    processes: dict[str, ProcessType] = field(default_factory=dict)
    created_at: Time | None = None
    artifact: ArtifactID | None = None


def with_default_resources(resources: Mapping[str, ResourceSpec]) -> dict[str, ResourceSpec]:
    """Return `resources` with every missing kind filled in, and missing halves made equal.

    Unknown kinds are kept untouched. Source: Flynn `host/resource/resource.go`, `SetDefaults`.
    """
    filled = dict(resources)
    for kind, default in DEFAULT_RESOURCES.items():
        given = filled.get(kind)
        if given is None or (given.request is None and given.limit is None):
            filled[kind] = default
        elif given.limit is None:
            filled[kind] = ResourceSpec(request=given.request, limit=given.request)
        elif given.request is None:
            filled[kind] = ResourceSpec(request=given.limit, limit=given.limit)
    return filled


def filled(process: ProcessType) -> ProcessType:
    """Return the process type with its default resources filled in."""
    return replace(process, resources=with_default_resources(process.resources))


def memory_text(size: int) -> str:
    """Return a number of bytes as `flynn limit` takes it, in whole megabytes or more: ``1GB``, ``500MB``."""
    megabytes = -(-size // MIB)
    return f"{megabytes // 1024}GB" if megabytes % 1024 == 0 else f"{megabytes}MB"
