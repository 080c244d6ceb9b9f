"""Tail: a place in the output of one job, and reading on from there.

The place outlives the moment conmon begins a new file: it names the file it is in, and the older
ones are still there, see `files`. Blocks, for a bounded piece at a time.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from .cursor import Place
from .files import Part, data_start, opened, pieces
from .line import Origin
from .record import MAX_RECORD, STREAMS, Decoder, Line
from .ring import read_back

_LINE_END = re.compile(rb"^\S+ (?:stdout|stderr|init) F ", re.MULTILINE)


class Tail:
    """A place in the files of one origin.

    Args:
        name: the name conmon writes to.
        decoder: stands at that place, with the line under way.
        inode: the file the place is in; ``None`` means the beginning of all there is.
        offset: in that file.

    Attributes:
        is_gone: whether there was no file at all when it was read last.
    """

    def __init__(self, origin: Origin, name: str, decoder: Decoder, *, inode: int | None = None, offset: int = 0):
        self.origin = origin
        self.name = name
        self.decoder = decoder
        self._inode = inode
        self._offset = offset
        self._gap: int | None = None
        self.is_gone = False

    @property
    def place(self) -> Place:
        """Where the tail stands."""
        return Place(self._inode, self._offset, not self.decoder.has_pending)

    def take_gap(self) -> int | None:
        """Return how many bytes before the last ones read were given up, since this was asked last.

        ``None`` means none, and 0 that nobody can tell how many.
        """
        gap, self._gap = self._gap, None
        return gap

    def read_on(self, directory: Path, *, most: int) -> tuple[list[Line], int]:
        """Read up to `most` bytes; return the lines now complete, and how many bytes are still to come."""
        lines: list[Line] = []
        size = 0
        with opened(directory, self.name) as parts:
            ahead = self._ahead(parts)
            left = self._left(ahead)
            for data in pieces(ahead, self._offset, most=most):
                lines += self.decoder.feed(data)
                size += len(data)
            self._advance(ahead, size)
        return lines, left - size

    def skip(self, directory: Path, *, keep: int, line_bytes: int) -> int:
        """Move on to the last `keep` bytes, and return how many lines were left out."""
        lines = size = 0
        rest = b""
        with opened(directory, self.name) as parts:
            ahead = self._ahead(parts)
            for data in pieces(ahead, self._offset, most=self._left(ahead) - keep):
                block = rest + data
                end = block.rfind(b"\n") + 1
                lines += len(_LINE_END.findall(block, 0, end))
                rest = block[end:][-MAX_RECORD:]
                size += len(data)
            self._advance(ahead, size)
        if size:
            self.decoder = Decoder(line_bytes=line_bytes, from_start=False)
        return lines

    def _ahead(self, parts: Sequence[Part]) -> list[Part]:
        """Return the file we are in and those after it; all of them when ours is gone."""
        self.is_gone = not parts
        for index, part in enumerate(parts):
            if part.inode == self._inode:
                self._skip_hole(part)
                return list(parts[index:])
        if self._inode is not None:
            self._gap = 0
            self.decoder = self.decoder.anew()
        self._inode, self._offset = (parts[0].inode if parts else None), 0
        if parts:
            self._skip_hole(parts[0])
        return list(parts)

    def _skip_hole(self, part: Part) -> None:
        """Go on behind what retention has punched out of the file."""
        start = data_start(part)
        if start > self._offset:
            self._gap = (self._gap or 0) + start - self._offset
            self._offset = start
            self.decoder = self.decoder.anew()

    def _advance(self, ahead: Sequence[Part], size: int) -> None:
        self._offset += size
        for part, following in pairwise(ahead):
            if self._offset < part.size:
                return
            self._inode = following.inode
            self._offset -= part.size

    def _left(self, ahead: Sequence[Part]) -> int:
        return sum(part.size for part in ahead) - self._offset


def tail_at(place: Place, origin: Origin, name: str, *, directory: Path, line_bytes: int) -> Tail:
    """Return a tail at a place noted earlier; the line under way there is found by reading back."""
    decoder = Decoder(line_bytes=line_bytes)
    if not place.is_clean:
        with opened(directory, name) as parts:
            before = _up_to(parts, place)
            decoder = read_back(before, wanted=0, streams=STREAMS, line_bytes=line_bytes, max_bytes=0).decoder
    return Tail(origin, name, decoder, inode=place.inode, offset=place.offset)


def _up_to(parts: Sequence[Part], place: Place) -> list[Part]:
    """Return the files up to a place; none of them when it is not in them any more."""
    before: list[Part] = []
    for part in parts:
        if part.inode == place.inode:
            return [*before, Part(part.fd, part.inode, min(part.size, place.offset))]
        before.append(part)
    return []
