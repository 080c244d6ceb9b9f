"""The frames of `flynn-attach/0`: bytes <-> what happens in an attached job. Pure.

Source: `controller-api.md` §8.2, `jobs.md` §7; Flynn `pkg/cluster/attach.go`, `host/types`.
"""

import struct
from typing import NamedTuple

from .failure import Failure

_ERROR, _DATA, _SIGNAL, _EXIT, _RESIZE = 2, 3, 4, 5, 6
_IGNORED = frozenset({0, 1})  # a host's "attached" and "waiting", which a controller keeps to itself

STDIN, STDOUT, STDERR, INIT_LOG = range(4)


class Output(NamedTuple):
    """Bytes of a stream, `STDOUT`, `STDERR` or `INIT_LOG`; a frame's bytes may come in several pieces."""

    stream: int
    data: bytes


class Exited(NamedTuple):
    """The job has ended, and nothing follows."""

    status: int


class Failed(NamedTuple):
    """The session has ended without the job's exit status; `text` says why."""

    text: str


Happening = Output | Exited | Failed


def stdin(data: bytes) -> bytes:
    """Return the frame that carries input; no data says that the input has ended."""
    return struct.pack(">BBI", _DATA, STDIN, len(data)) + data


def signal(number: int) -> bytes:
    return struct.pack(">BI", _SIGNAL, number)


def resize(rows: int, columns: int) -> bytes:
    return struct.pack(">BHH", _RESIZE, rows, columns)


class Receiver:
    """Turns the server's bytes into what they tell, however they are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stream = STDOUT
        self._left = 0  # bytes of the present data frame still to come
        self._closed: set[int] = set()

    def feed(self, data: bytes) -> list[Happening]:
        """Return what these bytes complete, in order; nothing is read behind the end of the session.

        Raises:
            Failure: they are not frames of this protocol.
        """
        self._buffer += data
        happenings: list[Happening] = []
        while (happening := self._next()) is not None:
            if isinstance(happening, Output) and not happening.data:
                continue
            happenings.append(happening)
            if not isinstance(happening, Output):
                break
        return happenings

    def _next(self) -> Happening | None:
        """Return the next complete thing; an empty `Output` for what nobody needs to hear of."""
        if self._left:
            piece = self._take(min(self._left, len(self._buffer)))
            self._left -= len(piece)
            return Output(self._stream, piece) if piece else None
        if not self._buffer:
            return None
        kind = self._buffer[0]
        if kind in _IGNORED:
            self._take(1)
            return Output(STDOUT, b"")
        if kind == _DATA:
            return self._data_head()
        if kind == _EXIT and len(self._buffer) >= 5:
            return Exited(struct.unpack(">xI", self._take(5))[0])
        if kind == _ERROR and len(self._buffer) >= 5:
            (length,) = struct.unpack_from(">xI", self._buffer)
            return (
                Failed(self._take(5 + length)[5:].decode(errors="replace")) if len(self._buffer) >= 5 + length else None
            )
        if kind not in (_EXIT, _ERROR):
            raise Failure(f"attach: unknown frame {kind}")
        return None

    def _data_head(self) -> Output | None:
        if len(self._buffer) >= 2 and self._buffer[1] not in (STDOUT, STDERR, INIT_LOG):
            raise Failure(f"attach: unknown stream {self._buffer[1]}")
        if len(self._buffer) < 6:
            return None
        self._stream, self._left = struct.unpack(">xBI", self._take(6))
        name = "stdout" if self._stream == STDOUT else "stderr / initLog"
        if self._stream in self._closed:
            raise Failure(f"attach: got frame for {name}, but no writer available")
        if not self._left:
            self._closed.add(self._stream)
        return Output(self._stream, b"")

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken
