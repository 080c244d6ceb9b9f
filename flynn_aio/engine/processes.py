"""Processes: the two processes behind a running container, held by pidfds.

A pidfd cannot point to a stranger, needs no Podman to tell of an end or to deliver a signal, and tells
within a millisecond. Both processes are watched because Podman believes a container whose conmon was
killed to be running for ever (`findings.md` §3).
"""

import os
import re
import select
import signal
from pathlib import Path

import trio

PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"
CGROUP_V1_MEMORY = Path("/sys/fs/cgroup/memory")
CGROUP_V2 = Path("/sys/fs/cgroup")

PF_EXITING = 0x4
"""In the flags of `/proc/PID/stat`. Source: Linux, `include/linux/sched.h`."""

ENDS_NOTHING_BY_DEFAULT = frozenset(
    {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    | {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
)

_MASK = re.compile(r"^Sig(Blk|Ign|Cgt):\s*([0-9a-f]+)$", re.MULTILINE)
_CRUN = re.compile(r"[/:]crun(?:[: ]|$)")
_OOM_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class WatchedProcess:
    """A process that cannot be mistaken for another, alive or not.

    Args:
        pid: 0, or a pid that has been given to somebody else meanwhile, means: ended.
        mark: what its command line or its cgroup must contain.
    """

    def __init__(self, pid: int, mark: str) -> None:
        self.pid = pid
        self._fd: int | None = None
        try:
            self._fd = os.pidfd_open(pid) if pid > 0 else None
        except OSError:
            return
        if self._fd is not None and not _bears(pid, mark):
            self.close()

    @property
    def has_ended(self) -> bool:
        if self._fd is None:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def is_ending(self) -> bool:
        """Whether it has ended, or can no longer be stopped from it: its sockets may be closed already."""
        fields = _read(PROC / str(self.pid) / "stat").rpartition(")")[2].split()
        return self.has_ended or not fields or bool(int(fields[6]) & PF_EXITING)

    async def wait_ended(self) -> None:
        """Wait until it has ended. Only one task may wait at a time."""
        if self._fd is None:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._fd)

    def send_signal(self, number: int) -> bool:
        """Deliver a signal; return whether the process was still there."""
        if self._fd is None:
            return False
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        if self._fd is not None:
            trio.lowlevel.notify_closing(self._fd)
            os.close(self._fd)
            self._fd = None


def _bears(pid: int, mark: str) -> bool:
    return mark in _read(PROC / str(pid) / "cgroup") or mark in _read(PROC / str(pid) / "cmdline")


def identity_of(pid: int) -> str:
    """Return what tells a process from every other that had or will have its pid; empty when it has ended.

    When it was started, in clock ticks since boot, and which boot that was. Unlike the command line, which
    is empty for a moment while a program takes the place of another, this never changes.
    """
    fields = _read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    if not fields or fields[0] in {"Z", "X"}:
        return ""
    return f"{fields[19]} {_read(BOOT_ID).strip()}"


def would_ignore_as_init(pid: int, number: int) -> bool:
    """Whether this signal ends an ordinary process, but not this one because it is pid 1 of its container.

    The kernel drops signals for which an init has no handler. Flynn runs a job below an init of its own, so
    there a job without a handler for SIGTERM ends at SIGTERM; the caller makes that true with SIGKILL. The
    same goes for the moment before the job's own program runs: the runtime would swallow the signal.
    """
    if number in ENDS_NOTHING_BY_DEFAULT or number == signal.SIGKILL:
        return False
    if _is_runtime(pid):
        return True
    masks = dict(_MASK.findall(_read(PROC / str(pid) / "status")))
    return bool(masks) and not any(int(mask, 16) >> (number - 1) & 1 for mask in masks.values())


def _is_runtime(pid: int) -> bool:
    """Whether the OCI runtime has not yet given way to the job's program.

    runc tells by its name alone, since it runs from a copy whose path is just ``/``; crun by its path.
    """
    if _read(PROC / str(pid) / "comm").startswith("runc:["):
        return True
    try:
        return bool(_CRUN.search(os.readlink(PROC / str(pid) / "exe")))
    except OSError:
        return False


class MemoryEvents:
    """How often the kernel killed in a container's cgroup for lack of memory.

    Readable until the cgroup is removed, about 70 ms after the end of the job.
    """

    def __init__(self, pid: int) -> None:
        self._path = _memory_events(_read(PROC / str(pid) / "cgroup")) if pid else None

    def oom_kills(self) -> int:
        """Return the count, 0 when it can no longer be read."""
        found = _OOM_KILLS.search(_read(self._path)) if self._path else None
        return int(found[1]) if found else 0


def _memory_events(cgroups: str) -> Path | None:
    """Find the file of a process's memory events, from its `/proc/PID/cgroup`."""
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return CGROUP_V1_MEMORY / path.lstrip("/") / "memory.oom_control"
    for line in cgroups.splitlines():
        if line.startswith("0::"):
            return CGROUP_V2 / line.removeprefix("0::").lstrip("/") / "memory.events"
    return None


def _read(path: Path) -> str:
    """Read a file the kernel makes up: it costs microseconds and never waits for a disk."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
