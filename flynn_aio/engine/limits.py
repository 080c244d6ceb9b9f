"""Limits: what a process may use at most, and what cannot be such a limit.

A limit is no reservation: all of them together, or one alone, may be more than the machine has.

Source: `jobs.md` §8; Flynn `host/resource/resource.go`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..model import ResourceSpec, with_default_resources
from ..settings import MIB
from .privileges import Refusal

CPU_SHARES_PER_CORE = 1024
CPU_SHARES_MIN, CPU_SHARES_MAX = 2, 262144
"""The kernel's own bounds."""

MIN_MEMORY_BYTES = 6 * MIB
"""The OCI runtime lives in the job's control group while it starts the job: runc 1.1 needs 3 to 4 MiB there."""
MIN_FILES = 16
"""The OCI runtime has the job's limit already while it starts the job: runc 1.1 fails with 10."""
MAX_FILES = 0x7FFFFFC0
MAX_PROCESSES = 4194304
MAX_AMOUNT = 2**63 - 1
"""The kernel's, Linux `fs/file_table.c` and `include/linux/threads.h`; an amount is one of Go's `int64`."""

NR_OPEN = Path("/proc/sys/fs/nr_open")

BOUNDS = {
    "memory": (MIN_MEMORY_BYTES, MAX_AMOUNT),
    "max_fd": (MIN_FILES, MAX_FILES),
    "max_procs": (1, MAX_PROCESSES),
}
"""Least and most of each kind; of another kind any amount will do. None at all, 0, is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a job may use at most; 0 means there is no limit. `soft_fd` is how many files it may open as it begins."""

    memory_bytes: int
    cpu_shares: int
    max_fd: int
    soft_fd: int
    pids: int
    temp_disk_bytes: int


def limits_of(resources: Mapping[str, ResourceSpec]) -> Limits:
    """Return the limits a process asks for, or gets because it does not ask."""
    full = with_default_resources(resources)
    limits = {kind: resource.limit or 0 for kind, resource in full.items()}
    return Limits(
        memory_bytes=limits["memory"],
        cpu_shares=cpu_shares(limits["cpu"]),
        max_fd=limits["max_fd"],
        soft_fd=full["max_fd"].request or 0,
        pids=limits.get("max_procs", 0),
        temp_disk_bytes=limits["temp_disk"],
    )


def cpu_shares(milli_cpu: int) -> int:
    """Return the weight of a CPU limit: 1024 for each core. Source: `jobs.md` §8."""
    return min(max(milli_cpu * CPU_SHARES_PER_CORE // 1000, CPU_SHARES_MIN), CPU_SHARES_MAX)


def limits_refusal(resources: Mapping[str, ResourceSpec], *, nr_open: int = MAX_FILES) -> Refusal | None:
    """Return why a process cannot have these limits, or ``None`` when it can.

    Args:
        nr_open: how many open files the kernel of this machine lets a process have at most.
    """
    for kind, resource in sorted(resources.items()):
        least, most = BOUNDS.get(kind, (0, MAX_AMOUNT))
        for half, amount in (("request", resource.request), ("limit", resource.limit)):
            field = f"resources.{kind}.{half}"
            if amount is not None and amount < 0:
                return Refusal(field, "must not be negative")
            if amount and amount < least:
                return Refusal(field, f"must be at least {least}{_in_mib(kind, least)}: with less no process can start")
            if amount and kind == "max_fd" and amount > nr_open:
                return Refusal(field, f"must be at most {nr_open}, as many as this machine lets a process open")
            if amount and amount > most:
                return Refusal(field, f"must be at most {most}")
    return None


def open_files_at_most() -> int:
    """Return how many open files the kernel of this machine lets a process have; reads a file the kernel makes up."""
    return int(NR_OPEN.read_text())


def _in_mib(kind: str, amount: int) -> str:
    return f" ({amount // MIB}MB)" if kind == "memory" else ""
