"""Listener: accept connections, secure them, serve them, and drain.

Sockets may be handed in from outside (systemd's `LISTEN_FDS`, or the process before us): clients
then wait in the backlog during a restart instead of being refused. So nothing here assumes
that it opened its socket itself.

Source: `router.md` §2; `findings.md` §9.
"""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import trio

from ..errors import FlynnError
from ..settings import RouterSettings
from ..watch import Bell
from .client import Http1Client
from .forward import Upstreams
from .headers import Hop
from .multiplex import Http2Client
from .pages import TLS_EXPECTED
from .wire import Watchman, Wire, WireBroken, tune

logger = logging.getLogger(__name__)

_FIRST_HANDED = 3
_TLS_HANDSHAKE = 0x16
_ACCEPT_BURST = 32
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_PAUSE_S = 0.1
_HTTP, _HTTPS = 80, 443


class ListenError(FlynnError):
    """A port cannot be listened on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Sockets that listen already; they are closed by whoever made them."""

    http: tuple[socket.socket, ...] = ()
    https: tuple[socket.socket, ...] = ()


class Client(Protocol):
    """A connection being served, whichever version it speaks."""

    async def run(self) -> None: ...

    def drain(self) -> None: ...


def inherited(environ: Mapping[str, str], pid: int) -> Listeners | None:
    """Return the sockets we were handed, or ``None`` when there are none.

    Their names are ``http`` and ``https``; unnamed ones are told apart by their port. The caller
    removes the three variables from its environment, since they are not for our children.

    Source: `sd_listen_fds(3)`.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return None
    count = int(environ.get("LISTEN_FDS", "0"))
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {"http": [], "https": []}
    for at in range(count):
        descriptor = _FIRST_HANDED + at
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        sock = socket.socket(fileno=descriptor)
        name = names[at] if at < len(names) else ""
        if name not in found:
            name = "https" if sock.getsockname()[1] == _HTTPS else "http"
        found[name].append(sock)
    return Listeners(http=tuple(found["http"]), https=tuple(found["https"])) if count else None


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket on ``host:port``; port 0 takes any.

    Raises:
        ListenError: the port is taken or not ours to take, or there are no descriptors left.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(socket.SOMAXCONN)
        except OSError as exc:
            raise ListenError(
                f"listening on {host}:{port}: {exc.strerror}; stop what uses the port, or choose another one with "
                "[router] http_port and https_port"
            ) from exc
        stack.pop_all()
    sock.setblocking(False)
    return sock


class Front:
    """The front doors while they are open.

    Attributes:
        draining: no further requests are taken.
        address: the IP address of the HTTPS door, or the one that stands for all.
        http_port, https_port: where clients connect.
    """

    def __init__(
        self, upstreams: Upstreams, watchman: Watchman, context: ssl.SSLContext, connections: trio.Nursery
    ) -> None:
        self._upstreams = upstreams
        self._watchman = watchman
        self._context = context
        self._connections = connections
        self._clients: set[Client] = set()
        self._count = 0
        self._left = Bell()
        self.draining = False
        self.address = ""
        self.http_port = 0
        self.https_port = 0

    async def accept(
        self, listener: socket.socket, serve: Callable[[socket.socket, str, int], Awaitable[None]]
    ) -> None:
        """Accept until cancelled. At the limit of connections, others wait in the backlog."""
        port = listener.getsockname()[1]
        burst = 0
        while True:
            while self._count >= self._upstreams.settings.max_connections:
                seen = self._left.version
                await self._left.moved_past(seen)
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                burst = 0
                await trio.lowlevel.wait_readable(listener.fileno())
                continue
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    logger.warning("cannot accept", extra={"reason": exc.strerror, "connections": self._count})
                    await trio.sleep(_EXHAUSTED_PAUSE_S)
                await trio.lowlevel.checkpoint()  # the client left before we got to it, or we were handed no listener
                continue
            self._count += 1
            self._connections.start_soon(self._guard, serve, sock, address[0], port)
            burst += 1
            if burst >= _ACCEPT_BURST:
                burst = 0
                await trio.lowlevel.checkpoint()

    async def _guard(
        self,
        serve: Callable[[socket.socket, str, int], Awaitable[None]],
        sock: socket.socket,
        address: str,
        port: int,
    ) -> None:
        """Serve one connection, and survive it: a bug met there is reported and costs that connection only."""
        try:
            with contextlib.suppress(OSError):  # it may be gone already, which serving finds out
                tune(sock)
            await serve(sock, address, port)
        except Exception:  # one client's connection is the unit that may fail
            logger.exception("connection failed", extra={"client": address})
        finally:
            sock.close()
            self._count -= 1
            self._left.ring()

    async def serve_plain(self, sock: socket.socket, address: str, port: int) -> None:
        """Serve a connection to the HTTP port."""
        wire = Wire(sock, self._watchman, write_timeout_s=self._upstreams.settings.write_timeout_s)
        await self._serve(wire, Hop(address.encode(), b"http", b"%d" % port))

    async def serve_tls(self, sock: socket.socket, address: str, port: int) -> None:
        """Serve a connection to the HTTPS port: the handshake first, then what ALPN chose."""
        wire = await self._secured(sock)
        if wire is not None:
            await self._serve(wire, Hop(address.encode(), b"https", b"%d" % port))

    async def _serve(self, wire: Wire, hop: Hop) -> None:
        client: Client
        if wire.protocol == "h2":
            client = Http2Client(wire, hop, self._upstreams, self)
        else:
            client = Http1Client(wire, hop, self._upstreams, self._watchman, self)
        self._clients.add(client)
        try:
            await client.run()
        finally:
            self._clients.discard(client)
            wire.close()

    async def _secured(self, sock: socket.socket) -> Wire | None:
        """Do the handshake within its deadline; ``None`` when there is nothing to serve."""
        settings = self._upstreams.settings
        with trio.move_on_after(settings.handshake_timeout_s):
            try:
                first = await _peek(sock)
                if first and first[0] != _TLS_HANDSHAKE:
                    await self._explain(sock)
                    return None
                secured = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            except (OSError, ValueError):
                return None
            wire = Wire(secured, self._watchman, write_timeout_s=settings.write_timeout_s)
            done = False
            try:
                await wire.handshake()
                done = True
            except WireBroken as exc:
                logger.debug("handshake failed", extra={"reason": exc.reason})
            finally:
                if not done:
                    wire.close()
            return wire if done else None
        return None

    async def _explain(self, sock: socket.socket) -> None:
        """Tell a client that speaks plain HTTP to the TLS port what is wrong."""
        wire = Wire(sock, self._watchman)
        try:
            head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" % len(TLS_EXPECTED)
            await wire.send(head + b"Connection: close\r\n\r\n" + TLS_EXPECTED)
            await wire.linger()
        except WireBroken:
            pass
        finally:
            wire.close()

    def drain(self) -> None:
        """Let every client finish what it has begun, and nothing more."""
        self.draining = True
        for client in list(self._clients):
            client.drain()


async def _peek(sock: socket.socket) -> bytes:
    """Wait for the first byte, and leave it there."""
    while True:
        try:
            return sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock.fileno())


@asynccontextmanager
async def open_listening(
    settings: RouterSettings,
    upstreams: Upstreams,
    watchman: Watchman,
    context: ssl.SSLContext,
    *,
    listeners: Listeners | None,
) -> AsyncIterator[Front]:
    """Accept clients while the block runs; leaving it drains them.

    Cancellation: skips the grace period. A crash elsewhere is no reason to wait.

    Raises:
        ListenError: a port cannot be listened on.
    """
    with contextlib.ExitStack() as sockets:
        if listeners is None:
            http = sockets.enter_context(listen(settings.listen, settings.http_port))
            https = sockets.enter_context(listen(settings.listen, settings.https_port))
            listeners = Listeners(http=(http,), https=(https,))
        async with trio.open_nursery() as connections:  # outlives accepting, for the drain
            front = Front(upstreams, watchman, context, connections)
            async with trio.open_nursery() as accepting:
                for serve, handed in ((front.serve_plain, listeners.http), (front.serve_tls, listeners.https)):
                    for listener in handed:
                        own = sockets.enter_context(socket.socket(fileno=os.dup(listener.fileno())))
                        own.setblocking(False)
                        accepting.start_soon(partial(front.accept, own, serve))
                _, front.http_port = _name(listeners.http)
                front.address, front.https_port = _name(listeners.https)
                logger.info("front doors open", extra={"http": front.http_port, "https": front.https_port})
                yield front
                accepting.cancel_scope.cancel()
            sockets.close()  # ours refuse from now on; those handed in keep clients waiting for whoever comes next
            front.drain()
            connections.cancel_scope.deadline = trio.current_time() + settings.drain_s


def _name(listeners: tuple[socket.socket, ...]) -> tuple[str, int]:
    address, port, *_ = listeners[0].getsockname() if listeners else ("", 0)
    return address, port
