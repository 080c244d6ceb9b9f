"""Attach: a request for `flynn-attach/0`, from its head to the 101 that begins the session.

Such a request never reaches Hypercorn (`doorstep`). It passes the same checks as every other, and
its refusal looks like every other. 101 is sent only once the job runs with its streams connected:
the stock client waits for it and sends nothing before.

Source: `controller-api.md` §8.1; Flynn `controller/jobs.go`, `RunJob`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import h11
import trio

from ..audit import GONE, Audit
from ..errors import FlynnError, MalformedInput, Unavailable, ValidationError
from .api import BUG, Api, audit_of, by_name, error_reply, headers_of
from .attach_frames import PROTOCOL
from .attach_session import Session
from .body import BodyTooBig, Disconnected
from .doorstep import MAX_HEAD_BYTES
from .jobs import OneOff
from .request import Head, Parts, Reply, Request

logger = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
SWITCHING = 101


async def serve(api: Api, parts: Parts, places: trio.CapacityLimiter, stream: trio.SocketStream, data: bytes) -> None:
    """Answer one request to attach; returns when its job has ended or it was refused.

    Args:
        places: one for each job that may be attached to at once. Nobody waits for one: the refusal says what to do.
        data: what was read so far: the whole head, and perhaps more.
    """
    exchange = _Exchange(stream, data)
    status = GONE
    try:
        refusal = await _run(api, parts, places, stream, exchange)
        if exchange.switched:
            status = SWITCHING
        elif refusal is not None:
            status = refusal.status
            with suppress(trio.BrokenResourceError):  # gone meanwhile
                await exchange.refuse(refusal)
    finally:
        exchange.ended(status)


async def _run(
    api: Api, parts: Parts, places: trio.CapacityLimiter, stream: trio.SocketStream, exchange: "_Exchange"
) -> Reply | None:
    """Run the job that is asked for to its end, or return why it was refused; ``None`` also when the client left."""
    try:
        with trio.fail_after(parts.settings.keep_alive_timeout_s):
            asked_for = await _asked_for(api, parts, exchange)
        if isinstance(asked_for, Reply):
            return asked_for
        one_off, key = asked_for
        session = Session(parts, stream, one_off.spec, begin=exchange.switch, early=exchange.early)
        with _taken(places), trio.CancelScope() as scope, parts.keys.session(key, scope):
            await session.run()
        return None
    except (Disconnected, trio.TooSlowError, trio.BrokenResourceError):
        return None
    except FlynnError as error:
        return error_reply(error)
    except Exception:
        logger.exception("an attached job failed for a reason nobody expected")
        return BUG


@contextmanager
def _taken(places: trio.CapacityLimiter) -> Iterator[None]:
    """Hold a place while the block runs.

    Raises:
        Unavailable: all are taken.
    """
    holder = object()
    try:
        places.acquire_on_behalf_of_nowait(holder)
    except trio.WouldBlock:
        raise Unavailable(
            f"cannot attach to one more job: {places.total_tokens} have a client attached, and that is the most at "
            "once; end one of them ('flynn ps' lists them), or run the job with 'flynn run --detached'"
        ) from None
    try:
        yield
    finally:
        places.release_on_behalf_of(holder)


async def _asked_for(api: Api, parts: Parts, exchange: "_Exchange") -> tuple[OneOff, str] | Reply:
    """Return the job and the name of the key it was asked for with, or the refusal."""
    head = await exchange.head()
    exchange.audit = audit = audit_of(head)
    admitted = await api.admit(head)
    if isinstance(admitted, Reply):
        return admitted
    audit.key = admitted.key
    if admitted.endpoint.upgrade is None:
        raise ValidationError(f"{head.method} {head.path} cannot be upgraded to {PROTOCOL}, only one-off jobs can")
    body = await exchange.body(at_most=parts.settings.max_body_bytes)
    request = Request(params=admitted.params, query=admitted.query, headers=head.headers, body=body, key=admitted.key)
    return await admitted.endpoint.upgrade(parts, request), admitted.key


class _Exchange:
    """The server's side of one HTTP request on a bare stream."""

    def __init__(self, stream: trio.SocketStream, data: bytes) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._http.receive_data(data)
        self.switched = False
        """Whether 101 was sent: there is no refusing any more."""
        self.audit: Audit | None = None
        """The lines about this request, once there is a head."""

    async def head(self) -> Head:
        match await self._next():
            case h11.Request() as request:
                return Head(
                    method=request.method.decode(),
                    target=request.target.decode("latin-1"),
                    headers=by_name(request.headers),
                )
            case _:
                raise Disconnected("the client went away before it sent a request")

    async def body(self, *, at_most: int) -> bytes:
        body = bytearray()
        while True:
            match await self._next():
                case h11.Data(data=data):
                    body += data
                    if len(body) > at_most:
                        raise BodyTooBig(at_most)
                case h11.EndOfMessage():
                    return bytes(body)
                case _:
                    raise Disconnected("the client went away while it sent its request")

    @property
    def early(self) -> bytes:
        """What the client has sent behind its request."""
        return self._http.trailing_data[0]

    async def switch(self) -> None:
        """Send 101; from now on the stream carries frames."""
        headers = [("Connection", "upgrade"), ("Upgrade", PROTOCOL)]
        switching = h11.InformationalResponse(status_code=SWITCHING, headers=headers, reason=b"Switching Protocols")
        self.switched = True
        if self.audit is not None:
            self.audit.begun(SWITCHING)
        await self._send(switching)

    async def refuse(self, reply: Reply) -> None:
        headers = [*headers_of(reply), (b"connection", b"close")]
        await self._send(h11.Response(status_code=reply.status, headers=headers))
        await self._send(h11.Data(data=reply.body))
        await self._send(h11.EndOfMessage())
        await self._stream.send_eof()

    def ended(self, status: int) -> None:
        if self.audit is not None:
            self.audit.ended(status)

    async def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise MalformedInput(f"The request is not valid HTTP/1.1: {error}") from error
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._stream.receive_some(READ_BYTES))

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            await self._stream.send_all(data)
