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
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from ..settings import ControllerSettings
from .doorstep import MAX_HEAD_BYTES, Attach, Doorstep, Pass

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
AttachServer = Callable[[trio.SocketStream, bytes], Awaitable[None]]
"""Serve `flynn-attach/0` on a stream whose first bytes have been read already."""


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

    def __init__(self, stream: trio.SocketStream, *, attaching: bool, write_timeout_s: float) -> None:
        self._stream = stream
        self._write_timeout_s = write_timeout_s
        self.socket = stream.socket  # Hypercorn asks it for the peer's name
        self.doorstep = Doorstep(attaching=attaching)
        self.attach: bytes | None = None
        """What was read of a request to attach; Hypercorn believes then that the client has gone."""
        self.finished = trio.CancelScope()
        """Cancelled when Hypercorn has nothing left to do here; it would wait for its idle deadline."""
        self._gone = False

    async def receive_some(self, max_bytes: int) -> bytes:
        while True:
            try:
                data = await self._stream.receive_some(max_bytes)
            except trio.BrokenResourceError:
                self._gone = True
                self.finish_if_gone()
                raise
            match self.doorstep.receive(bytes(data)):
                case Attach(data=taken):
                    self.attach = taken
                    self.finished.cancel()
                    return b""
                case Pass(data=passed):
                    if not passed:
                        self._gone = True
                        self.finish_if_gone()
                    return passed

    def finish_if_gone(self) -> None:
        """End Hypercorn's part when the client has gone and no request of it is being answered."""
        if self._gone and self.doorstep.between_requests:
            self.finished.cancel()

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(self._write_timeout_s) as deadline:
            await self._stream.send_all(data)
        if deadline.cancelled_caught:
            raise trio.BrokenResourceError(f"the client has not read for {self._write_timeout_s:g} s")

    async def send_eof(self) -> None:
        if self.attach is None:
            await self._stream.send_eof()

    async def aclose(self) -> None:
        if self.attach is None:
            await self._stream.aclose()


class Connection:
    """One client's connection to one door; see `serve`."""

    def __init__(
        self,
        stream: trio.SocketStream,
        app: ASGIApp,
        attach: AttachServer | None,
        *,
        config: Config,
        context: WorkerContext,
        write_timeout_s: float,
    ) -> None:
        self._stream = stream
        self._app = app
        self._attach = attach
        self._config = config
        self._context = context
        self._doorway = Doorway(stream, attaching=attach is not None, write_timeout_s=write_timeout_s)

    async def serve(self) -> None:
        """Answer requests until either side closes; whatever goes wrong ends here."""
        try:
            with self._doorway.finished:
                app = ASGIWrapper(cast(ASGIFramework, self._watched))
                stream: Any = self._doorway  # all that is used of a stream
                await TCPServer(app, self._config, self._context, ConnectionState({}), stream).run()
            if self._doorway.attach is not None and self._attach is not None:
                await self._attach(self._stream, self._doorway.attach)
        except* Exception as failures:
            # Most likely a hostile client, who shall not fill the log with tracebacks.
            logger.warning("a connection failed and was closed", extra={"error": repr(failures.exceptions[0])})
        finally:
            self._stream.socket.close()

    def cut(self) -> None:
        """End the connection at once, also under a send that is shielded from cancellation."""
        try:
            self._stream.socket.shutdown(trio.socket.SHUT_RDWR)
        except OSError:
            return  # it had ended by itself

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def watched_send(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                # Before the last byte goes out: the client may answer it with its next request.
                self._doorway.doorstep.between_requests = answered = True
            await send(message)

        await self._app(scope, receive, watched_send)
        if not answered:  # else the next request may have begun meanwhile, and its body is no head
            self._doorway.doorstep.between_requests = True
        self._doorway.finish_if_gone()
