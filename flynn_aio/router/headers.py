"""Header rules: what a backend is told about a request, and a client about a response. Pure.

Fields that belong to one connection stay on it; an upgrade is the exception, since there the
connection itself is handed over. Lengths and codings are never passed on but written anew.

Source: `router.md` §5; Flynn `router/proxy/proxy.go`, `router/http.go`, `fwdProtoHandler`.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .framing import CHUNKED, HTTP_2, NO_BODY, Field, Request, Response, field
from .sticky import COOKIE_NAME

is_request_id = re.compile(rb"[A-Za-z0-9+/=\-]{20,200}").fullmatch

_REWRITTEN = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"http2-settings",
        b"te",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
        b"x-forwarded-for",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-request-id",
        b"x-request-start",
    }
)
"""Request fields that are not simply passed on."""
_KEPT_IN_UPGRADE = frozenset({b"connection", b"te", b"trailers", b"upgrade"})
_PROTECTED = frozenset({b"host"})
"""Fields a `Connection` token cannot take away: the backend would read another request."""
_STRIPPED_FROM_RESPONSE = frozenset(
    {b"connection", b"content-length", b"te", b"trailers", b"transfer-encoding", b"upgrade"}
)
_FORBIDDEN_IN_TRAILERS = _REWRITTEN | {
    b"authorization",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"host",
    b"keep-alive",
    b"proxy-connection",
    b"set-cookie",
    b"trailer",
}
"""RFC 9110 §6.5.1: fields that change how a message is framed, routed or trusted come first or not at all."""

_HAS_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
"""Methods whose body is said to be empty when it is (RFC 9110 §8.6): some servers wait for it otherwise."""
_ZERO = 0x30
_CHUNKED_LINE = b"Transfer-Encoding: chunked\r\n"
_CLOSE_LINE = b"Connection: close\r\n"
CLOSE_FIELD = field(b"Connection", b"close")
KEEP_ALIVE_FIELD = field(b"Connection", b"keep-alive")
CHUNKED_FIELD = field(b"Transfer-Encoding", b"chunked")


class Hop(NamedTuple):
    """How a client came in: the same for all requests of its connection."""

    address: bytes
    """The client's IP address."""
    proto: bytes
    """``http`` or ``https``."""
    port: bytes
    """The port of the listener."""


def request_lines(
    head: Request, hop: Hop, *, now_ms: int, new_id: Callable[[], str], keep_alive: bool = True
) -> list[bytes]:
    """Return the canonical field lines a backend gets.

    Args:
        now_ms: Unix time in milliseconds.
        new_id: makes a request id where the client brought none that is acceptable.
        keep_alive: whether the connection to the backend will be used again.
    """
    upgrade = head.upgrade
    named = () if upgrade else head.tokens
    lines: list[bytes] = []
    address, proto, port = hop
    request_id = b""
    has_body = head.body != NO_BODY or head.method in _HAS_BODY
    if head.minor == HTTP_2 and head.authority:
        lines.append(b"Host: %b\r\n" % head.authority)
    for name, value, line in head.fields:
        if name not in _REWRITTEN:
            if name not in named or name in _PROTECTED:
                lines.append(line)
        elif upgrade and name in _KEPT_IN_UPGRADE:
            lines.append(line)
        elif name in named and name != b"content-length":
            continue
        elif name == b"x-forwarded-for":
            address = _inserted(value, address, hop.address)
        elif name == b"x-forwarded-proto":
            proto = _inserted(value, proto, hop.proto)
        elif name == b"x-forwarded-port":
            port = _inserted(value, port, hop.port)
        elif name == b"x-request-id":
            request_id = value
        elif name == b"content-length":
            has_body = True
        elif name == b"expect" and not head.expects_continue:
            lines.append(line)
    if not is_request_id(request_id):
        request_id = new_id().encode()
    lines.append(
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %b\r\n"
        b"X-Request-Id: %b\r\nX-Request-Start: %d\r\n" % (address, proto, port, request_id, now_ms)
    )
    if head.body == CHUNKED:
        lines.append(_CHUNKED_LINE)
    elif has_body:
        lines.append(b"Content-Length: %d\r\n" % head.body)
    if not keep_alive and not upgrade:
        lines.append(_CLOSE_LINE)
    return lines


def _inserted(value: bytes, so_far: bytes, own: bytes) -> bytes:
    """Return the folded list with one more received value, our own still at the end."""
    before = so_far[: -len(own)]
    return before + value + b", " + own


def response_fields(response: Response, *, method: bytes, upgraded: bool = False, sticky: bytes = b"") -> list[Field]:
    """Return the fields a client gets, with the length of the body where it is known.

    Args:
        method: of the request: the answer to HEAD tells a length that no body follows.
        upgraded: the response is the 101 that was asked for.
        sticky: a fresh cookie value, or ``b""`` when the client's own one stays valid.
    """
    named = () if upgraded else response.tokens
    fields: list[Field] = []
    for each in response.fields:
        name = each[0]
        if name in _STRIPPED_FROM_RESPONSE:
            if upgraded and name in _KEPT_IN_UPGRADE:
                fields.append(each)
            elif name == b"content-length" and (
                response.body >= 0 and response.status >= 200 and response.status != 204
            ):
                fields.append(field(b"Content-Length", b"%d" % int(each[1])) if each[1][0] == _ZERO else each)
        elif name not in named:
            fields.append(each)
    if sticky:
        fields.append(field(b"Set-Cookie", b"%b=%b; Path=/" % (COOKIE_NAME, sticky)))
    return fields


def passable_trailers(trailers: Iterable[Field]) -> list[Field]:
    """Return the trailers that may be passed on."""
    return [each for each in trailers if each[0] not in _FORBIDDEN_IN_TRAILERS]
