"""Scratch: what a job writes outside of its volumes, and the end of one that writes too much.

A job's own files lie in the upper directories of overlays: one for its image, one for its slug. The kernel
could hold them to a size only on XFS, and there not both together, so `temp_disk` is watched: usage is measured
every minute, and at once when the disk has filled by more than `ALARM_BYTES` since. A job that is above its
limit is ended, and its files go with it. Between two looks it can have written what a disk takes in a second.

Source: `jobs.md` §8. In Flynn the root is a file system of that size, and a write beyond it fails.
"""

import errno
import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from ..settings import MIB
from .containers import Inspected
from .watcher import Container, Watcher

T = TypeVar("T")
R = TypeVar("R")

LOOK_EVERY_S = 1.0
"""How often it is looked how full the disk is: one call."""
MEASURE_EVERY_S = 60.0
ALARM_BYTES = 32 * MIB
ALARM_FILES = 8192
"""What the disk may lose since a measurement before the next one is due at once."""

SHARE = 20
"""Measuring takes at most this part of the time of one core."""

FILE_BYTES = 4096
"""What a file or directory counts for at least: Flynn's file system has an inode for each 4 KiB."""

_UPPER = re.compile(r" - overlay .*[ ,]upperdir=([^ ,]+)")
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Room:
    """What is left on a disk."""

    bytes: int
    files: int


def upper_directories(mountinfo: str) -> list[Path]:
    """Return where the overlays of a process keep what is written to them, as far as its mounts tell.

    Args:
        mountinfo: the text of its `/proc/PID/mountinfo`.
    """
    found = [_ESCAPED.sub(lambda code: chr(int(code[1], 8)), upper) for upper in _UPPER.findall(mountinfo)]
    return [Path(upper) for upper in found if upper.startswith("/")]


def scratch_of(inspected: Inspected) -> list[Path]:
    """Return the directories behind what a running container writes to; reads a file the kernel makes up."""
    try:
        mounted = upper_directories(Path("/proc", str(inspected.state.pid), "mountinfo").read_text())
    except OSError:  # it has ended
        mounted = []
    return list(dict.fromkeys([*([inspected.upper] if inspected.upper else []), *mounted]))


def usage(directories: Iterable[Path], *, at_most: int) -> int:
    """Return how many bytes lie in directories; counting ends when it is more than `at_most`. Blocks.

    What nests deeper than a path can be long counts as more than that.
    """
    total = 0
    linked: set[int] = set()
    left = [os.fspath(directory) for directory in directories]
    while left:
        for path, found in _entries(left.pop()):
            if found is None:
                return at_most + 1
            if found.st_ino in linked:
                continue
            if stat.S_ISDIR(found.st_mode):
                left.append(path)
            elif found.st_nlink > 1:
                linked.add(found.st_ino)
            total += max(found.st_blocks * 512, FILE_BYTES)
            if total > at_most:
                return total
    return total


def _entries(directory: str) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield what is in a directory; ``None`` of what nests too deep to be looked at."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # removed since it was listed
                    yield entry.path, entry.stat(follow_symlinks=False)
    except OSError as exc:  # gone meanwhile, perhaps with its container
        if exc.errno == errno.ENAMETOOLONG:
            yield directory, None


async def watch_scratch(watcher: Watcher, *, room: Callable[[Path], Room | None] | None = None) -> None:
    """End each job that writes more than it may, until cancelled.

    Args:
        room: finds what is left on the disk of a directory, ``None`` when the directory is gone.
    """
    room = room or room_at
    most: Room | None = None
    measured_at = -math.inf
    while True:
        began = trio.current_time()
        if limited := [one for one in watcher if one.temp_disk_bytes and one.scratch and not one.ended.is_set()]:
            now = await _in_thread(room, limited[0].scratch[0])
            if began - measured_at >= MEASURE_EVERY_S or _has_filled(most, now):
                for container in await _in_thread(_too_large, limited):
                    watcher.end_for_disk(container)
                most, measured_at = now, began
            elif most and now:
                most = Room(max(most.bytes, now.bytes), max(most.files, now.files))
        await trio.sleep(max(LOOK_EVERY_S, SHARE * (trio.current_time() - began)))


async def _in_thread(look: Callable[[T], R], at: T) -> R:
    """Look at a disk in a thread, which may be left behind: it changes nothing."""
    return await trio.to_thread.run_sync(look, at, abandon_on_cancel=True)


def _too_large(containers: Sequence[Container]) -> list[Container]:
    return [one for one in containers if usage(one.scratch, at_most=one.temp_disk_bytes) > one.temp_disk_bytes]


def _has_filled(most: Room | None, now: Room | None) -> bool:
    """Whether there is much less room than there was at some time since the last measurement."""
    if most is None or now is None:
        return True
    return most.bytes - now.bytes >= ALARM_BYTES or most.files - now.files >= ALARM_FILES


def room_at(directory: Path) -> Room | None:
    """Return what is left on the disk of a directory; ``None`` when it is gone. Blocks."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return Room(found.f_bfree * found.f_frsize, found.f_ffree)
