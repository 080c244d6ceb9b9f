"""The client's end of `flynn-attach/0`, as Flynn's own client speaks it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import pack, unpack
from typing import Any

import h11
import trio

from .http_client import Exchange, HTTPClient, Response

UPGRADE = {"connection": "upgrade", "upgrade": "flynn-attach/0"}

Frame = tuple[str, Any]
"""``("data", (stream, bytes))``, ``("exit", status)`` or ``("error", text)``."""


def stdin(data: bytes) -> bytes:
    return b"\x03\x00" + pack(">I", len(data)) + data


def signal(number: int) -> bytes:
    return b"\x04" + pack(">I", number)


def resize(rows: int, columns: int) -> bytes:
    return b"\x06" + pack(">HH", rows, columns)


class AttachClient:
    """An attached job, as its client sees it."""

    def __init__(self, stream: trio.SocketStream, head: Response, data: bytes) -> None:
        self.stream = stream
        self.head = head
        self._buffer = bytearray(data)

    async def send(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def frame(self) -> Frame | None:
        """Return the next frame, or ``None`` when the server has closed."""
        if not (kind := await self._take(1)):
            return None
        if kind == b"\x05":
            return ("exit", unpack(">I", await self._take(4))[0])
        if kind == b"\x02":
            return ("error", (await self._take(unpack(">I", await self._take(4))[0])).decode())
        assert kind == b"\x03", kind
        stream, length = unpack(">BI", await self._take(5))
        return ("data", (stream, await self._take(length)))

    async def rest(self) -> list[Frame]:
        """Return every frame until the server closes."""
        frames = []
        while (frame := await self.frame()) is not None:
            frames.append(frame)
        return frames

    async def output(self) -> tuple[dict[int, bytes], Frame | None]:
        """Return what came on each stream, and the frame that ended the session."""
        streams: dict[int, bytes] = {}
        while (frame := await self.frame()) is not None:
            if frame[0] != "data":
                assert await self.frame() is None, "the server closes after its last frame"
                return streams, frame
            number, data = frame[1]
            streams[number] = streams.get(number, b"") + data
        return streams, None

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                assert not self._buffer, f"the server closed in the middle of a frame: {self._buffer!r}"
                return b""
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


@asynccontextmanager
async def attach(
    client: HTTPClient, path: str, body: object, *, exchange: Exchange | None = None, early: bytes = b""
) -> AsyncIterator[AttachClient]:
    """Ask for an attached job and have its session; `head.status` tells whether there is one.

    Args:
        exchange: an idle connection to use instead of a new one.
        early: sent right behind the request, as no client of Flynn's does.
    """
    exchange = exchange or Exchange(await client._dial())
    async with exchange.stream:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await exchange.send("POST", path, client.headers(None) | UPGRADE, data, early=early)
        head = await exchange.head()
        if head.status != 101:
            yield AttachClient(exchange.stream, Response(head.status, head.headers, await exchange.body()), b"")
            return
        assert exchange.http.next_event() is h11.PAUSED
        yield AttachClient(exchange.stream, head, exchange.http.trailing_data[0])
