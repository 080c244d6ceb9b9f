"""Retention: what of an app's files is given up when they hold more than they may. The plan is pure.

Files of ended jobs go first, oldest first; then what a live job wrote before its present file;
then holes are punched into the beginnings of live files (`findings.md` §2: no race with
conmon, and nothing lost that is not meant to be).
"""

import ctypes
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from ..model import JobID
from .files import KEPT, OLD, LogFile, survey

logger = logging.getLogger(__name__)

MAX_ENDED_JOBS = 500
"""Jobs of an app whose output is kept after their end: a job that crashes twice a minute leaves
2880 files a day, which hold little and slow down every look."""
BLOCK = 4096
FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2


@dataclass(slots=True)
class Plan:
    """What to give up.

    Attributes:
        delete: names of log files to remove with all that belongs to them.
        drop_old: names of log files of which only the older file goes.
        punch: name -> how many bytes at the beginning of the present file go.
    """

    delete: list[str] = field(default_factory=list)
    drop_old: list[str] = field(default_factory=list)
    punch: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.delete or self.drop_old or self.punch)


def is_over(files: Iterable[LogFile], *, app_bytes: int) -> bool:
    """Whether any app holds more than it may, so that it matters which jobs are live."""
    return any(
        sum(file.bytes_used for file in group) > app_bytes or len(group) > MAX_ENDED_JOBS for group in _by_app(files)
    )


def plan(files: Iterable[LogFile], live: frozenset[JobID], *, app_bytes: int) -> Plan:
    """Decide what goes, so that each app holds at most `app_bytes` on disk.

    Args:
        live: jobs that may still write; their present files stay.
    """
    made = Plan()
    for group in _by_app(files):
        _plan_app(made, group, live, app_bytes)
    return made


def _plan_app(made: Plan, files: list[LogFile], live: frozenset[JobID], app_bytes: int) -> None:
    used = sum(file.bytes_used for file in files)
    ended = sorted((file for file in files if file.origin.job not in live), key=lambda file: file.modified)
    while ended and (used > app_bytes or len(ended) > MAX_ENDED_JOBS):
        oldest = ended.pop(0)
        made.delete.append(oldest.name)
        used -= oldest.bytes_used
    living = sorted((file for file in files if file.origin.job in live), key=lambda file: file.modified)
    for file in living:
        if used > app_bytes and file.old_bytes:
            made.drop_old.append(file.name)
            used -= file.old_bytes
    if used <= app_bytes:
        return
    share = app_bytes // len(living)
    for file in living:
        present = file.bytes_used - file.old_bytes
        if present > share:
            made.punch[file.name] = (file.current_bytes - share) // BLOCK * BLOCK


def _by_app(files: Iterable[LogFile]) -> list[list[LogFile]]:
    ordered = sorted(files, key=lambda file: file.origin)
    return [list(group) for _, group in groupby(ordered, key=lambda file: file.origin.app)]


def carry_out(made: Plan, directory: Path) -> None:
    """Give up what the plan says. Blocks; each step is complete in itself."""
    for name in made.delete:
        remove(directory, name)
    for name in made.drop_old:
        with suppress(FileNotFoundError):
            os.unlink(directory / (name + OLD))
    for name, size in made.punch.items():
        with suppress(FileNotFoundError):
            _punch(directory / name, size)


def remove(directory: Path, name: str) -> None:
    """Delete an origin's files: first the one that `hold_on` would link or rename, so that nothing comes back."""
    for suffix in ("", KEPT, OLD):
        with suppress(FileNotFoundError):
            os.unlink(directory / (name + suffix))


def hold_on(directory: Path) -> list[LogFile]:
    """Take a second link to every file conmon writes, and set aside those it has left. Blocks.

    Returns:
        What there is, for a plan.
    """
    files = survey(directory)
    for file in files:
        path, kept = directory / file.name, directory / (file.name + KEPT)
        try:
            present, held = _inode(path), _inode(kept)
            if present is None or present == held:
                continue
            if held is not None:
                os.replace(kept, directory / (file.name + OLD))
            os.link(path, kept)
        except OSError as exc:  # gone again, or a file system without links: we lose history, not lines
            logger.debug("log file not linked", extra={"file": file.name, "reason": exc.strerror})
    return files


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _punch(path: Path, size: int) -> None:
    """Free the first `size` bytes of a file; its size stays, and who appends does not notice."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
        if libc.fallocate64(fd, mode, ctypes.c_int64(0), ctypes.c_int64(size)) != 0:
            reason = os.strerror(ctypes.get_errno())
            logger.warning("log file not shortened", extra={"file": path.name, "reason": reason})
    finally:
        os.close(fd)
