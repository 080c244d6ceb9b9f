"""Cursor: up to where a sink has the output of every job, so that a restart goes on from there.

It is small whatever there is: jobs that ended long ago are told by one time for all of them. The time
errs on the side of sending a file again, never on that of leaving one out.

Source: `logs.md` §7.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct, field

from ..errors import MalformedInput
from ..model import decode, encode

UNSEEN_S = 5.0
"""A file may be so old before we have heard of it."""


class Place(NamedTuple):
    """A place in the output of one job.

    Attributes:
        inode: the file it is in; ``None`` means the beginning of all there is.
        is_clean: whether no line is under way there.
    """

    inode: int | None
    offset: int
    is_clean: bool


START = Place(None, 0, True)


class Saved(Struct, frozen=True, kw_only=True):
    """A cursor as it lies on the disk.

    Attributes:
        sink: made when the sink was; another sink with the same id begins anew.
        before: Unix time; files last written before it are sent, but for those in `places`.
        places: by the name conmon writes to.
    """

    sink: str
    before: float = 0.0
    places: dict[str, Place] = field(default_factory=dict)


class Cursor:
    """What a sink has, as far as we know.

    Attributes:
        places: of jobs that may go on, or have ended a moment ago.
    """

    def __init__(self, saved: Saved) -> None:
        self._sink = saved.sink
        self._before = saved.before
        self.places = dict(saved.places)
        self._ended: dict[str, float] = {}

    def wants(self, name: str, modified: float) -> bool:
        """Tell at the start whether a file may hold something new."""
        return name in self.places or modified > self._before

    def end(self, name: str, now: float) -> None:
        """Note that a job has ended and the sink has all of it."""
        self._ended[name] = now

    def go_on(self, name: str) -> None:
        """Note that a file has changed after all."""
        self._ended.pop(name, None)

    def forget(self, name: str) -> None:
        """A file is gone."""
        self.places.pop(name, None)
        self._ended.pop(name, None)

    def saved(self, now: float, pending: set[str]) -> Saved:
        """Return what to save.

        Args:
            pending: names of files with something the sink does not have, or may not have.
        """
        self._before = now - UNSEEN_S
        for name in [name for name, ended in self._ended.items() if ended < self._before - 1.0]:
            self.forget(name)
        return Saved(
            sink=self._sink,
            before=self._before,
            places={name: self.places.get(name, START) for name in self.places.keys() | pending},
        )


def load(path: Path, sink: str) -> Cursor:
    """Read a cursor; without one, or with one that is no good, the sink begins with all there is. Blocks."""
    with suppress(FileNotFoundError, MalformedInput):
        saved = decode(path.read_bytes(), Saved)
        if saved.sink == sink:
            return Cursor(saved)
    return Cursor(Saved(sink=sink))


def save(path: Path, saved: Saved) -> None:
    """Write a cursor whole or not at all. Blocks.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(encode(saved))
    os.replace(new, path)


def remove(path: Path) -> None:
    """Delete a cursor. Blocks."""
    with suppress(FileNotFoundError):
        path.unlink()
