"""Records: the bytes of a log file -> lines. Pure.

conmon writes one record per `write()` of the job: ``<time> <stream> <P|F> <text>``. `P` means that
the line goes on in the next record of the same stream, `F` that it is whole. A file may begin in
the middle (holes were punched into what was consumed), and a record at the edge of a full disk
is torn, with the next one right behind it on the same line.

Source: `logs.md` §1; `findings.md` §2; conmon `src/ctr_logging.c`.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

STREAMS = frozenset({"stdout", "stderr", "init"})
MAX_RECORD = 64 * 1024
"""conmon writes at most 8 KiB of text per record; what is longer without a newline is no record."""

_HEADER = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) (stdout|stderr|init) ([PF]) ")
_UTC = (b"Z", b"+00:00")


class Line(NamedTuple):
    """A line of output.

    Attributes:
        time: when its last piece was read, in UTC with nine digits and no zone, so that texts
            sort like moments.
        text: at most `line_bytes`, without the newline.
    """

    time: str
    stream: str
    text: bytes


class _Record(NamedTuple):
    time: str
    stream: str
    is_whole: bool
    text: bytes


class Decoder:
    """Turns the bytes of a file, split anywhere, into lines.

    Args:
        line_bytes: longer lines are cut into messages of this many bytes.
        from_start: whether the first byte fed is the first of the file. Otherwise everything up
            to the first newline is passed over, and each stream's lines up to its first
            whole one, since their beginnings lie before.
    """

    def __init__(self, *, line_bytes: int, from_start: bool = True) -> None:
        self._line_bytes = line_bytes
        self._rest = b""
        self._skips_first = not from_start
        self._unsure = set() if from_start else set(STREAMS)
        self._dropped: set[str] = set()  # unsure streams with a line whose beginning is missing
        self._partials: dict[str, tuple[str, bytearray]] = {}

    @property
    def has_pending(self) -> bool:
        """Whether something was fed that is not yet a line."""
        return bool(self._partials or self._rest)

    @property
    def misses_a_beginning(self) -> bool:
        """Whether a line is under way that began before the first byte fed."""
        return bool(self._dropped)

    def feed(self, data: bytes) -> list[Line]:
        """Return the lines that are complete by now."""
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-MAX_RECORD:]
        if self._skips_first and whole:
            self._skips_first = False
            del whole[0]
        lines: list[Line] = []
        for raw in whole:
            for record in _records(raw):
                self._add(record, lines)
        return lines

    def anew(self) -> "Decoder":
        """Return a decoder for another place, somewhere in the middle of a file."""
        return Decoder(line_bytes=self._line_bytes, from_start=False)

    def settle(self) -> None:
        """Take what comes next as it comes, even if the beginning of a line is missing."""
        self._skips_first = self._skips_first and bool(self._rest)
        self._unsure.clear()
        self._dropped.clear()

    def flush(self) -> list[Line]:
        """Return what is left as lines: the job has ended, and nothing comes any more."""
        lines = self.feed(b"\n") if self._rest else []
        for stream, (time, text) in sorted(self._partials.items(), key=lambda item: item[1][0]):
            if text:
                lines.append(Line(time, stream, bytes(text)))
        self._partials.clear()
        return lines

    def _add(self, record: _Record, lines: list[Line]) -> None:
        time, stream, is_whole, text = record
        if stream in self._unsure:
            if is_whole:
                self._unsure.discard(stream)
                self._dropped.discard(stream)
            else:
                self._dropped.add(stream)
            return
        if is_whole and stream not in self._partials and len(text) <= self._line_bytes:
            lines.append(Line(time, stream, text))  # nearly all lines
            return
        _, pending = self._partials.pop(stream, ("", bytearray()))
        pending += text
        while len(pending) > self._line_bytes:
            lines.append(Line(time, stream, bytes(pending[: self._line_bytes])))
            del pending[: self._line_bytes]
        if is_whole:
            lines.append(Line(time, stream, bytes(pending)))
        else:
            self._partials[stream] = (time, pending)


def _records(raw: bytes) -> Iterator[_Record]:
    """Yield the records on one physical line: one, unless the first of them was torn.

    Text before the first header belongs to a record whose header is lost, and so do the zeros
    of a hole.
    """
    headers = list(_HEADER.finditer(raw))
    for index, header in enumerate(headers):
        end = headers[index + 1].start() if index + 1 < len(headers) else len(raw)
        time = _utc(header[1], header[2] or b"", header[3])
        yield _Record(time, header[4].decode(), header[5] == b"F", raw[header.end() : end])


def _utc(second: bytes, fraction: bytes, zone: bytes) -> str:
    digits = fraction.decode().ljust(9, "0")
    text = second.decode()
    if zone not in _UTC:
        try:
            moment = datetime.fromisoformat(text + zone.decode())
            text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
        except (ValueError, OverflowError):
            return f"{text}.{digits}"  # no such moment: a job that imitates a header
    return f"{text}.{digits}"
