"""`flynn-attach/0`: bytes <-> what the two ends of an attached job tell each other.

Only the server's end: it reads what a client sends and writes what a client reads. All numbers
are big-endian.

Source: `controller-api.md` §8.2; Flynn `pkg/cluster/attach.go`, `host/types`.
"""

from dataclasses import dataclass
from struct import Struct

PROTOCOL = "flynn-attach/0"

ERROR, DATA, SIGNAL, EXIT, RESIZE = 2, 3, 4, 5, 6
STDIN, STDOUT, STDERR, INIT_LOG = 0, 1, 2, 3

_NUMBER = Struct(">I")
_HEADERS = {DATA: Struct(">xBI"), SIGNAL: Struct(">xI"), RESIZE: Struct(">xHH")}


class FrameError(ValueError):
    """The client sent something that is no frame; nothing after it can be understood."""


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for stdin. A long frame comes in several pieces, as it arrives."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """Stdin ends here."""


@dataclass(frozen=True, slots=True)
class Signal:
    number: int


@dataclass(frozen=True, slots=True)
class Resize:
    rows: int
    columns: int


ClientFrame = Input | EndOfInput | Signal | Resize


class ClientFrames:
    """Reads what a client sends, however it is cut; holds back at most one frame's header."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._input_left = 0

    def receive(self, data: bytes) -> list[ClientFrame]:
        """Take the next bytes and return what is complete.

        Raises:
            FrameError: an unknown frame, or data for anything but stdin.
        """
        self._buffer += data
        frames: list[ClientFrame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> ClientFrame | None:
        if not self._buffer:
            return None
        if self._input_left:
            piece = bytes(self._buffer[: self._input_left])
            del self._buffer[: len(piece)]
            self._input_left -= len(piece)
            return Input(piece)
        kind = self._buffer[0]
        header = _HEADERS.get(kind)
        if header is None:
            raise FrameError(f"unknown frame type {kind}")
        if len(self._buffer) < header.size:
            return None
        values = header.unpack_from(self._buffer)
        del self._buffer[: header.size]
        if kind == SIGNAL:
            return Signal(*values)
        if kind == RESIZE:
            return Resize(*values)
        stream, length = values
        if stream != STDIN:
            raise FrameError(f"data for stream {stream}, a client only has stdin")
        if length == 0:
            return EndOfInput()
        self._input_left = length
        return self._next()


def data_frame(stream: int, data: bytes) -> bytes:
    """Return a piece of output. Empty `data` says that this stream has ended."""
    return bytes((DATA, stream)) + _NUMBER.pack(len(data)) + data


def exit_frame(status: int) -> bytes:
    """Return how the job ended; the client stops reading after it."""
    return bytes((EXIT,)) + _NUMBER.pack(status)


def error_frame(text: str) -> bytes:
    """Return why there is no exit status; the client prints it and exits with 1."""
    encoded = text.encode()
    return bytes((ERROR,)) + _NUMBER.pack(len(encoded)) + encoded
