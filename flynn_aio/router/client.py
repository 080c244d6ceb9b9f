"""Client: one HTTP/1.1 connection from outside, request after request.

It is the `Visitor` of its own exchanges, one at a time: a second request on the line waits in the
kernel until the first is answered. Nothing a client sends raises out of `run`.
"""

import logging
from math import inf
from typing import Protocol

import trio

from .forward import Upstreams, forward
from .framing import CHUNKED, UNTIL_CLOSE, Field, RemoteProtocolError, Request, Response
from .h1 import RequestReader, write_chunk, write_last_chunk, write_response
from .headers import CHUNKED_FIELD, CLOSE_FIELD, KEEP_ALIVE_FIELD, Hop
from .visitor import VisitorGone
from .wire import Watchman, Wire, WireBroken

logger = logging.getLogger(__name__)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Draining(Protocol):
    """Who says when no further requests are taken."""

    @property
    def draining(self) -> bool: ...


class Http1Client:
    """One connection that speaks HTTP/1.1 or 1.0.

    Attributes:
        idle: no request has begun; such a connection may be ended at any time.
    """

    __slots__ = (
        "_answered", "_chunked", "_continued", "_front", "_head", "_keep_alive", "_reader",
        "_taken", "_upstreams", "_watchman", "_wire", "extra_port", "gone", "hop", "idle", "partner",
    )  # fmt: skip

    def __init__(
        self, wire: Wire, hop: Hop, upstreams: Upstreams, watchman: Watchman, front: Draining, *, extra_port: int = 0
    ) -> None:
        settings = upstreams.settings
        self._wire = wire
        self._upstreams = upstreams
        self._watchman = watchman
        self._front = front
        self._reader = RequestReader(max_head_bytes=settings.max_head_bytes, max_headers=settings.max_headers)
        self._head: Request | None = None
        self._answered = self._continued = self._chunked = self._taken = False
        self._keep_alive = True
        self.hop = hop
        self.extra_port = extra_port
        self.partner: Wire | None = None
        self.gone = False
        self.idle = True

    async def run(self) -> None:
        """Serve until either side has had enough, then close the wire."""
        self._watchman.tell_hang_up(self._wire, self._hung_up)
        try:
            while await self._serve_one():
                pass
        except (WireBroken, VisitorGone) as exc:
            logger.debug("client gone", extra={"reason": str(exc)})
        finally:
            self._wire.close()

    def drain(self) -> None:
        """Take no further requests: an idle connection ends now, a busy one after its answer."""
        if self.idle:
            self._wire.cut("draining")

    def _hung_up(self) -> None:
        """The client has ended its side: stop whatever works for it."""
        self.gone = True
        if self.partner is not None:
            self.partner.cut("the client has left")

    async def _serve_one(self) -> bool:
        """Answer one request; return whether the connection goes on."""
        try:
            head = await self._next_head()
            if head is None:
                return False
            await forward(self, head, self._upstreams)
        except RemoteProtocolError as exc:
            logger.debug("request refused", extra={"reason": exc.reason, "status": exc.status})
            await self._refuse(exc.status)
            return False
        if self._taken:
            return False
        if not self._keep_alive or not self._reader.body_ended:
            await self._wire.linger()
            return False
        return True

    async def _next_head(self) -> Request | None:
        """Wait for the next request; ``None`` when there will be none."""
        reader, wire, settings = self._reader, self._wire, self._upstreams.settings
        if reader.buffered:
            await trio.lowlevel.checkpoint()  # a pipelining client takes turns with the others
        first = self._head is None
        self._head = None
        self._answered = self._continued = self._chunked = False
        self.idle = not reader.buffered
        patience = settings.header_timeout_s if first or reader.buffered else settings.idle_timeout_s
        wire.read_by = trio.current_time() + patience
        head = None if self.idle else reader.next_head()
        while head is None:
            if self.idle and self._front.draining:
                return None
            data = await (wire.receive() if first else wire.receive_later())
            if not data:
                return None
            reader.receive(data)
            head = reader.next_head()
            if self.idle and head is None and not first:
                wire.read_by = trio.current_time() + settings.header_timeout_s
            self.idle = False
        wire.read_by = inf
        self.idle = False
        self._head = head
        self._keep_alive = head.keep_alive
        return head

    async def _refuse(self, status: int) -> None:
        """Answer what cannot be understood, and read no further."""
        if self._answered:
            self._wire.reset()
            return
        self._keep_alive = False
        response, body = self._upstreams.pages.page(status)
        await self.send_head(response, response.fields, body, end=True)
        await self._wire.linger()

    def whole_body(self) -> bytes | None:
        head, reader = self._head, self._reader
        if head is None or head.body == CHUNKED or reader.buffered < head.body:
            return None
        return reader.next_body()

    async def receive_body(self) -> bytes:
        reader, wire = self._reader, self._wire
        while (piece := reader.next_body()) is None:
            await self._invite_body()
            wire.read_by = trio.current_time() + self._upstreams.settings.idle_timeout_s
            try:
                data = await wire.receive()
            except WireBroken as exc:
                raise VisitorGone(exc.reason) from exc
            if not data:
                raise VisitorGone("the client ended in the middle of a body")
            reader.receive(data)
        wire.read_by = inf
        return piece

    async def _invite_body(self) -> None:
        """Tell a client that asked first to go on, now that a backend is there for its body."""
        if self._head and self._head.expects_continue and not self._continued and not self._answered:
            self._continued = True
            if not self._reader.buffered:
                await self._send(_CONTINUE)

    @property
    def trailers(self) -> list[Field]:
        return self._reader.trailers

    async def send_interim(self, response: Response, fields: list[Field]) -> None:
        if self._head is not None and self._head.minor == 1:
            await self._send(write_response(response.status, response.reason, [line for _, _, line in fields]))

    async def send_head(self, response: Response, fields: list[Field], data: bytes, *, end: bool) -> None:
        head = self._head
        self._answered = True
        lines = [line for _, _, line in fields]
        if response.body in (CHUNKED, UNTIL_CLOSE):
            if head is not None and head.minor == 0:
                self._keep_alive = False  # the only end such a client can see
            else:
                self._chunked = True
                lines.append(CHUNKED_FIELD[2])
        if self._front.draining or (head is not None and head.upgrade):
            self._keep_alive = False
        if end and not self._reader.body_ended and self.whole_body() is None:
            self._keep_alive = False  # what is left of the request will not be read
        if not self._keep_alive:
            lines.append(CLOSE_FIELD[2])
        elif head is not None and head.minor == 0:
            lines.append(KEEP_ALIVE_FIELD[2])
        if self._chunked:
            data = (write_chunk(data) if data else b"") + (write_last_chunk() if end else b"")
        await self._send(write_response(response.status, response.reason, lines) + data)

    async def send_body(self, data: bytes) -> None:
        await self._send(write_chunk(data) if self._chunked else data)

    async def send_end(self, trailers: list[Field]) -> None:
        if self._chunked:
            await self._send(write_last_chunk(trailers))

    async def abort(self) -> None:
        self._keep_alive = False
        self._wire.reset()

    async def take_over(self, response: Response, fields: list[Field]) -> tuple[Wire, bytes] | None:
        self._watchman.ignore_hang_up(self._wire)
        self._taken = True
        await self._send(write_response(response.status, response.reason, [line for _, _, line in fields]))
        return self._wire, self._reader.take_rest()

    async def _send(self, data: bytes) -> None:
        try:
            await self._wire.send(data)
        except WireBroken as exc:
            raise VisitorGone(exc.reason) from exc
