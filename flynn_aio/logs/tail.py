"""Tail: a place in the output of one job, and reading on from there.

The place outlives the moment conmon begins a new file: it names the file it is in, and the older
ones are still there, see `files`. Blocks, for a bounded piece at a time.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from .files import Part, opened, pieces
from .line import Origin
from .record import MAX_RECORD, Decoder, Line

_LINE_END = re.compile(rb"^\S+ (?:stdout|stderr|init) F ", re.MULTILINE)


class Tail:
    """A place in the files of one origin.

    Args:
        name: the name conmon writes to.
        decoder: stands at that place, with the line under way.
        inode: the file the place is in; ``None`` means the beginning of all there is.
        offset: in that file.
    """

    def __init__(self, origin: Origin, name: str, decoder: Decoder, *, inode: int | None = None, offset: int = 0):
        self.origin = origin
        self.name = name
        self.decoder = decoder
        self._inode = inode
        self._offset = offset

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
        for index, part in enumerate(parts):
            if part.inode == self._inode:
                return list(parts[index:])
        self._inode, self._offset = (parts[0].inode if parts else None), 0
        return list(parts)

    def _advance(self, ahead: Sequence[Part], size: int) -> None:
        self._offset += size
        for part, following in pairwise(ahead):
            if self._offset < part.size:
                return
            self._inode = following.inode
            self._offset -= part.size

    def _left(self, ahead: Sequence[Part]) -> int:
        return sum(part.size for part in ahead) - self._offset
