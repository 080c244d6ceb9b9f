"""Exits: what the kernel and conmon tell us without being asked.

conmon renames one small file per ended container into Podman's exits directory: seen by inotify in 2 ms,
with the exit code, and without Podman's service (`findings.md` §3). The kernel's log names the cgroup
whenever it kills for lack of memory, also a child of a job that goes on.
"""

import ctypes
import logging
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import trio

from ..errors import EngineError

logger = logging.getLogger(__name__)

IN_MOVED_TO = 0x80
IN_CLOSE_WRITE = 0x8
IN_Q_OVERFLOW = 0x4000
_EVENT_HEAD = struct.Struct("iIII")

KERNEL_LOG = Path("/dev/kmsg")
_OOM_KILL = re.compile(rb"oom-kill:.*task_memcg=[^,]*libpod-([0-9a-f]{64})")


class ExitFiles:
    """The exit codes of containers, as conmon writes them.

    Register an id with `expect` as soon as its container has started. The file vanishes about 50 ms after the
    end; of one missed like that Podman knows the code.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._expected: dict[str, trio.Event] = {}
        self._codes: dict[str, int | None] = {}
        self._fd = _inotify(directory)

    def close(self) -> None:
        trio.lowlevel.notify_closing(self._fd)
        os.close(self._fd)

    def expect(self, container: str) -> None:
        """Remember this container's exit code when it comes, or came already."""
        self._expected.setdefault(container, trio.Event())
        code = self._read(container)
        if code is not None:
            self._note(container, code)

    def forget(self, container: str) -> None:
        self._expected.pop(container, None)
        self._codes.pop(container, None)

    async def code(self, container: str) -> int | None:
        """Wait for an expected container's end; return its code, ``None`` when the file was gone already."""
        await self._expected[container].wait()
        return self._codes.get(container)

    async def run(self) -> None:
        """Watch the directory, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            for mask, name in _events(os.read(self._fd, 64 * 1024)):
                if mask & IN_Q_OVERFLOW:
                    for container in list(self._expected):
                        self.expect(container)
                elif name in self._expected:
                    self._note(name, self._read(name))

    def _note(self, container: str, code: int | None) -> None:
        self._codes.setdefault(container, code)
        self._expected[container].set()

    def _read(self, container: str) -> int | None:
        try:
            return int((self._directory / container).read_text())
        except (OSError, ValueError):
            return None


def _inotify(directory: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise EngineError(f"cannot watch for exits: {os.strerror(ctypes.get_errno())}; raise fs.inotify limits")
    if libc.inotify_add_watch(descriptor, os.fsencode(directory), IN_MOVED_TO | IN_CLOSE_WRITE) < 0:
        problem = os.strerror(ctypes.get_errno())
        os.close(descriptor)
        raise EngineError(f"cannot watch {directory} for exits: {problem}")
    return descriptor


def _events(data: bytes) -> list[tuple[int, str]]:
    """Return mask and name of each event in what inotify gave."""
    events = []
    start = 0
    while start < len(data):
        _, mask, _, length = _EVENT_HEAD.unpack_from(data, start)
        start += _EVENT_HEAD.size
        events.append((mask, data[start : start + length].rstrip(b"\0").decode(errors="replace")))
        start += length
    return events


async def watch_oom(tell: Callable[[str], None]) -> None:
    """Call `tell` with a container's id whenever the kernel killed in it, until cancelled.

    Where the kernel's log cannot be read, this returns: the cgroup counters are the second source.
    """
    try:
        descriptor = os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        logger.warning("cannot read the kernel's log; out-of-memory kills are seen later", extra={"why": str(exc)})
        return
    try:
        os.lseek(descriptor, 0, os.SEEK_END)
        while True:
            try:
                await trio.lowlevel.wait_readable(descriptor)
                record = os.read(descriptor, 8192)
            except BrokenPipeError:  # the ring overtook us; the next read continues behind the gap
                continue
            except BlockingIOError:
                continue
            except OSError as exc:  # it may be anything: in a container it often is /dev/null
                logger.warning(
                    "cannot follow the kernel's log; out-of-memory kills are seen later", extra={"why": str(exc)}
                )
                return
            if found := _OOM_KILL.search(record):
                tell(found[1].decode())
    finally:
        os.close(descriptor)
