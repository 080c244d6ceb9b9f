"""inotify: which files of one directory changed.

One watch serves all jobs. Python has no binding, so libc is called by hand, here only. While
nobody follows, writes are not reported: a job that prints costs us nothing then.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from ..watch import Bell

IN_MODIFY = 0x2
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_Q_OVERFLOW = 0x4000
IN_NONBLOCK = os.O_NONBLOCK
IN_CLOEXEC = os.O_CLOEXEC
COMINGS = IN_CREATE | IN_MOVED_TO
WRITES = IN_MODIFY
EVENT = struct.Struct("iIII")
READ_BYTES = 64 * 1024
PAUSE_S = 0.02
"""Events are gathered for so long: a busy job then costs fifty wake-ups a second, not thousands."""


@dataclass(slots=True, eq=False)
class Changes:
    """What changed for one reader since it last looked.

    Attributes:
        bell: rings when there is something new.
        names: files that changed.
        is_lost: events were lost, so anything may have changed.
    """

    prefix: str
    mask: int
    bell: Bell = field(default_factory=Bell)
    names: set[str] = field(default_factory=set)
    is_lost: bool = False

    def take(self) -> tuple[set[str], bool]:
        """Return what changed, and begin anew."""
        taken = self.names, self.is_lost
        self.names, self.is_lost = set(), False
        return taken


class DirectoryWatch:
    """Tells readers which files of a directory came or changed. Close it when done.

    Raises:
        OSError: the kernel has no more instances or watches, or there is no such directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = os.fsencode(directory)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._readers: set[Changes] = set()
        self._fd = _checked(self._libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC))
        try:
            self._set_mask()
        except OSError:
            os.close(self._fd)
            raise

    def close(self) -> None:
        os.close(self._fd)

    @contextmanager
    def reader(self, prefix: str, *, writes: bool) -> Iterator[Changes]:
        """Note the names that begin with `prefix` while the block runs.

        Args:
            writes: whether to report writes as well, and not only new files.
        """
        changes = Changes(prefix, COMINGS | (WRITES if writes else 0))
        self._readers.add(changes)
        try:
            self._set_mask()
            yield changes
        finally:
            self._readers.discard(changes)
            self._set_mask()

    async def run(self) -> None:
        """Pass events on until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            await trio.sleep(PAUSE_S)
            self._pass_on(os.read(self._fd, READ_BYTES))

    def _pass_on(self, data: bytes) -> None:
        woken = set()
        for mask, name in parse_events(data):
            for changes in self._readers:
                if mask & IN_Q_OVERFLOW:
                    changes.is_lost = True
                elif mask & changes.mask and name.startswith(changes.prefix):
                    changes.names.add(name)
                else:
                    continue
                woken.add(changes)
        for changes in woken:
            changes.bell.ring()

    def _set_mask(self) -> None:
        """Ask for what somebody wants; asking again for the same directory replaces the mask."""
        mask = COMINGS
        for changes in self._readers:
            mask |= changes.mask
        _checked(self._libc.inotify_add_watch(self._fd, self._directory, mask))


def parse_events(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield mask and name of each event in what was read from the descriptor."""
    offset = 0
    while offset < len(data):
        _, mask, _, size = EVENT.unpack_from(data, offset)
        offset += EVENT.size
        yield mask, os.fsdecode(data[offset : offset + size].rstrip(b"\0"))
        offset += size


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
