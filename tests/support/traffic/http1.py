"""HTTP/1.1 from the client's end, and the WebSocket that begins with it."""

import asyncio
import base64
import os
import ssl
from dataclasses import dataclass

SWITCHING, TEXT, CLOSE = 101, 1, 8
NORMAL = (1000).to_bytes(2)


class Lost(Exception):
    """A request was not answered as it should be; the text says what came instead."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Doors:
    """Where an app answers: its name, the ports on loopback, and the authority that vouches for it."""

    host: str
    http_port: int
    https_port: int
    ca_file: str

    def context(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        context.set_alpn_protocols(protocols)
        return context

    async def connect(self, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if tls is None:
            return await asyncio.open_connection("127.0.0.1", self.http_port)
        return await asyncio.open_connection("127.0.0.1", self.https_port, ssl=tls, server_hostname=self.host)


class Http1:
    """One connection that asks one thing after the other."""

    def __init__(self, doors: Doors, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = doors.host
        self._reader = reader
        self._writer = writer
        self.kept = True
        """Whether the other side lets it be used again."""

    async def ask(self, method: str, path: str, body: bytes | None = None, *fields: str) -> Answer:
        """Send a request and read the whole answer.

        Raises:
            Lost, OSError, EOFError: there is none.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", *fields]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self._writer.write("\r\n".join([*lines, "\r\n"]).encode() + (body or b""))
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.split("\r\n")
        status = int(first.split(" ")[1])
        found = {name.lower(): value.strip().lower() for name, _, value in (line.partition(":") for line in rest)}
        self.kept = "close" not in found.get("connection", "")
        if status == SWITCHING:
            return Answer(status, b"")
        if "transfer-encoding" in found:
            return Answer(status, await self._chunks())
        return Answer(status, await self._reader.readexactly(int(found["content-length"])))

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body

    async def upgrade(self, path: str) -> str:
        """Begin a WebSocket session and return its greeting."""
        key = base64.b64encode(os.urandom(16)).decode()
        wanted = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")
        answer = await self.ask("GET", path, None, *wanted)
        if answer.status != SWITCHING:
            raise Lost(f"status {answer.status} instead of an upgrade: {answer.body[:80]!r}")
        return (await self._frame(TEXT)).decode()

    async def echo(self, text: str) -> None:
        """Send a text and wait until it comes back."""
        self._send(TEXT, text.encode())
        if (back := await self._frame(TEXT)) != text.encode():
            raise Lost(f"{back[:80]!r} came back instead of {text!r}")

    async def end(self) -> None:
        """End the session as both sides should."""
        self._send(CLOSE, NORMAL)
        await self._frame(CLOSE)
        if rest := await self._reader.read(1):
            raise Lost(f"{rest!r} came after the close")

    def _send(self, kind: int, data: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self._writer.write(bytes([0x80 | kind, 0x80 | len(data)]) + mask + masked)

    async def _frame(self, kind: int) -> bytes:
        first, length = await self._reader.readexactly(2)
        data = await self._reader.readexactly(length)
        if first != 0x80 | kind:
            raise Lost(f"a frame of kind {first & 0x0F} instead of {kind}")
        return data

    def close(self) -> None:
        self._writer.close()
