"""Every setting as a frozen value: one section per part, each part is handed its own.

Only values live here; `config.py` is the one reader of files and environment. The defaults,
units and reasons are told to users in `flynn.toml`, and a test holds the two together.
"""

import hashlib
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024
AUDIT_LOGGER = "flynn_aio.audit"
"""The logger of the lines about requests: so many that they go to a file of their own."""
DEFAULT_SUBNET = ipaddress.IPv4Network("100.100.0.0/16")
"""Flynn's own range; it collides with nothing common (RFC 6598 space, far from where carriers start)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    path: Path
    """The SQLite file; its `-wal` and `-shm` lie beside it."""
    busy_timeout_s: float = 15.0
    event_buffer: int = 1000


BRIDGE_PORTS = 1023
"""How many interfaces a Linux bridge takes, so containers a network. Source: Linux `net/bridge/br_private.h`."""

HOST_FEATURES = ("network", "pid", "mounts", "devices", "profiles", "capabilities")
"""What of the host an operator can let releases have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    appliance: str
    """Eight hex digits of the data directory: prefix and label of everything we make in Podman."""
    run_dir: Path
    """Sockets, containers.conf, the service's working directory."""
    log_dir: Path
    slug_dir: Path
    layer_dir: Path
    volume_dir: Path
    podman: str = "podman"
    runtime: str = "auto"
    subnet: ipaddress.IPv4Network = field(default=DEFAULT_SUBNET)
    call_timeout_s: float = 30.0
    start_timeout_s: float = 60.0
    parallel_starts: int = os.cpu_count() or 2
    resync_s: float = 30.0
    log_file_bytes: int = 64 * MIB
    pids_limit: int = 4096
    host_features: tuple[str, ...] = ()

    @property
    def gateway(self) -> str:
        """The address of the host on the jobs' network; discoverd answers there."""
        return str(next(self.subnet.hosts()))

    @property
    def max_jobs(self) -> int:
        """How many jobs the jobs' network has room for: each has an address and a port of the bridge."""
        return min(self.subnet.num_addresses - 3, BRIDGE_PORTS)

    @property
    def network(self) -> str:
        return f"flynn-{self.appliance}"

    @property
    def prefix(self) -> str:
        """What the name of every container of ours begins with."""
        return f"flynn-{self.appliance}-"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    dir: Path
    ring_lines: int = 10_000
    line_bytes: int = 10_000
    app_bytes: int = 200 * MIB
    follower_lines: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverdSettings:
    address: str
    """Where DNS listens: the gateway of the jobs' network."""
    dns_port: int = 53
    recursors: tuple[str, ...] = ()
    recursion_timeout_s: float = 2.0
    probe_timeout_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    slug_dir: Path
    gateway: str
    host_features: tuple[str, ...]
    """What a release may have of the host; as in `EngineSettings`."""
    resync_s: float = 30.0
    drain_s: float = 10.0
    kill_s: float = 30.0
    restart_stable_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    listen: str = "0.0.0.0"
    http_port: int = 80
    https_port: int = 443
    certificate: Path
    key: Path
    """The cluster's leaf and its key, PEM; served where a route has none of its own."""
    dial_timeout_s: float = 1.0
    handshake_timeout_s: float = 10.0
    header_timeout_s: float = 60.0
    idle_timeout_s: float = 300.0
    write_timeout_s: float = 60.0
    response_header_timeout_s: float = 600.0
    drain_s: float = 10.0
    max_head_bytes: int = 64 * 1024
    max_headers: int = 200
    max_streams: int = 100
    max_connections: int = 8000
    error_503_page: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    repo_dir: Path
    slug_dir: Path
    cache_dir: Path
    work_dir: Path
    run_dir: Path
    gateway: str
    stack: str = "debian-12"
    stack_image: str = "docker.io/library/debian:12"
    memory_bytes: int = 1024 * MIB
    time_limit_s: float = 3600.0
    parallel: int = 1
    max_pack_bytes: int = 2048 * MIB
    ca_bundle: Path | None = Path("/etc/ssl/certs/ca-certificates.crt")
    pass_env: tuple[str, ...] = (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "NPM_CONFIG_REGISTRY",
        "npm_config_registry",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    ca_certificate: Path
    """The cluster's authority, for providers behind its own router."""
    dial_timeout_s: float = 5.0
    provision_timeout_s: float = 300.0
    deprovision_timeout_s: float = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    layer_dir: Path
    max_layer_bytes: int = 8192 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    ca_certificate: Path
    operator_key: Path
    """The operator's own copy of a key; the database has only its hash."""
    gateway: str
    host_features: tuple[str, ...]
    """What a release may have of the host; as in `EngineSettings`."""
    max_jobs: int
    """As in `EngineSettings`: nobody may ask for more."""
    slug_dir: Path
    max_body_bytes: int = 1 * MIB
    keep_alive_timeout_s: float = 60.0
    write_timeout_s: float = 60.0
    event_keepalive_s: float = 30.0
    attach_start_timeout_s: float = 60.0
    max_attached: int = 64
    """How many jobs may have a client attached at once. Nobody scales those: without a bound a loop of `flynn run`
    would take the addresses and memory the apps need, and for each a connection of Podman's service."""
    drain_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration, section by section; built once by `config.load`."""

    data_dir: Path
    domain: str
    store: StoreSettings
    engine: EngineSettings
    logs: LogSettings
    discoverd: DiscoverdSettings
    scheduler: SchedulerSettings
    router: RouterSettings
    build: BuildSettings
    providers: ProviderSettings
    images: ImageSettings
    controller: ControllerSettings
    sources: dict[str, str] = field(default_factory=dict)
    """Where each key that is not a default came from: ``router.http_port`` -> ``flynn.toml:12``."""


def appliance_id(data_dir: Path) -> str:
    """Return the eight hex digits that keep two appliances apart, from the data directory's real path."""
    return hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:8]
