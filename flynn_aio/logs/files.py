"""Files: which log files there are, and reading pieces of them. Blocks: for threads, or small pieces.

conmon writes the file named by the engine, and after `log_file_bytes` begins a new one in its
place. We hold a second link to what it writes (`KEPT`), and so still have the old file when
that happens; it is then renamed (`OLD`). A job's output is what these hold, in order.
"""

import errno
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..engine import INIT_SUFFIX, parse_log_file_name
from .line import Origin

OLD = ".old"
KEPT = ".kept"
OURS = (OLD, KEPT)
"""Suffixes of names conmon does not know."""
PIECE = 256 * 1024


@dataclass(slots=True)
class LogFile:
    """The files of one origin.

    Attributes:
        name: the name conmon writes to.
        bytes_used: on disk, each file once; holes do not count.
        old_bytes: of these, in the file before the present one.
        modified: Unix time of the last write.
        current_bytes: size of the present file, holes included.
    """

    origin: Origin
    name: str
    bytes_used: int = 0
    old_bytes: int = 0
    modified: float = 0.0
    current_bytes: int = 0
    inodes: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Part:
    """An open file of an origin, with the size it had when it was opened."""

    fd: int
    inode: int
    size: int


def base_name(name: str) -> str:
    """Return the name conmon writes to, of any of an origin's files."""
    return name.removesuffix(OLD).removesuffix(KEPT)


def origin_of(name: str) -> Origin | None:
    """Return whose lines a file holds, or ``None`` when it is not one of ours."""
    base = base_name(name)
    parsed = parse_log_file_name(base)
    return Origin(*parsed, is_init=base.endswith(INIT_SUFFIX)) if parsed else None


def survey(directory: Path, *, app: str = "") -> list[LogFile]:
    """Return what there is, of one app or of all."""
    found: dict[str, LogFile] = {}
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith(app):
                continue
            origin = origin_of(entry.name)
            if origin is None or (app and origin.app != app):
                continue
            with suppress(FileNotFoundError):  # gone since the listing
                _count(found, base_name(entry.name), origin, entry)
    return list(found.values())


def _count(found: dict[str, LogFile], name: str, origin: Origin, entry: os.DirEntry[str]) -> None:
    stat = entry.stat(follow_symlinks=False)
    file = found.setdefault(name, LogFile(origin, name))
    file.modified = max(file.modified, stat.st_mtime)
    if entry.name == name:
        file.current_bytes = stat.st_size
    if stat.st_ino not in file.inodes:
        file.inodes.add(stat.st_ino)
        file.bytes_used += stat.st_blocks * 512
        if entry.name.endswith(OLD):
            file.old_bytes = stat.st_blocks * 512


@contextmanager
def opened(directory: Path, name: str) -> Iterator[list[Part]]:
    """Open the files of an origin, oldest first, each once.

    conmon may begin a new file at any moment. The present one is opened first, so whatever
    happens meanwhile, what is seen is in order and without a gap up to some moment.
    """
    with ExitStack() as stack:
        by_name: dict[str, Part] = {}
        for suffix in ("", KEPT, OLD):
            with suppress(FileNotFoundError):
                fd = os.open(directory / (name + suffix), os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                stat = os.fstat(fd)
                by_name[suffix] = Part(fd, stat.st_ino, stat.st_size)
        parts: dict[int, Part] = {}
        for suffix in (OLD, KEPT, ""):
            if part := by_name.get(suffix):
                parts.setdefault(part.inode, part)
        yield list(parts.values())


def data_start(part: Part) -> int:
    """Return where the first data lies: behind the hole that was punched into what was consumed."""
    try:
        return os.lseek(part.fd, 0, os.SEEK_DATA)
    except OSError as exc:  # no data at all, or a file system that cannot tell
        return part.size if exc.errno == errno.ENXIO else 0


def pieces(parts: Sequence[Part], begin: int, *, most: float = math.inf) -> Iterator[bytes]:
    """Yield what the parts hold from `begin` on, as if they were one file, up to the sizes noted.

    Args:
        most: end after so many bytes.
    """
    for part in parts:
        offset = max(begin, 0)
        begin -= part.size
        while offset < part.size and most > 0:
            data = os.pread(part.fd, int(min(PIECE, part.size - offset, most)), offset)
            if not data:
                break
            yield data
            offset += len(data)
            most -= len(data)
