"""Pool: the backends in use, their kept connections, and how much each has in flight.

A kept connection is looked at before it is used again: one that its backend has closed, or on
which it speaks unasked, is thrown away without anybody noticing. What still slips through the moment
between looking and sending is the business of `exchange`.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

import trio

from ..model import JOB_META, Instance, JobID
from ..settings import RouterSettings
from ..watch import Bell
from .h1 import ResponseReader
from .wire import Watchman, Wire, tune

Dial = Callable[[], Awaitable[trio.SocketStream]]
"""Opens one new in-process connection that speaks HTTP/1.1 at its other end."""

KEEPALIVE_S = 30
MAX_KEPT = 64
"""Idle connections per backend; beyond that, closing is cheaper than remembering."""
KEPT_S = 60.0


class DialError(Exception):
    """The backend refused the connection, or did not answer in time. Nothing was sent."""


class Connection:
    """One connection to a backend.

    Attributes:
        reused: whether it has served a request before.
        busy: whether it belongs to an exchange, which closes it unless it is given back.
    """

    __slots__ = ("backend", "busy", "reader", "reused", "wire")

    def __init__(self, backend: "Backend", wire: Wire, reader: ResponseReader) -> None:
        self.backend = backend
        self.wire = wire
        self.reader = reader
        self.reused = False
        self.busy = True


class Backend:
    """Somebody who answers for a service, or a door of the appliance's own.

    Attributes:
        addr: ``ip:port``, or the name of the door.
        job: whose process it is; empty for a door.
        in_flight: exchanges that use it.
        to_drain: those of them that the job must not be stopped before.
        kept: idle connections, the latest used last.
        retired: it is no longer registered; only what is in flight goes on.
    """

    __slots__ = ("addr", "door", "in_flight", "job", "kept", "retired", "to_drain")

    def __init__(self, addr: str, job: JobID, door: Dial | None = None) -> None:
        self.addr = addr
        self.job = job
        self.door = door
        self.in_flight = 0
        self.to_drain = 0
        self.kept: list[tuple[float, Connection]] = []
        self.retired = False


class Pool:
    """All backends.

    Attributes:
        drained: rings when a backend has nothing in flight that needs draining.
    """

    def __init__(self, settings: RouterSettings, watchman: Watchman) -> None:
        self._settings = settings
        self._watchman = watchman
        self._backends: dict[tuple[str, JobID], Backend] = {}
        self._doors: dict[str, Backend] = {}
        self.drained = Bell()

    def backend(self, instance: Instance) -> Backend:
        """Return the backend at an instance's address. An address that went to another job is another backend."""
        key = _place(instance)
        found = self._backends.get(key)
        if found is None:
            found = self._backends[key] = Backend(*key)
        found.retired = False
        return found

    def door(self, host: str, dial: Dial) -> Backend:
        """Return the backend behind a door."""
        found = self._doors.get(host)
        if found is None:
            found = self._doors[host] = Backend(host, JobID(""), door=dial)
        return found

    def load(self, instance: Instance) -> int:
        """How many exchanges an instance has in flight."""
        found = self._backends.get(_place(instance))
        return found.in_flight if found else 0

    def begin(self, backend: Backend, *, drains: bool) -> None:
        """Count an exchange; `end` it with the same arguments."""
        backend.in_flight += 1
        backend.to_drain += drains

    def end(self, backend: Backend, *, drains: bool) -> None:
        backend.in_flight -= 1
        backend.to_drain -= drains
        if drains and not backend.to_drain:
            self.drained.ring()

    def is_busy(self, job: JobID) -> bool:
        """Whether anything is in flight that has to end before the job may be stopped."""
        return any(backend.to_drain for backend in self._backends.values() if backend.job == job)

    async def connect(self, backend: Backend, *, fresh: bool = False) -> Connection:
        """Return a connection that is ready for a request: a kept one, or a new one.

        Raises:
            DialError: refused, unreachable, or not answered within the dial timeout.
        """
        kept = backend.kept
        while kept and not fresh:
            _, connection = kept.pop()
            if not connection.wire.is_stale():
                connection.reused = connection.busy = True
                return connection
            connection.wire.close()
        wire = await self._dial(backend)
        reader = ResponseReader(max_head_bytes=self._settings.max_head_bytes, max_headers=self._settings.max_headers)
        return Connection(backend, wire, reader)

    async def _dial(self, backend: Backend) -> Wire:
        with trio.move_on_after(self._settings.dial_timeout_s):
            try:
                sock = await (dial(backend.addr) if backend.door is None else _open(backend.door))
            except (OSError, ValueError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise DialError(str(exc)) from exc
            return Wire(sock, self._watchman, write_timeout_s=self._settings.write_timeout_s)
        raise DialError(f"no answer within {self._settings.dial_timeout_s:g} s")

    def keep(self, connection: Connection) -> None:
        """Take back a connection whose exchange ended cleanly."""
        backend = connection.backend
        if backend.retired or len(backend.kept) >= MAX_KEPT:
            connection.wire.close()
        else:
            backend.kept.append((trio.current_time(), connection))

    def retire(self, instances: Iterable[Instance]) -> None:
        """Forget the backends at these instances, which have left; their last exchanges go on."""
        for instance in instances:
            self._retire(_place(instance))

    def retain(self, instances: Iterable[Instance]) -> None:
        """Forget every backend that is at none of these: a late exchange may have made one of an instance that left."""
        current = {_place(instance) for instance in instances}
        for key in [key for key in self._backends if key not in current]:
            self._retire(key)

    def _retire(self, key: tuple[str, JobID]) -> None:
        backend = self._backends.get(key)
        if backend is not None:
            backend.retired = True
            self._close_kept(backend, older_than=trio.current_time())
            if not backend.in_flight:
                del self._backends[key]

    def tidy(self) -> None:
        """Close connections nobody has used for `KEPT_S`."""
        before = trio.current_time() - KEPT_S
        for backend in (*self._backends.values(), *self._doors.values()):
            self._close_kept(backend, older_than=before)

    def _close_kept(self, backend: Backend, *, older_than: float) -> None:
        while backend.kept and backend.kept[0][0] <= older_than:
            backend.kept.pop(0)[1].wire.close()


def departed(before: Mapping[str, Sequence[Instance]], now: Mapping[str, Sequence[Instance]]) -> Iterator[Instance]:
    """Yield the instances that are no longer there, by service; a service nothing of which moved is not looked into."""
    for service, were in before.items():
        are = now.get(service, ())
        if are is not were:
            staying = {_place(instance) for instance in are}
            yield from (instance for instance in were if _place(instance) not in staying)


def _place(instance: Instance) -> tuple[str, JobID]:
    return instance.addr, JobID(instance.meta.get(JOB_META, ""))


async def dial(addr: str) -> socket.socket:
    """Return a connected, tuned, non-blocking socket to ``ip:port``.

    Raises:
        OSError: refused or unreachable.
        ValueError: not an address.
    """
    host, _, port = addr.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.inet_pton(family, host)  # a name would be resolved, and block everybody
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        tune(sock, keepalive_s=KEEPALIVE_S)
        try:
            sock.connect((host, int(port)))
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock.fileno())
            if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, f"connecting to {addr}") from None
    except BaseException:
        sock.close()
        raise
    return sock


async def _open(door: Dial) -> socket.socket:
    """Take the bare socket out of a door's stream, so that it can be tried before waiting."""
    stream = await door()
    sock = socket.socket(fileno=os.dup(stream.socket.fileno()))
    await stream.aclose()
    tune(sock)
    return sock
