"""Bare: an event stream on its connection alone, without Hypercorn, which would keep some 25 kB for each.

A hundred dashboards and scripts may follow the events of a cluster, and mostly nothing happens. So the one kind of
request that is all waiting gets the least server there can be: one task, an application of ASGI, and chunks.
The connection ends with the answer.
"""

import os
from functools import partial
from typing import Any, Protocol

import h11
import trio

from .connection import WATCHED, ASGIApp, Message
from .flows import HangUps

READ_BYTES = 4096
REFUSAL = b"HTTP/1.1 400 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Client(Protocol):
    """The client's end: what is sent is under a deadline."""

    socket: trio.socket.SocketType

    async def receive_some(self, max_bytes: int) -> bytes: ...
    async def send_all(self, data: bytes) -> None: ...


async def serve(hang_ups: HangUps, app: ASGIApp, client: Client, head: bytes) -> None:
    """Answer one GET; returns when the answer has ended or the client has gone.

    Args:
        head: of the request; it has no body.

    Raises:
        BrokenResourceError: the client did not read.
    """
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    server.receive_data(head)
    try:
        request = server.next_event()
    except h11.RemoteProtocolError:
        await client.send_all(REFUSAL)
        return
    assert isinstance(request, h11.Request), "the doorstep passes on whole heads only"
    scope, answer = _scope(request), _Answer(client)
    scope["extensions"] = {WATCHED: partial(hang_ups.watched, client.socket.fileno())}
    del server, request  # a stream may go on for days
    try:
        await app(scope, answer.receive, answer.send)
    except trio.BrokenResourceError as exc:
        if not isinstance(exc.__cause__, OSError):
            raise
        # It hung up, and a write came before the news of that: nothing an operator should read about.


def _scope(request: h11.Request) -> dict[str, Any]:
    path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "method": request.method.decode(),
        "raw_path": path,
        "query_string": query,
        "headers": list(request.headers),
    }


class _Answer:
    """One request without a body, and its answer, as ASGI has them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked = False
        self._chunked = False

    async def receive(self) -> Message:
        """Return the request, which is empty; then, when the client has gone, that it has."""
        if not self._asked:
            self._asked = True
            await trio.lowlevel.checkpoint()
            return {"type": "http.request", "body": b"", "more_body": False}
        try:
            while await self._client.receive_some(READ_BYTES):
                pass  # it was told that this connection ends with this answer
        except trio.BrokenResourceError:
            pass
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._client.send_all(self._head(message))
            return
        body = message.get("body", b"")
        if self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not message.get("more_body", False):
                body += b"0\r\n\r\n"
        if body := self._written(body):
            await self._client.send_all(body)

    def _written(self, data: bytes) -> bytes:
        """Give the kernel what it takes at once, for a client that reads all of it; return the rest."""
        if not data:
            return data
        try:
            return data[os.write(self._client.socket.fileno(), data) :]
        except BlockingIOError:
            return data
        except OSError as exc:
            raise trio.BrokenResourceError(f"writing to a client: {exc.strerror}") from exc

    def _head(self, start: Message) -> bytes:
        headers = [*start["headers"], (b"connection", b"close")]
        self._chunked = not any(name == b"content-length" for name, _ in headers)
        if self._chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        lines = [b"HTTP/1.1 %d " % start["status"], *(b"%b: %b" % header for header in headers), b"", b""]
        return b"\r\n".join(lines)
