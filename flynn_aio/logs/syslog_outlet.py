"""Syslog over TCP and TLS: dialling, writing under a deadline, and knowing what has arrived.

Syslog has no answers. But the kernel knows how many of the bytes we wrote the other machine has not
acknowledged, and it still knows when the connection is lost: what is not acknowledged is sent again
over the next one. So a server that is restarted misses no line that had not reached its machine.

Source: `logs.md` §7; Linux tcp(7), `SIOCOUTQ`; Flynn `host/logmux/sink.go`, `SyslogSink.Connect`.
"""

import fcntl
import os
import socket
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from socket import getaddrinfo

import trio

from ..model import SyslogConfig, SyslogScheme
from .outlet import Connection, Undelivered

DIAL_S = 10.0
"""For the name, the connection and the TLS handshake together."""
WRITE_S = 1.0
"""Without a single byte being taken, the other side counts as gone."""
SEND_BUFFER_BYTES = 128 * 1024
"""In the kernel: what may be under way, and has to be sent again when the connection is lost."""
IDLE_PROBE_S = 60
"""An idle connection is probed, so that one that a firewall has dropped is noticed before it is needed."""
READ_PAUSE_S = 0.1
"""Nothing a syslog server says is of interest, so there is no hurry to hear all of it."""
READ_BYTES = 4096
ACKNOWLEDGED_POLL_S = 0.02
"""The kernel tells nobody when something was acknowledged. Asked only while the other side has half closed."""


class SyslogOutlet:
    """A syslog server."""

    def __init__(self, config: SyslogConfig) -> None:
        self._config = config
        self._names = trio.CapacityLimiter(1)
        """A name server that does not answer holds a thread for minutes. It is one of ours, and no more than one."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Connection]:
        config = self._config
        try:
            with trio.fail_after(DIAL_S):
                wire = Wire(await self._dial())
        except trio.TooSlowError:
            raise Undelivered(f"dialling {config.host} port {config.port}: no answer within {DIAL_S:g} s") from None
        except OSError as exc:
            raise Undelivered(f"dialling {config.host} port {config.port}: {exc.strerror or exc}") from exc
        with wire.closing():
            stream: trio.abc.Stream = wire
            if config.scheme is SyslogScheme.TLS:
                stream = await self._secured(wire)
            yield SyslogConnection(stream, wire)

    async def _dial(self) -> trio.SocketStream:
        """Try the addresses of the name one after the other; each has its share of the time that is left."""
        resolve = partial(
            getaddrinfo, self._config.host, self._config.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
        found = await trio.to_thread.run_sync(resolve, abandon_on_cancel=True, limiter=self._names)
        failure: OSError = TimeoutError(f"no answer within {DIAL_S:g} s")
        for index, (family, kind, protocol, _, address) in enumerate(found):
            left = trio.current_effective_deadline() - trio.current_time()
            with trio.move_on_after(max(left, 0.0) / (len(found) - index)):
                try:
                    return await _connect(family, kind, protocol, address)
                except OSError as exc:
                    failure = exc
        raise failure

    async def _secured(self, wire: "Wire") -> trio.SSLStream["Wire"]:
        try:
            context = await trio.to_thread.run_sync(partial(_context, insecure=self._config.insecure))
            stream = trio.SSLStream(wire, context, server_hostname=self._config.host)
            with trio.fail_after(DIAL_S):
                await stream.do_handshake()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, Undelivered) as exc:
            raise Undelivered(f"TLS handshake with {self._config.host}: {_reason(exc)}") from exc
        return stream


async def _connect(family: int, kind: int, protocol: int, address: object) -> trio.SocketStream:
    sock = trio.socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_PROBE_S)
        await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


def _context(*, insecure: bool) -> ssl.SSLContext:
    """Return how to speak TLS. Blocks: the machine's authorities are read from its disk."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(exc: BaseException) -> str:
    """Return the sentence nearest to the cause."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    if isinstance(exc, trio.TooSlowError):
        return "no answer in time"
    return str(getattr(exc, "verify_message", "") or getattr(exc, "strerror", "") or exc or type(exc).__name__)


class Wire(trio.abc.Stream):
    """A TCP connection that counts what it has sent, and gives up when nothing is taken."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sent = 0

    @property
    def sent(self) -> int:
        return self._sent

    def acknowledged(self) -> int:
        """Return how many of the bytes sent the other machine has."""
        if self._stream.socket.fileno() < 0:
            return 0
        waiting = fcntl.ioctl(self._stream.socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        return self._sent - int(struct.unpack("i", waiting)[0])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything.

        Raises:
            Undelivered: the connection is broken, or for `WRITE_S` not a byte was taken.
        """
        left = memoryview(data)
        try:
            while left:
                with trio.fail_after(WRITE_S):
                    size = await self._stream.socket.send(left)
                self._sent += size
                left = left[size:]
        except trio.TooSlowError:
            raise Undelivered(f"it took nothing for {WRITE_S:g} s") from None
        except OSError as exc:
            raise Undelivered(f"the connection is lost: {exc.strerror}") from exc

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Close the connection at the end of the block; what was written before is still sent by the kernel."""
        try:
            yield
        finally:
            self._stream.socket.close()

    async def wait_acknowledged(self) -> None:
        """Wait until everything sent has arrived.

        Raises:
            Undelivered: the connection is broken, or that takes too long.
        """
        with trio.move_on_after(WRITE_S):
            while self.acknowledged() < self._sent:
                if code := self._stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise Undelivered(f"the connection is lost: {os.strerror(code)}")
                await trio.sleep(ACKNOWLEDGED_POLL_S)
            return
        raise Undelivered(f"it took nothing for {WRITE_S:g} s")


class SyslogConnection:
    """An open connection. Marks are bytes on the wire."""

    def __init__(self, stream: trio.abc.Stream, wire: Wire) -> None:
        self._stream = stream
        self._wire = wire
        self._is_half_closed = False

    async def send(self, data: bytes) -> int:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise Undelivered(f"the connection is lost: {_reason(exc)}") from exc
        if self._is_half_closed:
            await self._wire.wait_acknowledged()
        return self._wire.sent

    def taken(self) -> int:
        return self._wire.acknowledged()

    async def wait_broken(self) -> None:
        """See `Connection`. A server that only says that it will say nothing more, as netcat does, is not gone.

        Whether it is, the next message shows.
        """
        try:
            while True:
                if not await self._stream.receive_some(READ_BYTES):
                    break
                await trio.sleep(READ_PAUSE_S)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise Undelivered(f"the connection is lost: {_reason(exc)}") from exc
        if self._stream is not self._wire:
            raise Undelivered("it closed the connection")
        self._is_half_closed = True
        await trio.sleep_forever()
