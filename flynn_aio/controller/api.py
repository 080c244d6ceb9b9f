"""The API as one ASGI application: find the handler, check the key, answer, say what failed.

Only this module knows what HTTP makes of a failure, and what a client relies on: success is
exactly 200, "not found" is a 404 that is *not* JSON (the stock client takes nothing else for
it), an error is `{"code", "message", "detail"?, "retry"}`.

Source: `controller-api.md` §1 and §2; Flynn `pkg/httphelper`, `controller/controller.go`.
"""

import base64
import binascii
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import trio
from msgspec import UNSET, Struct, UnsetType

from ..audit import GONE, Audit
from ..errors import FlynnError, NotFound, Unauthorized, Unavailable, ValidationError
from ..model import encode
from .body import Disconnected, read_body
from .connection import WATCHED, Message, Receive, Scope, Send, Watched
from .request import EMPTY, JSON, Head, Parts, Reply, Request
from .routes import Auth, Endpoint, Find, find

logger = logging.getLogger(__name__)

STATUSES = {
    "syntax_error": 400,
    "validation_error": 400,
    "request_body_too_big": 400,
    "unauthorized": 401,
    "object_not_found": 404,
    "object_exists": 409,
    "conflict": 409,
    "precondition_failed": 412,
    "ratelimited": 429,
    "unknown_error": 500,
    "service_unavailable": 503,
}

MAX_QUERY_FIELDS = 100
NO_SUCH_PAGE = Reply(b"404 page not found\n", "text/plain; charset=utf-8", 404)

CORS = (
    (b"access-control-allow-credentials", b"true"),
    (b"access-control-allow-methods", b"GET,POST,PUT,PATCH,DELETE,HEAD"),
    (b"access-control-allow-headers", b"Auth-Key,Authorization,Accept,Content-Type,If-Match,If-None-Match,X-GRPC-Web"),
    (b"access-control-expose-headers", b"ETag,Content-Disposition"),
    (b"access-control-max-age", b"3600"),
)


class ErrorBody(Struct, frozen=True, kw_only=True):
    code: str
    message: str
    detail: Any | UnsetType = UNSET
    retry: bool


def error_reply(error: FlynnError) -> Reply:
    """Return how a failure looks on the wire."""
    status = STATUSES.get(error.code, 500)
    if isinstance(error, NotFound | Unauthorized):
        return Reply(status=status)
    if isinstance(error, Disconnected):
        return Reply(status=GONE)
    body = ErrorBody(
        code=error.code,
        message=error.message,
        detail=UNSET if error.detail is None else error.detail,
        retry=error.retry,
    )
    return Reply(encode(body), JSON, status)


BUG = Reply(
    encode(ErrorBody(code="unknown_error", message="Something went wrong", retry=False)),
    JSON,
    STATUSES["unknown_error"],
)
"""What a client is told about a mistake of ours; the log has the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A request that may be served, as far as its head can tell.

    Attributes:
        key: the name of the key it came with; empty where none is asked for.
    """

    endpoint: Endpoint
    params: Mapping[str, str]
    query: Mapping[str, list[str]]
    key: str


@dataclass(frozen=True, slots=True)
class Flowing:
    """A `Stream` whose source has been entered; `key` is the name of the key that opened it."""

    headers: list[tuple[bytes, bytes]]
    key: str
    chunks: AsyncGenerator[bytes, None]
    is_one: bool


