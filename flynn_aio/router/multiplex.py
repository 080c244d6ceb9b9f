"""Multiplex: one HTTP/2 connection from outside, many requests at once.

One task reads, one writes, and each request has its own. Everything the requests have to say between two
turns of the writer leaves in one system call. A request that may not send yet waits for its window, or
for the writer when a slow client lets too much pile up.
"""

import logging
from collections import deque
from math import inf

import trio
from h2.errors import ErrorCodes

from .client import Draining
from .forward import Upstreams, forward, reply
from .framing import HTTP_2, NO_BODY, Field, RemoteProtocolError, Request, Response
from .h2 import (
    FRAME_BYTES,
    BodyReceived,
    ClientEnded,
    Event,
    Http2Connection,
    RequestBegan,
    RequestCancelled,
    RequestEnded,
    RequestRefused,
    WindowOpened,
)
from .headers import Hop
from .visitor import VisitorGone
from .wire import Wire, WireBroken

logger = logging.getLogger(__name__)

PILE_BYTES = 256 * 1024
"""Unsent bytes of a connection at which its requests wait for the writer, and no further ones are read."""
_FIELD_BYTES = 32
"""What a field is taken to weigh in the pile; compressed, it is mostly less."""


class Http2Client:
    """One connection that speaks HTTP/2."""

    def __init__(self, wire: Wire, hop: Hop, upstreams: Upstreams, front: Draining) -> None:
        settings = upstreams.settings
        self._wire = wire
        self._upstreams = upstreams
        self._front = front
        self._streams: dict[int, Stream] = {}
        self._dirty = trio.Event()
        self._written = trio.Event()
        self._pile = 0
        self._ending = False
        self.hop = hop
        self.idle_timeout_s = settings.idle_timeout_s
        self.write_timeout_s = settings.write_timeout_s
        self.core = Http2Connection(
            max_streams=settings.max_streams,
            max_head_bytes=settings.max_head_bytes,
            max_headers=settings.max_headers,
            now=trio.current_time(),
        )

    async def run(self) -> None:
        """Serve until either side has had enough, then close the wire."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                nursery.start_soon(self._read, nursery)
                self.wake()
            if self._ending:
                await self._wire.linger()
        finally:
            self._wire.close()

    def drain(self) -> None:
        """Take no further requests; the connection ends after the last answer."""
        self.core.go_away()
        self._ending = True
        self.wake()

    def wake(self) -> None:
        """Have the writer send what the core has."""
        self._dirty.set()

    async def wait_for_room(self) -> None:
        """Wait until the client has taken what is piled up for it."""
        while self._pile > PILE_BYTES:
            await self._written.wait()

    def pile(self, count: int) -> None:
        """Note that so many bytes were handed to the core and wait for the writer."""
        self._pile += count

    async def _write(self, scope: trio.CancelScope) -> None:
        """Send what the core has, until the wire breaks or everything is said."""
        try:
            while True:
                await self._dirty.wait()
                self._dirty = trio.Event()
                data, taken = self.core.take(), self._pile
                if data:
                    await self._wire.send(data)
                self._pile -= taken
                self._written.set()
                self._written = trio.Event()
                if self._ending and not self._streams and not self._dirty.is_set():
                    break
        except WireBroken as exc:
            logger.debug("client gone", extra={"reason": exc.reason})
        scope.cancel()

    async def _read(self, nursery: trio.Nursery) -> None:
        """Read until the client ends, then cancel what works for it."""
        wire, settings = self._wire, self._upstreams.settings
        wire.read_by = trio.current_time() + settings.header_timeout_s
        if self._front.draining:
            self.drain()
        try:
            while data := await wire.receive():
                for event in self.core.receive(data, trio.current_time()):
                    self._dispatch(event, nursery)
                self.wake()
                if self._pile > PILE_BYTES:
                    await self.wait_for_room()
        except WireBroken as exc:
            logger.debug("client gone", extra={"reason": exc.reason})
        except RemoteProtocolError as exc:
            logger.debug("connection refused", extra={"reason": exc.reason})
            self._streams.clear()
            self._ending = True
            self.wake()  # the writer sends the reason and ends everything
            return
        nursery.cancel_scope.cancel()

    def _dispatch(self, event: Event, nursery: trio.Nursery) -> None:
        match event:
            case RequestBegan(number, head, ended):
                stream = self._streams[number] = Stream(self, number, ended=ended)
                self._wire.read_by = inf
                nursery.start_soon(self._serve, stream, head)
            case RequestRefused(number, status):
                stream = self._streams[number] = Stream(self, number, ended=True)
                nursery.start_soon(self._refuse, stream, status)
            case BodyReceived(number, data, cost):
                if open_stream := self._streams.get(number):
                    open_stream.arrived(data, cost)
                else:
                    self.core.acknowledge(number, cost)
            case RequestEnded(number, trailers):
                if open_stream := self._streams.get(number):
                    open_stream.ended(trailers)
            case RequestCancelled(number):
                if open_stream := self._streams.get(number):
                    open_stream.cancelled()
            case WindowOpened(number):
                waiting = self._streams.values() if not number else filter(None, [self._streams.get(number)])
                for each in waiting:
                    each.window_opened()
            case ClientEnded():
                self._ending = True

    async def _serve(self, stream: "Stream", head: Request) -> None:
        """Answer one request."""
        code = ErrorCodes.NO_ERROR  # an answer before the end of the request: the rest is not needed
        try:
            await forward(stream, head, self._upstreams)
        except VisitorGone:
            code = ErrorCodes.CANCEL
        except RemoteProtocolError:
            code = ErrorCodes.PROTOCOL_ERROR
        finally:
            self._leave(stream, code)

    async def _refuse(self, stream: "Stream", status: int) -> None:
        head = Request(HTTP_2, b"GET", b"/", b"", [], NO_BODY, (), b"", True, False)
        try:
            await reply(stream, self._upstreams.pages, status, head)
        except VisitorGone:
            return
        finally:
            self._leave(stream, ErrorCodes.NO_ERROR)

    def _leave(self, stream: "Stream", code: ErrorCodes) -> None:
        if not (stream.is_complete and code is ErrorCodes.NO_ERROR):
            self.core.reset(stream.number, code)
        stream.acknowledge_all()
        self._streams.pop(stream.number, None)
        if not self._streams:
            self._wire.read_by = trio.current_time() + self._upstreams.settings.idle_timeout_s
        self.wake()


class Stream:
    """One request of a connection: the `Visitor` of its exchange.

    Attributes:
        number: the stream's id.
        is_complete: the request has been received to its end.
    """

    __slots__ = (
        "_arrived", "_client", "_cost", "_opened", "_pieces", "extra_port",
        "gone", "hop", "is_complete", "number", "partner", "trailers",
    )  # fmt: skip

    def __init__(self, client: Http2Client, number: int, *, ended: bool) -> None:
        self._client = client
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._cost = 0
        """What the piece that was handed out last is to be acknowledged with."""
        self._arrived = trio.Event()
        self._opened = trio.Event()
        self.number = number
        self.is_complete = ended
        self.trailers: list[Field] = []
        self.hop = client.hop
        self.extra_port = 0
        self.partner: Wire | None = None
        self.gone = False

    def arrived(self, data: bytes, cost: int) -> None:
        """A piece of the body has come."""
        self._pieces.append((data, cost))
        self._arrived.set()

    def ended(self, trailers: list[Field]) -> None:
        """The body is complete."""
        if trailers:
            self.trailers = trailers
        self.is_complete = True
        self._arrived.set()

    def cancelled(self) -> None:
        """The client does not want an answer any more: stop whatever works for it."""
        self.gone = True
        self._arrived.set()
        self._opened.set()
        if self.partner is not None:
            self.partner.cut("the client has cancelled the request")

    def window_opened(self) -> None:
        self._opened.set()

    def acknowledge_all(self) -> None:
        """Return the flow control of what nobody will take."""
        cost = self._cost + sum(cost for _, cost in self._pieces)
        self._cost = 0
        self._pieces.clear()
        if cost:
            self._client.core.acknowledge(self.number, cost)

    def whole_body(self) -> bytes | None:
        if not self.is_complete or self.trailers:
            return None
        body = b"".join(data for data, _ in self._pieces)
        self.acknowledge_all()
        return body

    async def receive_body(self) -> bytes:
        if self._cost:
            self._client.core.acknowledge(self.number, self._cost)
            self._cost = 0
            self._client.wake()
        while not self._pieces:
            if self.gone:
                raise VisitorGone("cancelled")
            if self.is_complete:
                return b""
            self._arrived = trio.Event()
            with trio.move_on_after(self._client.idle_timeout_s) as patience:
                await self._arrived.wait()
            if patience.cancelled_caught:
                raise VisitorGone("the body did not go on")
        data, self._cost = self._pieces.popleft()
        return data

    async def send_interim(self, response: Response, fields: list[Field]) -> None:
        self._head(response.status, fields, end=False)

    async def send_head(self, response: Response, fields: list[Field], data: bytes, *, end: bool) -> None:
        self._head(response.status, fields, end=end and not data)
        if data:
            await self._data(data, end=end)

    async def send_body(self, data: bytes) -> None:
        await self._data(data, end=False)

    async def send_end(self, trailers: list[Field]) -> None:
        try:
            self._client.core.send_end(self.number, trailers)
        except RemoteProtocolError as exc:
            raise VisitorGone(exc.reason) from exc
        self._client.wake()

    def _head(self, status: int, fields: list[Field], *, end: bool) -> None:
        try:
            self._client.core.send_head(self.number, status, fields, end=end)
        except RemoteProtocolError as exc:
            raise VisitorGone(exc.reason) from exc
        self._client.pile(_FIELD_BYTES * (len(fields) + 1))
        self._client.wake()

    async def _data(self, data: bytes, *, end: bool) -> None:
        """Send a piece as far as the window and the pile allow, and wait for the rest."""
        client, core = self._client, self._client.core
        at = 0
        while at < len(data):
            if self.gone:
                raise VisitorGone("cancelled")
            room = min(core.window(self.number), FRAME_BYTES, len(data) - at)
            if not room:
                await self._wait_for_window()
                continue
            piece = data[at : at + room]
            at += room
            try:
                core.send_data(self.number, piece, end=end and at == len(data))
            except RemoteProtocolError as exc:
                raise VisitorGone(exc.reason) from exc
            client.pile(room)
            client.wake()
            await client.wait_for_room()

    async def _wait_for_window(self) -> None:
        self._opened = trio.Event()
        with trio.move_on_after(self._client.write_timeout_s) as patience:
            await self._opened.wait()
        if patience.cancelled_caught:
            raise VisitorGone("the client does not read")

    async def abort(self) -> None:
        self._client.core.reset(self.number, ErrorCodes.INTERNAL_ERROR)
        self._client.wake()

    async def take_over(self, response: Response, fields: list[Field]) -> tuple[Wire, bytes] | None:
        return None  # no request of HTTP/2 asks for an upgrade
