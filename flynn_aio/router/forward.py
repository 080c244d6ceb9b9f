"""Forward: carry out one exchange between a visitor and the backends.

The visitor is the client's end of one request, whichever version it came over. What to do next is
decided by `exchange`; here are the waits. Bodies stream both ways at the same time, piece by
piece: the next piece is only read when the last one was taken, so a slow reader slows the
writer and memory stays flat.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf
from random import Random

import trio

from ..discoverd import Snapshot
from ..model import Instance
from ..settings import RouterSettings
from ..watch import Watch
from . import balance
from .exchange import Command, Exchange, Reply, Step
from .exchange import Dial as DialBackend
from .framing import CHUNKED, NO_BODY, Field, RemoteProtocolError, Request, Response, host_of
from .h1 import write_request
from .headers import passable_trailers, request_lines, response_fields
from .pages import Pages
from .pool import Backend, Connection, Dial, DialError, Pool
from .sticky import NONCE_BYTES, CookieKey, cookie_value
from .table import Table, Target
from .tunnel import join
from .upload import Upload
from .visitor import Visitor, VisitorGone
from .wire import WireBroken

logger = logging.getLogger(__name__)

_random = Random()
_ID_BITS = 0x4000_8000_0000_0000_0000
_ID_MASK = ~0xF000_C000_0000_0000_0000
"""Where a UUID says that it is a random one (RFC 9562 §5.4)."""
_DOOR = Target(route_id="", service="")


class Upstreams:
    """What all exchanges share: where requests go and who is there.

    Attributes:
        table: the routes, replaced whole.
        doors: host -> one new connection to a part of the appliance itself; they win over routes.
    """

    def __init__(
        self, settings: RouterSettings, pool: Pool, snapshot: Watch[Snapshot], pages: Pages, cookies: CookieKey
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.snapshot = snapshot
        self.pages = pages
        self.cookies = cookies
        self.table = Table()
        self.doors: Mapping[str, Dial] = {}
        self.random = Random()

    def instances(self, target: Target) -> tuple[Instance, ...]:
        """Return who answers for a route right now."""
        found = self.snapshot.value.instances.get(target.service, ())
        if target.leader and found:
            leader = self.snapshot.value.leader(target.service)
            return (leader,) if leader else ()
        return found


async def forward(visitor: Visitor, head: Request, upstreams: Upstreams) -> None:
    """Bring one request to a backend and its response back.

    Raises:
        VisitorGone: the client left meanwhile; the backend's work for it was stopped.
        RemoteProtocolError: the request's body is malformed and nothing was answered yet.

    Cancellation: the backend's connection is closed; the client may have a part of the response.
    """
    host = host_of(head.authority)
    if door := upstreams.doors.get(host):
        await _Forwarder(visitor, head, upstreams, _DOOR, upstreams.pool.door(host, door)).run()
    elif target := upstreams.table.find(host, head.target, visitor.extra_port):
        await _Forwarder(visitor, head, upstreams, target, None).run()
    else:
        await reply(visitor, upstreams.pages, 404, head)


async def reply(visitor: Visitor, pages: Pages, status: int, head: Request) -> None:
    """Answer with a page of our own."""
    response, body = pages.page(status)
    if head.method == b"HEAD":
        response, body = response._replace(body=NO_BODY), b""
    await visitor.send_head(response, response.fields, body, end=True)


class _Forwarder:
    """One exchange being carried out."""

    __slots__ = ("_answered", "_exchange", "_head", "_sticky", "_target", "_upload", "_upstreams", "_visitor", "_whole")

    def __init__(self, visitor: Visitor, head: Request, upstreams: Upstreams, target: Target, door: Backend | None):
        self._visitor = visitor
        self._head = head
        self._upstreams = upstreams
        self._target = target
        self._sticky = self._cookie() if target.sticky else ""
        backends = iter((door,)) if door else self._backends()
        self._exchange = Exchange(backends, method=head.method, upgrade=bool(head.upgrade))
        self._whole = b""
        """The body, when all of it came with the head; then there is no upload."""
        self._upload: Upload | None = None
        self._answered = False
        if head.body != NO_BODY:
            whole = visitor.whole_body()
            if whole is None:
                self._upload = Upload(visitor, chunked=head.body == CHUNKED)
            else:
                self._whole = whole
                self._head = head._replace(body=len(whole))  # chunks are for what is not known yet

    def _cookie(self) -> str:
        for name, value, _ in self._head.fields:
            if name == b"cookie" and (sealed := cookie_value(value)):
                return self._upstreams.cookies.open(sealed)
        return ""

    def _backends(self) -> Iterator[Backend]:
        """Yield whom to try, as `balance` says. Who has left since the first was asked is not asked any more."""
        upstreams, target = self._upstreams, self._target
        instances = upstreams.instances(target)
        if self._head.upgrade:
            order = balance.shuffled(instances, upstreams.random, sticky=self._sticky)
        else:
            order = balance.by_load(instances, upstreams.pool.load, upstreams.random, sticky=self._sticky)
        for instance in order:
            if upstreams.instances(target) is instances or instance in upstreams.instances(target):
                yield upstreams.pool.backend(instance)

    async def run(self) -> None:
        """Follow the commands of the exchange until one of them ends it."""
        pool, drains = self._upstreams.pool, self._target.drains
        command: Command[Backend] | None = self._exchange.begin()
        while isinstance(command, DialBackend):
            backend, fresh = command
            pool.begin(backend, drains=drains)
            try:
                command = await self._try(backend, fresh)
            finally:
                pool.end(backend, drains=drains)
        if isinstance(command, Reply):
            await reply(self._visitor, self._upstreams.pages, command.status, self._head)
        elif command is Step.ABORT:
            await self._visitor.abort()

    async def _try(self, backend: Backend, fresh: bool) -> Command[Backend] | None:
        """Have one backend answer; return what to do then, or ``None`` when all is done."""
        try:
            connection = await self._upstreams.pool.connect(backend, fresh=fresh or not self._target.reuses)
        except DialError as exc:
            logger.debug("backend refused", extra={"addr": backend.addr, "reason": str(exc)})
            return self._exchange.dial_failed()
        self._exchange.dialled(reused=connection.reused)
        visitor, wire = self._visitor, connection.wire
        try:
            if visitor.gone:
                raise VisitorGone
            visitor.partner = wire
            upload = self._upload
            if upload is None:
                return await self._converse(connection)
            if not connection.reused and not fresh:
                upload.forget()
            return await self._converse_while_uploading(connection, upload)
        finally:
            visitor.partner = None
            if connection.busy:
                wire.close()

    async def _converse_while_uploading(self, connection: Connection, upload: Upload) -> Command[Backend] | None:
        command: Command[Backend] | None = None
        failure: VisitorGone | RemoteProtocolError | None = None
        async with trio.open_nursery() as nursery:
            try:
                with suppress(WireBroken):  # it may have answered before it closed
                    await connection.wire.send(self._head_bytes())
                nursery.start_soon(self._send_body, upload, connection)
                command = await self._read_answer(connection)
            except VisitorGone as exc:  # in here, so that no group wraps it
                failure = exc
            nursery.cancel_scope.cancel()
        failure = failure or upload.failed
        if isinstance(failure, VisitorGone) or (failure and isinstance(command, Reply)):
            raise failure  # the request was at fault, not the backend
        return command

    async def _send_body(self, upload: Upload, connection: Connection) -> None:
        await upload.run(connection.wire)
        if upload.ended and not self._answered:
            self._expect_answer(connection)

    def _expect_answer(self, connection: Connection) -> None:
        """The request is with the backend: from here on it has only so long."""
        connection.wire.read_by = trio.current_time() + self._upstreams.settings.response_header_timeout_s

    async def _converse(self, connection: Connection) -> Command[Backend] | None:
        with suppress(WireBroken):  # it may have answered before it closed
            await connection.wire.send(self._head_bytes() + self._whole)
        return await self._read_answer(connection)

    def _head_bytes(self) -> bytes:
        head = self._head
        lines = request_lines(
            head, self._visitor.hop, now_ms=time.time_ns() // 1_000_000, new_id=_new_id, keep_alive=self._target.reuses
        )
        return write_request(head.method, head.target, lines)

    async def _read_answer(self, connection: Connection) -> Command[Backend] | None:
        """Read until the response begins, and pass it on."""
        wire, reader, method = connection.wire, connection.reader, self._head.method
        silent = True
        if self._upload is None:
            self._expect_answer(connection)
        try:
            response: Response | None = None
            while True:
                while response is None:
                    data = await wire.receive_later()
                    if not data:
                        return self._lost(silent=silent)
                    silent = False
                    reader.receive(data)
                    response = reader.next_head(method)
                if self._upload is not None:
                    self._upload.forget()
                step = self._exchange.answered(response)
                if step is Step.RELAY:
                    break
                if step is Step.TUNNEL:
                    return await self._tunnel(connection, response)
                if step is Step.INTERIM:
                    await self._visitor.send_interim(response, response_fields(response, method=method))
                elif step is not Step.SKIP:
                    return step
                response = reader.next_head(method)
            self._answered = True
            wire.read_by = inf
            await self._relay(connection, response)
            return None
        except (WireBroken, RemoteProtocolError) as exc:
            logger.debug("backend failed", extra={"addr": connection.backend.addr, "reason": str(exc)})
            return self._lost(silent=silent)

    def _lost(self, *, silent: bool) -> Command[Backend]:
        if self._visitor.gone:
            raise VisitorGone
        replayable = self._upload is None or self._upload.replayable
        return self._exchange.backend_lost(silent=silent, replayable=replayable)

    async def _relay(self, connection: Connection, response: Response) -> None:
        """Pass on a response with its body.

        Raises:
            WireBroken, RemoteProtocolError: the backend failed in the middle.
        """
        visitor, wire, reader = self._visitor, connection.wire, connection.reader
        fields = self._fields(connection, response)
        data = reader.next_body() or b""
        if data and response.body == CHUNKED:
            reader.next_body()  # the last chunk is often here as well
        ended = reader.body_ended
        await visitor.send_head(response, fields, data, end=ended and not reader.trailers)
        if not ended or reader.trailers:
            while not ended:
                piece = reader.next_body()
                if piece is None:
                    reader.receive(await wire.receive())
                else:
                    if piece:
                        await visitor.send_body(piece)
                    ended = reader.body_ended
            await visitor.send_end(passable_trailers(reader.trailers))
        self._exchange.ended()
        upload = self._upload
        if response.keep_alive and self._target.reuses and not reader.buffered and (upload is None or upload.ended):
            connection.busy = False
            self._upstreams.pool.keep(connection)

    async def _tunnel(self, connection: Connection, response: Response) -> Command[Backend] | None:
        """Pass on a 101 and what follows, until both sides have ended."""
        if self._upload is not None and not self._upload.ended:
            return self._lost(silent=False)  # it switches in the middle of a request
        fields = self._fields(connection, response)
        taken = await self._visitor.take_over(response, fields)
        if taken is not None:
            connection.wire.read_by = inf
            wire, early = taken
            await join(wire, connection.wire, from_one=early, from_other=connection.reader.take_rest())
        self._exchange.ended()
        return None

    def _fields(self, connection: Connection, response: Response) -> list[Field]:
        sealed = b""
        if self._target.sticky and self._sticky != connection.backend.addr:
            sealed = self._upstreams.cookies.seal(connection.backend.addr, os.urandom(NONCE_BYTES))
        upgraded = response.status == 101
        return response_fields(response, method=self._head.method, upgraded=upgraded, sticky=sealed)


def _new_id() -> str:
    """Return a UUIDv4. It names a request and guards nothing, so the fast source of randomness will do."""
    digits = "%032x" % (_random.getrandbits(128) & _ID_MASK | _ID_BITS)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
