"""One connection: Hypercorn, embedded so that it can end nothing but itself.

Hypercorn has a fault or two that raise out of its own server (findings: a WebSocket upgrade
with trailing bytes), and shields its sends from cancellation, so that a client that does not
read could hold up a shutdown for ever. Here every connection has a boundary of its own, every
send a deadline inside the shield, and `Connection.cut` ends the socket itself.

It leans on three internal names of Hypercorn – `TCPServer`, `ASGIWrapper`, `WorkerContext` –
hence the pinned version, and the tests for both cases.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from ..settings import ControllerSettings
from .doorstep import MAX_HEAD_BYTES, Attach, Doorstep, Follow, Pass

logger = logging.getLogger(__name__)

READ_BYTES = 64 * 1024

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
AttachServer = Callable[[trio.SocketStream, bytes], Awaitable[None]]
"""Serve `flynn-attach/0` on a stream whose first bytes have been read already."""
WATCHED = "flynn.watched"
"""An extension of ASGI: a server that has it sees by itself when a client goes."""
Watched = Callable[[trio.CancelScope], AbstractContextManager[None]]
"""Have a scope cancelled when the client goes."""
FollowServer = Callable[[ASGIApp, "Doorway", bytes], Awaitable[None]]
"""Serve one event stream, whose request has this head; see `bare`."""


def hypercorn_config(settings: ControllerSettings) -> Config:
    config = Config()
    config.accesslog = None  # the router writes the access line
    config.errorlog = logger
    config.include_server_header = False
    config.keep_alive_timeout = settings.keep_alive_timeout_s
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    return config


class Doorway:
    """The stream Hypercorn reads and writes: the real one, with a `Doorstep` before it."""

    def __init__(self, stream: trio.SocketStream, *, attaching: bool, following: bool, write_timeout_s: float) -> None:
        self._stream = stream
        self._write_timeout_s = write_timeout_s
        self.socket = stream.socket  # Hypercorn asks it for the peer's name
        self.doorstep = Doorstep(attaching=attaching, following=following)
        self.taken: Attach | Follow | None = None
        """A request that is not for Hypercorn, which believes then that the client has gone."""
        self.finished = trio.CancelScope()
        """Cancelled when Hypercorn has nothing left to do here; it would wait for its idle deadline."""
        self.gone = False
        """The client has ended its side."""
        self._early = b""

    async def first(self) -> bool:
        """Wait for the first head, which tells who answers; return whether that is Hypercorn."""
        self._early = await self.receive_some(READ_BYTES)
        return bool(self._early)

    async def receive_some(self, max_bytes: int) -> bytes:
        if self._early:
            early, self._early = self._early, b""
            await trio.lowlevel.checkpoint()
            return early
        while True:
            try:
                data = await self._stream.receive_some(max_bytes)
            except trio.BrokenResourceError:
                self._note_gone()
                raise
            match self.doorstep.receive(bytes(data)):
                case Attach() | Follow() as taken:
                    self.taken = taken
                    self.finished.cancel()
                    return b""
                case Pass(data=passed):
                    if not passed:
                        self._note_gone()
                    return passed

    def _note_gone(self) -> None:
        self.gone = True
        if self.doorstep.between_requests:
            self.finished.cancel()

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(self._write_timeout_s) as deadline:
            await self._stream.send_all(data)
        if deadline.cancelled_caught:
            raise trio.BrokenResourceError(f"the client has not read for {self._write_timeout_s:g} s")

    async def send_eof(self) -> None:
        if self.taken is None:
            await self._stream.send_eof()

    async def aclose(self) -> None:
        if self.taken is None:
            await self._stream.aclose()


class Connection:
    """One client's connection to one door; see `serve`."""

    def __init__(
        self,
        stream: trio.SocketStream,
        app: ASGIApp,
        attach: AttachServer | None,
        follow: FollowServer | None,
        *,
        config: Config,
        context: WorkerContext,
        write_timeout_s: float,
    ) -> None:
        self._stream = stream
        self._app = app
        self._attach = attach
        self._follow = follow
        self._config = config
        self._context = context
        self._doorway = Doorway(
            stream, attaching=attach is not None, following=follow is not None, write_timeout_s=write_timeout_s
        )

    async def serve(self) -> None:
        """Answer requests until either side closes; whatever goes wrong ends here."""
        try:
            if await self._is_for_hypercorn():
                with self._doorway.finished:
                    await self._hypercorn().run()
            match self._doorway.taken:
                case Attach(data=data) if self._attach is not None:
                    await self._attach(self._stream, data)
                case Follow(data=head) if self._follow is not None:
                    await self._follow(self._app, self._doorway, head)
        except* Exception as failures:
            # Most likely a hostile client, who shall not fill the log with tracebacks.
            logger.warning("a connection failed and was closed", extra={"error": repr(failures.exceptions[0])})
        finally:
            self._stream.socket.close()

    async def _is_for_hypercorn(self) -> bool:
        """Tell so as soon as it is known: a hundred streams that begin together need not be a hundred servers first."""
        with trio.move_on_after(self._config.keep_alive_timeout):
            try:
                return await self._doorway.first()
            except trio.BrokenResourceError:
                return False
        return False

    def _hypercorn(self) -> TCPServer:
        app = ASGIWrapper(cast(ASGIFramework, self._watched))
        stream: Any = self._doorway  # all that is used of a stream
        return TCPServer(app, self._config, self._context, ConnectionState({}), stream)

    def cut(self) -> None:
        """End the connection at once, also under a send that is shielded from cancellation."""
        try:
            self._stream.socket.shutdown(trio.socket.SHUT_RDWR)
        except OSError:
            return  # it had ended by itself

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, and see to it that what comes after its answer is taken for what it is."""
        reading = Reading(receive, is_whole=not _has_body(scope))

        async def watched_send(message: Message) -> None:
            if message["type"] == "http.response.start" and not reading.is_whole:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            if message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
            elif reading.is_whole:
                # Before the last byte goes out: the client may answer it with its next request.
                self._doorway.doorstep.between_requests = True
                await send(message)
            else:
                await reading.end_with(send(message))

        try:
            await self._app(scope, reading, watched_send)
        except Exception:
            if not reading.is_whole:  # Hypercorn, which answers now, could wait for ever as in `end_with`
                self._doorway.finished.cancel()
            raise
        if self._doorway.gone:
            self._doorway.finished.cancel()


class Reading:
    """How much an application has read of its request.

    An answer may come before that is all: the key is wrong, the body too big. The rest is then not
    looked for, since nobody knows how much will come: the connection ends with the answer.

    Attributes:
        is_whole: nothing of the request is left to be read.
    """

    def __init__(self, receive: Receive, *, is_whole: bool) -> None:
        self._receive = receive
        self.is_whole = is_whole

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self.is_whole = True
        return message

    async def end_with(self, last: Awaitable[None]) -> None:
        """Send the last of an early answer.

        Hypercorn then tells the application that all is over, behind the pieces of the body that wait
        for it already: when these fill their queue, somebody has to take them, or it waits for ever.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard)
            await last
            nursery.cancel_scope.cancel()

    async def _discard(self) -> None:
        while True:
            await self._receive()


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
