"""HTTP/2 from the client's end: one connection, many requests at once."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import H2Error

from .http1 import Answer, Doors, Lost

READ_BYTES = 65536


@dataclass(slots=True)
class _Stream:
    answer: asyncio.Future[Answer]
    status: int = 0
    body: bytearray = field(default_factory=bytearray)


class Http2:
    """One connection. Make it with `open`, and close it in the end."""

    def __init__(self, doors: Doors, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = doors.host
        self._reader = reader
        self._writer = writer
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="latin-1"))
        self._h2.initiate_connection()
        self._streams: dict[int, _Stream] = {}
        self._reading = asyncio.create_task(self._read())
        self.kept = True
        """Whether it takes another request."""

    @property
    def has_room(self) -> bool:
        """Whether the other side allows one more request at the same time."""
        return self._h2.open_outbound_streams < self._h2.remote_settings.max_concurrent_streams

    async def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Send a request and wait for the whole answer.

        Raises:
            Lost, OSError: there is none.
        """
        number = self._h2.get_next_available_stream_id()
        stream = self._streams[number] = _Stream(asyncio.get_running_loop().create_future())
        fields = [(":method", method), (":scheme", "https"), (":authority", self._host), (":path", path)]
        if body is not None:
            fields.append(("content-length", str(len(body))))
        try:
            self._h2.send_headers(number, fields, end_stream=body is None)
            if body is not None:
                self._h2.send_data(number, body, end_stream=True)  # smaller than any window
            self._flush()
            await self._writer.drain()
            return await stream.answer
        except H2Error as exc:
            raise Lost(f"HTTP/2: {exc!r}") from exc
        finally:
            del self._streams[number]

    async def _read(self) -> None:
        reason = "the connection ended"
        try:
            while data := await self._reader.read(READ_BYTES):
                for event in self._h2.receive_data(data):
                    self._take(event)
                self._flush()
        except (OSError, H2Error) as exc:
            reason = repr(exc)
        finally:
            self.kept = False
            for stream in self._streams.values():
                self._fail(stream, reason)

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived(stream_id=number, headers=headers) if number in self._streams:
                self._streams[number].status = int(dict(headers)[":status"])
            case h2.events.DataReceived(stream_id=number, data=data):
                self._h2.acknowledge_received_data(event.flow_controlled_length, number)
                if number in self._streams:
                    self._streams[number].body += data
            case h2.events.StreamEnded(stream_id=number) if number in self._streams:
                stream = self._streams[number]
                if not stream.answer.done():
                    stream.answer.set_result(Answer(stream.status, bytes(stream.body)))
            case h2.events.StreamReset(stream_id=number) if number in self._streams:
                self._fail(self._streams[number], f"the stream was reset with {event.error_code!r}")
            case h2.events.ConnectionTerminated():
                self.kept = False

    def _fail(self, stream: _Stream, reason: str) -> None:
        if not stream.answer.done():
            stream.answer.set_exception(Lost(f"HTTP/2: {reason} after {len(stream.body)} bytes of body"))

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def close(self) -> None:
        self._writer.close()
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading


async def open_http2(doors: Doors) -> Http2:
    reader, writer = await doors.connect(doors.context("h2"))
    return Http2(doors, reader, writer)
