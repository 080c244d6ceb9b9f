"""Host: what this machine is like, and the settings of Podman that follow from it.

The decisions are pure; `look` reads the facts. `hosts.md` tells each condition and what it breaks.
"""

import re
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..errors import EngineError
from ..settings import EngineSettings
from .privileges import DEFAULT_CAPABILITIES

CGROUP_ROOT = Path("/sys/fs/cgroup")
PID_MAX = Path("/proc/sys/kernel/pid_max")


class CgroupMode(StrEnum):
    V2 = "v2"
    HYBRID = "hybrid"
    V1 = "v1"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The OCI runtime, and why it is this one."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What was found. `nofile` and `nproc` are hard limits; `podman` is a path or empty."""

    podman: str
    cgroups: CgroupMode
    nofile: int
    nproc: int
    swap_limit: bool


def look(settings: EngineSettings) -> HostFacts:
    """Look at the machine; reads a few files that the kernel makes up."""
    pid_max = int(PID_MAX.read_text())
    cgroups = cgroup_mode()
    return HostFacts(
        podman=shutil.which(settings.podman) or "",
        cgroups=cgroups,
        nofile=_hard_limit(resource.RLIMIT_NOFILE, 1048576),
        # Podman lowers its own limit to what the kernel has pids for, and cannot pass on more than it has
        nproc=_hard_limit(resource.RLIMIT_NPROC, pid_max),
        swap_limit=cgroups is CgroupMode.V2 or (CGROUP_ROOT / "memory/memory.memsw.limit_in_bytes").exists(),
    )


def _hard_limit(kind: int, at_most: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return at_most if hard == resource.RLIM_INFINITY else min(hard, at_most)


def cgroup_mode(root: Path = CGROUP_ROOT) -> CgroupMode:
    """Return how control groups are mounted."""
    if (root / "cgroup.controllers").exists():
        return CgroupMode.V2
    return CgroupMode.HYBRID if (root / "unified").exists() else CgroupMode.V1


def choose_runtime(wanted: str, cgroups: CgroupMode, which: Callable[[str], str | None] = shutil.which) -> Runtime:
    """Return the OCI runtime to use.

    Args:
        wanted: `settings.runtime`: a name, or ``auto``.

    Raises:
        EngineError: it is not installed, or none is.
    """
    if wanted != "auto":
        if which(wanted) is None:
            raise EngineError(
                f"cannot use OCI runtime {wanted!r}: it is not in $PATH; install it or set runtime = auto"
            )
        return Runtime(wanted, "the setting says so")
    is_v2 = cgroups is CgroupMode.V2
    why = "cgroups are v2" if is_v2 else f"cgroups are {cgroups}, which crun refuses"
    for name in ("crun", "runc") if is_v2 else ("runc",):
        if which(name) is not None:
            return Runtime(name, why)
    raise EngineError(f"cannot run jobs: no OCI runtime in $PATH that works here ({why}): apt-get install runc")


def containers_conf(facts: HostFacts, runtime: Runtime) -> str:
    """Return the text of our containers.conf: the only one our Podman service reads.

    The capabilities of every job stand here and not in each request, which would hand them to ordinary users too.
    """
    capabilities = ", ".join(f'"{name.removeprefix("CAP_")}"' for name in DEFAULT_CAPABILITIES)
    return f"""\
# Written by flynn-aio at every start; changes here are lost.
[containers]
default_capabilities = [{capabilities}]
default_ulimits = ["nofile={facts.nofile}:{facts.nofile}", "nproc={facts.nproc}:{facts.nproc}"]

[engine]
runtime = "{runtime.name}"
events_logger = "file"
"""


OLDEST_PODMAN = (4, 3)
"""The oldest Podman these calls were tried with."""


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version such as ``podman version 4.3.1``; empty when there are none."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def check_version(text: str) -> None:
    """Refuse a Podman that is too old.

    Raises:
        EngineError: so it is.
    """
    if parse_version(text) < OLDEST_PODMAN:
        oldest = ".".join(map(str, OLDEST_PODMAN))
        raise EngineError(f"cannot use Podman {text.strip()}: version {oldest} or newer is needed, please upgrade it")
