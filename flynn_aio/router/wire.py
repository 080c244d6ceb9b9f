"""Wire: one connection as bytes, and the two things that can end it from outside.

Reading and writing try the system call first and wait only when it would block, on plain sockets
and on TLS alike: `SSLSocket` sits directly on the socket, without buffers in between. Two waits
per request is what the router's speed is made of.

A deadline per wait would cost more than the wait. So a wire carries its deadlines as plain numbers,
and one `Watchman` looks at all wires every second and cuts those that are overdue. It also learns
from the kernel, at once, when a client hangs up while we are busy elsewhere on its behalf.
"""

import contextlib
import logging
import select
import socket
import ssl
from collections.abc import Awaitable, Callable
from math import inf

import trio

logger = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
PATROL_S = 1.0
"""How late a deadline may be noticed. They are all of many seconds."""
LINGER_S = 1.0
_LINGER_BYTES = 256 * 1024
_BURST = 16
"""Operations a wire may do without waiting before others get their turn."""
_KEEPALIVE_S = 180


class WireBroken(Exception):
    """The connection is of no more use: the peer reset it, a deadline passed, or we cut it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Wire:
    """A connected, non-blocking socket, plain or TLS. At most one task reads and one writes.

    Attributes:
        read_by: the moment on Trio's clock until which somebody must have read something.
        write_timeout_s: how long a write may make no progress.
    """

    __slots__ = ("_broken", "_burst", "_sock", "_tls", "_watchman", "read_by", "write_by", "write_timeout_s")

    def __init__(self, sock: socket.socket, watchman: "Watchman", *, write_timeout_s: float = 60.0) -> None:
        self._sock = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._watchman = watchman
        self._broken = ""
        self._burst = 0
        self.read_by = inf
        self.write_by = inf
        self.write_timeout_s = write_timeout_s
        watchman.wires.add(self)

    @property
    def protocol(self) -> str | None:
        """What ALPN agreed on."""
        return self._tls.selected_alpn_protocol() if self._tls is not None else None

    def fileno(self) -> int:
        return self._sock.fileno()

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        """Wait for bytes; ``b""`` when the peer has ended its side.

        Raises:
            WireBroken: the connection was reset, overdue or cut.
        """
        while True:
            if self._broken:
                raise WireBroken(self._broken)
            try:
                data = self._sock.recv(max_bytes)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._wait(trio.lowlevel.wait_readable)
            except ssl.SSLWantWriteError:  # a key update of TLS 1.3 that does not fit into the socket
                await trio.sleep(0.01)
            except ssl.SSLZeroReturnError:
                return b""
            except (OSError, ValueError) as exc:
                raise self._break(exc) from exc
            else:
                self._burst += 1
                if self._burst > _BURST:
                    await self._take_turns()
                return data

    async def receive_later(self) -> bytes:
        """Like `receive`, where nothing can be here yet: the peer answers to what we have just sent.

        On a plain socket this saves the attempt. TLS may hold bytes that the kernel no longer has.
        """
        if self._tls is None and not self._broken:
            await self._wait(trio.lowlevel.wait_readable)
        return await self.receive()

    async def send(self, data: bytes) -> None:
        """Write all of `data`.

        Cancellation: some of it may have been written; the wire is of no more use.

        Raises:
            WireBroken: the connection was reset, overdue or cut.
        """
        if self._broken:
            raise WireBroken(self._broken)
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            sent = 0
        except (OSError, ValueError) as exc:
            raise WireBroken(str(exc)) from exc  # what the peer said before may still be read
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:])
        self._burst += 1
        if self._burst > _BURST:
            await self._take_turns()

    async def _send_rest(self, rest: memoryview) -> None:
        try:
            while rest:
                self.write_by = trio.current_time() + self.write_timeout_s
                await self._wait(trio.lowlevel.wait_writable)
                if self._broken:
                    raise WireBroken(self._broken)
                try:
                    rest = rest[self._sock.send(rest) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    continue
                except ssl.SSLWantReadError:  # renegotiation is off, so the next try goes through
                    await trio.sleep(0.01)
                except (OSError, ValueError) as exc:
                    raise WireBroken(str(exc)) from exc  # what the peer said before may still be read
        finally:
            self.write_by = inf

    async def _wait(self, wait: Callable[[int], Awaitable[None]]) -> None:
        self._burst = 0
        try:
            await wait(self._sock.fileno())
        except trio.ClosedResourceError as exc:
            raise WireBroken(self._broken or "closed") from exc
        except (OSError, ValueError) as exc:
            raise self._break(exc) from exc

    async def _take_turns(self) -> None:
        """Let others run: this wire never has to wait, which is no reason that they should."""
        self._burst = 0
        await trio.lowlevel.checkpoint()

    async def handshake(self) -> None:
        """Do the TLS handshake.

        Raises:
            WireBroken: it failed.
        """
        assert self._tls is not None
        while True:
            if self._broken:
                raise WireBroken(self._broken)
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._wait(trio.lowlevel.wait_readable)
            except ssl.SSLWantWriteError:
                await self._wait(trio.lowlevel.wait_writable)
            except (OSError, ValueError) as exc:
                raise self._break(exc) from exc
            else:
                return

    async def send_eof(self) -> None:
        """End our side; reading goes on. Over TLS this is `close_notify`."""
        if self._broken:
            raise WireBroken(self._broken)
        try:
            if self._tls is None:
                self._sock.shutdown(socket.SHUT_WR)
            else:
                self._say_goodbye()
        except OSError as exc:
            raise self._break(exc) from exc

    def is_stale(self) -> bool:
        """Whether an idle wire cannot be used again: the peer has ended it, or speaks unasked."""
        if self._broken:
            return True
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def cut(self, reason: str) -> None:
        """Make every wait and every later use raise `WireBroken`. The owner then closes it."""
        if not self._broken:
            self._broken = reason
            if self._sock.fileno() >= 0:
                trio.lowlevel.notify_closing(self._sock.fileno())

    def close(self) -> None:
        """Close the connection, at once and without waiting. May be called again."""
        if self._sock.fileno() < 0:
            return
        self._watchman.forget(self)
        if self._tls is not None and not self._broken:
            self._say_goodbye()
        self._broken = self._broken or "closed"
        trio.lowlevel.notify_closing(self._sock.fileno())
        self._sock.close()

    def reset(self) -> None:
        """Close so that the peer cannot take it for an orderly end."""
        if self._sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self._broken = self._broken or "reset"  # no close_notify either
        self.close()

    async def linger(self) -> None:
        """End our side, and wait a moment for the peer to end its own, then close.

        Closing with unread bytes makes the kernel send a reset, which would destroy an answer the
        peer has not read yet. What comes is thrown away, within bounds of time and amount.
        """
        with trio.move_on_after(LINGER_S):
            try:
                await self.send_eof()
                left = _LINGER_BYTES
                while left > 0 and (data := await self.receive()):
                    left -= len(data)
            except WireBroken:
                pass
        self.close()

    def _say_goodbye(self) -> None:
        """Send `close_notify` if the socket takes it."""
        assert self._tls is not None
        try:
            self._tls.unwrap()
        except (OSError, ValueError):
            return  # it waits for the peer's own, which `receive` will see
        self._broken = self._broken or "closed"  # both sides have ended: nothing is left to protect

    def _break(self, exc: Exception) -> WireBroken:
        self._broken = self._broken or str(exc) or type(exc).__name__
        return WireBroken(self._broken)


class Watchman:
    """Looks after all wires: deadlines once a second, hang-ups at once.

    Attributes:
        wires: everything that is open.
    """

    def __init__(self) -> None:
        self.wires: set[Wire] = set()
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    def tell_hang_up(self, wire: Wire, callback: Callable[[], None]) -> None:
        """Call `callback` when the peer of `wire` ends its side, until the wire is closed."""
        descriptor = wire.fileno()
        self._callbacks[descriptor] = callback
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)

    def ignore_hang_up(self, wire: Wire) -> None:
        """From here on the end of one direction is ordinary."""
        if self._callbacks.pop(wire.fileno(), None) is not None:
            self._epoll.unregister(wire.fileno())

    def forget(self, wire: Wire) -> None:
        self.wires.discard(wire)
        self.ignore_hang_up(wire)

    async def run(self) -> None:
        """Watch, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            while True:
                await trio.sleep(PATROL_S)
                now = trio.current_time()
                for wire in [wire for wire in self.wires if wire.read_by < now or wire.write_by < now]:
                    wire.cut("took too long")

    async def _listen(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, _ in self._epoll.poll(0):
                if callback := self._callbacks.get(descriptor):
                    callback()

    def close(self) -> None:
        for wire in list(self.wires):
            wire.close()
        self._epoll.close()


def tune(sock: socket.socket, *, keepalive_s: int = _KEEPALIVE_S) -> None:
    """Set what every TCP connection of ours has: no delay, and probes that find a vanished peer."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keepalive_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, keepalive_s)