def password_of(headers: Mapping[str, str]) -> str:
    """Return the password of Basic credentials, whatever the user name; empty when there is none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def audit_of(head: Head) -> Audit:
    """Return what writes the lines about a request."""
    return Audit(head.method, head.path, address=head.address, agent=head.headers.get("user-agent", ""))


def parse_query(text: str) -> dict[str, list[str]]:
    """Return every value of every query parameter, in order."""
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise ValidationError(f"The query has more than {MAX_QUERY_FIELDS} parameters") from error


class Api:
    """Answers every request for `controller.D`, or for another host with a table of its own."""

    def __init__(self, parts: Parts, *, find: Find = find) -> None:
        self._parts = parts
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        head = Head(method=scope["method"], target=target.decode("latin-1"), headers=by_name(scope["headers"]))
        watched: Watched | None = scope.get("extensions", {}).get(WATCHED)
        del scope  # a stream may go on for days
        audit, status = audit_of(head), GONE
        try:
            async with AsyncExitStack() as open_source:
                match await self._answer(head, audit, receive, open_source):
                    case Reply() as reply:
                        status = reply.status
                        await send(_start(reply.status, headers_of(reply), head))
                        await send({"type": "http.response.body", "body": reply.body})
                    case Flowing() as flowing:
                        status = 200
                        audit.begun(status)
                        await send(_start(status, flowing.headers, head))
                        if await self._pump(flowing, watched, receive, send):
                            await send({"type": "http.response.body", "body": b""})
        finally:
            audit.ended(status)

    async def admit(self, head: Head) -> Admitted | Reply:
        """Find who serves a request and check its key, before anything of its body is read.

        Raises:
            Unauthorized: the key is missing or wrong.
            RateLimited: it is wrong, and so were too many before it.
            Unavailable: the controller is draining.
        """
        if self._parts.leaving.is_set():
            raise Unavailable("the controller is shutting down; try again when it is back")
        if head.method == "OPTIONS":
            return EMPTY
        path, _, query_string = head.target.partition("?")
        query = parse_query(query_string)
        found = self._find(head.method, path)
        key = await self._check_key(found[0].auth if found else Auth.KEY, head, query)
        if found is None:
            return NO_SUCH_PAGE
        endpoint, params = found
        return Admitted(endpoint=endpoint, params=params, query=query, key=key)

    async def _check_key(self, rule: Auth, head: Head, query: Mapping[str, list[str]]) -> str:
        """Return the name of the key, empty where none is needed."""
        if rule is Auth.NONE:
            return ""
        password = password_of(head.headers)
        if rule is Auth.STREAM and not password:
            password = query.get("key", [""])[0]
        if rule is Auth.OPTIONAL and not password:
            return ""
        return await self._parts.keys.authenticate(password, address=head.address)

    async def _answer(self, head: Head, audit: Audit, receive: Receive, open_source: AsyncExitStack) -> Reply | Flowing:
        """Return the answer to one request. Whatever goes wrong is part of it."""
        try:
            admitted = await self.admit(head)
            if isinstance(admitted, Reply):
                return admitted
            audit.key = admitted.key
            request = await self._read(admitted, head, receive)
            answer = await admitted.endpoint.handler(self._parts, request)
            if isinstance(answer, Reply):
                return answer
            chunks = await open_source.enter_async_context(answer.source)
            kind = (b"content-type", answer.content_type.encode())
            return Flowing([kind, *answer.headers], admitted.key, chunks, answer.is_one)
        except FlynnError as error:
            return error_reply(error)
        except Exception:
            logger.exception(
                "a request failed for a reason nobody expected",
                extra={"method": head.method, "path": head.path},
            )
            return BUG

    async def _read(self, admitted: Admitted, head: Head, receive: Receive) -> Request:
        settings = self._parts.settings
        request = partial(Request, params=admitted.params, query=admitted.query, headers=head.headers, key=admitted.key)
        if admitted.endpoint.streams:
            return request(receive=receive)
        return request(
            body=await read_body(receive, at_most=settings.max_body_bytes, within_s=settings.keep_alive_timeout_s)
        )

    async def _pump(self, flowing: Flowing, watched: Watched | None, receive: Receive, send: Send) -> bool:
        """Send a stream until it ends, the client goes, its key is removed or the controller leaves.

        Returns:
            Whether to end it properly. One that broke off is cut, so that nobody takes it for whole.
        """
        is_whole = not flowing.is_one  # if something cancels the flow, that is
        async with aclosing(flowing.chunks) as chunks:
            with (
                trio.CancelScope() as flow,
                self._parts.keys.session(flowing.key, flow),
                self._parts.flows.entered(flow),
            ):
                if watched is not None:
                    with watched(flow):
                        return await _send_all(chunks, send)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_end_with_client, receive, flow)
                    is_whole = await _send_all(chunks, send)
                    flow.cancel()
        return is_whole


async def _send_all(chunks: AsyncGenerator[bytes, None], send: Send) -> bool:
    """Send a stream to its end, and return whether it got there."""
    try:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except FlynnError as error:
        logger.warning("an answer broke off", extra={"reason": error.message})
        return False
    return True


async def _end_with_client(receive: Receive, flow: trio.CancelScope) -> None:
    await _disconnected(receive)
    flow.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # a body nobody asked for


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def headers_of(reply: Reply) -> list[tuple[bytes, bytes]]:
    """Return the headers that frame and describe a whole answer."""
    length = (b"content-length", str(len(reply.body)).encode())
    kind = [(b"content-type", reply.content_type.encode())] if reply.content_type else []
    return [*kind, length, *reply.headers]


def _start(status: int, headers: list[tuple[bytes, bytes]], head: Head) -> Message:
    if origin := head.headers.get("origin"):
        headers = [*headers, (b"access-control-allow-origin", origin.encode("latin-1")), *CORS]
    return {"type": "http.response.start", "status": status, "headers": headers}
