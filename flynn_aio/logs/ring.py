"""The ring: the newest lines of an origin, read back from its files.

Nothing of it lies in memory. The files are what conmon wrote, the disk is bounded by
`retention`, and reading the last lines costs as much as these lines: a piece from the end, and a
four times larger one as long as it holds too few. Blocks: for threads.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from .files import Part, data_start, pieces
from .record import Decoder, Line

FIRST_BYTES = 64 * 1024
SETTLE_BYTES = 1024 * 1024
"""How far back the beginning of a line that is still being written is looked for."""
MAX_REACH = 64 * 1024 * 1024
"""How far back is read when hardly a line is wanted, e.g. the few in stderr: about three seconds."""


class Past(NamedTuple):
    """The newest lines, and the decoder that stands behind the last byte read."""

    lines: list[Line]
    decoder: Decoder


def read_back(parts: Sequence[Part], *, wanted: int, streams: frozenset[str], line_bytes: int, max_bytes: int) -> Past:
    """Return the last `wanted` lines in `streams`, at most `max_bytes` of text.

    With `wanted` 0 the decoder is all there is to gain: it knows the line under way.
    """
    total = sum(part.size for part in parts)
    first = data_start(parts[0]) if parts else 0
    reach = FIRST_BYTES
    while True:
        begin = max(first, total - reach)
        decoder = Decoder(line_bytes=line_bytes, from_start=begin == 0)
        lines: deque[Line] = deque()
        size, is_full = 0, False
        for data in pieces(parts, begin):
            for line in decoder.feed(data):
                if line.stream not in streams or not wanted:
                    continue
                lines.append(line)
                size += len(line.text)
                while len(lines) > wanted or size > max_bytes:
                    size -= len(lines.popleft().text)
                    is_full = True
        is_enough = is_full or len(lines) >= wanted
        is_clear = not decoder.misses_a_beginning or reach >= SETTLE_BYTES
        if begin <= first or reach >= MAX_REACH or (is_enough and is_clear):
            decoder.settle()
            return Past(list(lines), decoder)
        reach *= 4
