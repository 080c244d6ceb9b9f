"""Privileges: what a process asks of the host beyond its own container, and whether it may have it. Pure.

Flynn gives a release whatever it asks for, so whoever may deploy is root on the host. Here the operator
says which of it there is, `[engine] host_features`; by default none. A release that asks for more is
refused when it is created, and again when it is started: the operator may have thought better of it.

Source: `jobs.md` §3; Flynn `host/types/defaults.go`, `host/profiles.go`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import StartError
from ..model import ProcessType
from .protocol import Mount

DEFAULT_CAPABILITIES = (
    "CAP_NET_RAW",
    "CAP_NET_BIND_SERVICE",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_DAC_OVERRIDE",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_MKNOD",
    "CAP_CHOWN",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SYS_CHROOT",
)
"""Those every job can have, as in Flynn: a list within it takes rights away, which needs nobody's leave."""

ORDINARY_DEVICES = frozenset({"/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"})
"""What every job has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named bundle of privileges."""

    devices: tuple[str, ...]
    capabilities: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()


PROFILES = {
    "kvm": Profile(devices=("/dev/kvm", "/dev/net/tun"), capabilities=("CAP_NET_ADMIN",)),
    "loop": Profile(devices=("/dev/loop-control", "/dev/loop0")),
    "zfs": Profile(devices=("/dev/zfs",), mounts=(Mount(source=Path("/dev/zvol"), target="/dev/zvol"),)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Privileges:
    """What a job gets of the host.

    Attributes:
        network, pid: whether it lives in the host's own namespace.
        capabilities: exactly those it has; ``None`` leaves it to the engine.
        devices: device nodes of the host, by their path.
    """

    network: bool = False
    pid: bool = False
    capabilities: tuple[str, ...] | None = None
    devices: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a process cannot be had here: `text` continues the name of the `field`."""

    field: str
    text: str


def refusal(process: ProcessType, allowed: Collection[str]) -> Refusal | None:
    """Return why a process asks for too much, or ``None`` when it does not.

    Args:
        allowed: the `host_features` of the settings.
    """
    if process.writeable_cgroups:
        return Refusal("writeable_cgroups", "cannot be had: jobs here never write control groups")
    for field, feature in _asked(process):
        if feature not in allowed:
            return Refusal(field, not_allowed(feature))
    return None


def not_allowed(feature: str) -> str:
    """Return what to say of a feature that the operator has not allowed; it continues the name of a field."""
    return (
        f"needs the host's {feature}, which this appliance does not allow; "
        f'its operator can: host_features = ["{feature}"] below [engine] in flynn.toml'
    )


def privileges(process: ProcessType) -> Privileges:
    """Return what a process gets, all of it being allowed.

    Raises:
        StartError: it cannot be read.
    """
    given = [profile_named(name) for name in process.profiles]
    capabilities = tuple(map(_capability, process.linux_capabilities)) or None
    extra = [name for profile in given for name in profile.capabilities]
    if process.host_network and not process.linux_capabilities:
        extra.append("CAP_NET_ADMIN")  # as in Flynn
    if extra:
        capabilities = tuple(dict.fromkeys([*(capabilities or DEFAULT_CAPABILITIES), *extra]))
    devices = [device for profile in given for device in profile.devices]
    return Privileges(
        network=process.host_network,
        pid=process.host_pid_namespace,
        capabilities=capabilities,
        devices=tuple(dict.fromkeys([*devices, *_devices(process)])),
        mounts=(*mounts_of(process), *(mount for profile in given for mount in profile.mounts)),
    )


def profile_named(name: str) -> Profile:
    if name not in PROFILES:
        raise StartError(f"unknown job profile: {name}")
    return PROFILES[name]


def mounts_of(process: ProcessType) -> tuple[Mount, ...]:
    """Read Flynn's mounts, where `location` is the path inside and `target` the one on the host."""
    for mount in process.mounts:
        if not mount.get("target"):
            raise StartError(f"host: invalid mount at {mount.get('location', '')!r}: it has no target on the host")
        if not str(mount.get("location", "")).startswith("/"):
            raise StartError(f"host: invalid mount of {mount['target']!r}: its location inside is not an absolute path")
    return tuple(
        Mount(source=Path(str(mount["target"])), target=mount["location"], writable=bool(mount.get("writeable")))
        for mount in process.mounts
    )


def _asked(process: ProcessType) -> Iterator[tuple[str, str]]:
    """Yield each field that asks for something of the host, and the feature it asks for."""
    if process.host_network:
        yield "host_network", "network"
    if process.host_pid_namespace:
        yield "host_pid_namespace", "pid"
    if process.mounts:
        yield "mounts", "mounts"
    if process.profiles:
        yield "profiles", "profiles"
    if any(device.get("path") not in ORDINARY_DEVICES for device in process.allowed_devices):
        yield "allowed_devices", "devices"
    if not {_capability(name) for name in process.linux_capabilities} <= set(DEFAULT_CAPABILITIES):
        yield "linux_capabilities", "capabilities"


def _capability(name: str) -> str:
    name = name.upper()
    return name if name.startswith("CAP_") else f"CAP_{name}"


def _devices(process: ProcessType) -> Sequence[str]:
    found = []
    for device in process.allowed_devices:
        path = str(device.get("path") or "")
        if path in ORDINARY_DEVICES or device.get("allow") is False:
            continue
        if not PurePosixPath(path).is_relative_to("/dev") or ".." in path or ":" in path:
            raise StartError(f"host: invalid device {path!r}: a device is named by its path below /dev")
        found.append(path)
    return found
