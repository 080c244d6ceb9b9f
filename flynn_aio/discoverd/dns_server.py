"""DNS server: sockets around `dns_answer`, and what bounds them.

Questions about our own names are answered on the spot, from memory. Those about others wait for
a recursor, each in a task of its own, and no more than `MAX_FORWARDS` at a time: what comes on
top is told SERVFAIL at once, so that a chatty job cannot hold our memory.
"""

import errno
import logging
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..clock import Clock
from ..errors import FlynnError, Unavailable
from ..settings import DiscoverdSettings
from ..watch import Watch
from .dns_answer import Forward, failure, respond
from .recursors import Recursors, receive_exactly
from .snapshot import Snapshot

logger = logging.getLogger(__name__)

IP_FREEBIND = 15
"""At `IPPROTO_IP`: bind an address that is not there yet. The bridge comes with the first container."""
MAX_FORWARDS = 256
MAX_CONNECTIONS = 128
"""Open TCP connections; one more is closed at once."""
TCP_IDLE_S = 10.0
"""For a whole question to come in, and for an answer to be taken. RFC 7766 §6.2.3 asks for seconds."""
BATCH = 32
"""Datagrams answered between two checkpoints."""
BIND_TRIES = 16
"""With port 0 UDP chooses, and TCP may find that number taken: then both try again."""
UDP_BUFFER_BYTES = 1024 * 1024
MAX_DATAGRAM = 65535


@asynccontextmanager
async def open_dns(settings: DiscoverdSettings, snapshot: Watch[Snapshot], clock: Clock) -> AsyncIterator[int]:
    """Answer DNS over UDP and TCP while the block runs, and yield the port.

    Raises:
        FlynnError: the address cannot be listened on, or a recursor makes no sense.
    """
    try:
        recursors = Recursors(settings.recursors, own_address=settings.address, timeout_s=settings.recursion_timeout_s)
    except ValueError as exc:
        raise FlynnError(f"cannot read discoverd.recursors: {exc}; give e.g. 9.9.9.9 or [2620:fe::fe]:53") from exc
    udp, tcp = bind(settings.address, settings.dns_port)
    with udp, tcp:
        server = DNSServer(recursors, snapshot, clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_udp, udp, nursery)
            nursery.start_soon(server.serve_tcp, tcp, nursery)
            yield udp.getsockname()[1]
            nursery.cancel_scope.cancel()


def bind(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a listening TCP socket, non-blocking, on one port of `address`; port 0 means any.

    Raises:
        FlynnError: the port is taken or not ours to have; says which and what to do.
    """
    for last in range(BIND_TRIES - 1, -1, -1):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            for sock in (udp, tcp):
                sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.bind((address, port))
            tcp.bind((address, udp.getsockname()[1]))
            tcp.listen(MAX_CONNECTIONS)
            udp.setblocking(False)
            tcp.setblocking(False)
            return udp, tcp
        except OSError as exc:
            udp.close()
            tcp.close()
            if port == 0 and last and exc.errno == errno.EADDRINUSE:
                continue
            raise FlynnError(_bind_failure(exc, address, port)) from exc
    raise Unavailable(f"cannot answer DNS on {address}: no port is free for both UDP and TCP; try again")


def _bind_failure(exc: OSError, address: str, port: int) -> str:
    where = f"cannot answer DNS on {address} port {port}"
    match exc.errno:
        case errno.EADDRINUSE:
            return (
                f"{where}: another program listens there; `ss -lntup 'sport = :{port}'` shows which: "
                "stop it, or let it listen on other addresses only"
            )
        case errno.EACCES | errno.EPERM:
            return f"{where}: ports below 1024 are root's; start as root"
        case _:
            return f"{where}: {exc.strerror}; check discoverd's address and port in flynn.toml"


class DNSServer:
    """Answers what comes in on the two sockets."""

    def __init__(self, recursors: Recursors, snapshot: Watch[Snapshot], clock: Clock) -> None:
        self._recursors = recursors
        self._snapshot = snapshot
        self._clock = clock
        self._rng = random.Random()
        self._forwards = 0
        self._connections = 0

    def respond(self, data: bytes, *, tcp: bool) -> bytes | Forward | None:
        """Answer from memory, or say that somebody else must be asked."""
        return respond(
            data,
            self._snapshot.value,
            tcp=tcp,
            recursion=bool(self._recursors.current()),
            serial=int(self._clock.now().timestamp()),
            rng=self._rng,
        )

    async def serve_udp(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        """Answer datagrams until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(sock.fileno())
            for _ in range(BATCH):
                try:
                    data, peer = sock.recvfrom(MAX_DATAGRAM)
                except OSError:  # nothing left, or news of a peer that is gone
                    break
                match self.respond(data, tcp=False):
                    case bytes(reply):
                        _send(sock, reply, peer)
                    case Forward() as forward if self._forwards < MAX_FORWARDS:
                        self._forwards += 1
                        nursery.start_soon(self._forward_udp, forward, sock, peer)
                    case Forward() as forward:
                        _send(sock, failure(forward), peer)

    async def _forward_udp(self, forward: Forward, sock: socket.socket, peer: tuple[str, int]) -> None:
        try:
            reply = await self._recursors.ask(forward.query, tcp=False)
        finally:
            self._forwards -= 1
        _send(sock, reply or failure(forward), peer)

    async def serve_tcp(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        """Accept and answer connections until cancelled."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        await trio.serve_listeners(self._converse, [listener], handler_nursery=nursery)

    async def _converse(self, stream: trio.SocketStream) -> None:
        """Answer the questions of one connection, one after the other."""
        if self._connections >= MAX_CONNECTIONS:
            await trio.aclose_forcefully(stream)
            return
        self._connections += 1
        try:
            async with stream:
                while (query := await self._receive_query(stream)) is not None:
                    reply = await self._answer_tcp(query)
                    if reply is None:
                        return
                    with trio.fail_after(TCP_IDLE_S):
                        await stream.send_all(len(reply).to_bytes(2, "big") + reply)
        except (trio.BrokenResourceError, trio.TooSlowError):
            logger.debug("DNS client gave up")
        finally:
            self._connections -= 1

    async def _receive_query(self, stream: trio.SocketStream) -> bytes | None:
        with trio.fail_after(TCP_IDLE_S):
            size = await receive_exactly(stream, 2)
            return await receive_exactly(stream, int.from_bytes(size, "big")) if size else None

    async def _answer_tcp(self, query: bytes) -> bytes | None:
        match self.respond(query, tcp=True):
            case Forward() as forward:
                return await self._recursors.ask(query, tcp=True) or failure(forward)
            case done:
                return done


def _send(sock: socket.socket, reply: bytes, peer: tuple[str, int]) -> None:
    """Send, or drop: whoever asks over UDP asks again."""
    try:
        sock.sendto(reply, peer)
    except OSError as exc:
        logger.debug("DNS reply dropped", extra={"peer": peer[0], "reason": exc.strerror})
