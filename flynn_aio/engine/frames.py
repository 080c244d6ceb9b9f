"""Frames: Podman's stream of a job without a terminal, taken apart. Pure.

Eight bytes of head (stream, three zeros, payload length as u32 big endian), then the payload.
Source: Docker's attach protocol; `findings.md` §1.
"""

from collections.abc import Iterator

from ..errors import EngineError
from .protocol import Output, Stream

HEAD_BYTES = 8
OUTPUT_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 1 << 20
"""Podman sends at most 8 KiB at a time; far more is not a frame but a stream we misread."""


class Frames:
    """Feed it bytes as they come; it gives back whole pieces of output."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Iterator[Output]:
        """Yield what `data` completes.

        Raises:
            EngineError: this is not a stream of frames.
        """
        self._buffer += data
        while len(self._buffer) >= HEAD_BYTES:
            length = int.from_bytes(self._buffer[4:HEAD_BYTES], "big")
            if self._buffer[1:4] != b"\0\0\0" or self._buffer[0] > Stream.STDERR.value or length > MAX_PAYLOAD_BYTES:
                raise EngineError("cannot read a job's output: Podman's stream is not made of frames")
            if len(self._buffer) < HEAD_BYTES + length:
                return
            payload = bytes(self._buffer[HEAD_BYTES : HEAD_BYTES + length])
            stream = Stream(self._buffer[0] or Stream.STDOUT.value)
            del self._buffer[: HEAD_BYTES + length]
            for start in range(0, length, OUTPUT_BYTES):
                yield Output(stream, payload[start : start + OUTPUT_BYTES])
