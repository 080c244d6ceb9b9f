"""Framing: the one judge of message heads, whichever HTTP version carried them. Pure.

A request that two servers could read differently is how one client's bytes become another
client's request. So every head, from HTTP/1.1 and HTTP/2, from clients and backends, passes
through `request` or `response` here, and what leaves the router is written anew from their
result. Whatever is ambiguous is refused, never repaired.

Sources: RFC 9110 §5, §6; RFC 9112 §3, §6; RFC 9113 §8.
"""

import re
from typing import Final, NamedTuple

Field = tuple[bytes, bytes, bytes]
"""A header field: name in lower case, value without surrounding blanks, and its canonical line with CRLF."""

NO_BODY: Final = 0
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
"""How long a body is, where it is not a plain number of bytes: unknown until a last chunk, or until
the connection ends (responses only)."""

HTTP_2: Final = 2
"""In place of a minor version: the message came over HTTP/2."""

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_is_token = re.compile(TOKEN).fullmatch
_is_target = re.compile(rb"[!\"$-~]+").fullmatch  # visible ASCII without '#': a fragment never travels
_is_authority = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=%:\[\]]*").fullmatch
_is_value = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
_is_length = re.compile(rb"[0-9]{1,18}").fullmatch
_absolute = re.compile(rb"https?://([^/?]*)", re.IGNORECASE).match

_JUDGED = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"})
_HOP_BY_HOP_IN_HTTP_2 = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})


class RemoteProtocolError(Exception):
    """The other side sent what no honest peer sends, or what we refuse to guess about.

    Attributes:
        status: what to answer when it was a request.
    """

    def __init__(self, reason: str, *, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class LocalProtocolError(Exception):
    """We asked a protocol core for something that makes no sense in its state. Always our bug."""


class Request(NamedTuple):
    """The head of a request that passed.

    Attributes:
        minor: 0 or 1 for HTTP/1.x, `HTTP_2` otherwise.
        target: as received, never rewritten.
        authority: the `Host` as received; empty when HTTP/1.0 had none.
        body: its length in bytes, or `CHUNKED`.
        tokens: what `Connection` names, in lower case.
        upgrade: the value of `Upgrade` when the request asks for one, else empty.
        keep_alive: whether the client wants to go on using its connection.
    """

    minor: int
    method: bytes
    target: bytes
    authority: bytes
    fields: list[Field]
    body: int
    tokens: tuple[bytes, ...]
    upgrade: bytes
    keep_alive: bool
    expects_continue: bool


class Response(NamedTuple):
    """The head of a response that passed. See `Request` for what the fields mean."""

    minor: int
    status: int
    reason: bytes
    fields: list[Field]
    body: int
    tokens: tuple[bytes, ...]
    keep_alive: bool


def field(name: bytes, value: bytes) -> Field:
    """Return a field of our own making; nothing is checked."""
    return (name.lower(), value, b"%b: %b\r\n" % (name, value))


def checked_field(name: bytes, value: bytes) -> Field:
    """Return a field that came from outside.

    Raises:
        RemoteProtocolError: the name is no token, or the value has a control character.
    """
    if not _is_token(name):
        raise RemoteProtocolError("field name is not a token")
    if not _is_value(value):
        raise RemoteProtocolError("field value has a control character")
    return (name.lower(), value, b"%b: %b\r\n" % (name, value))


def request(minor: int, method: bytes, target: bytes, fields: list[Field]) -> Request:
    """Judge the head of a request whose fields are `checked_field`s.

    Raises:
        RemoteProtocolError: not a request, or one that could be read in two ways.
    """
    host: bytes | None = None
    length = coding = connection = None
    upgrade = b""
    expects_continue = False
    for name, value, _ in fields:
        if name not in _JUDGED:
            continue
        match name:
            case b"host":
                if host is not None:
                    raise RemoteProtocolError("more than one Host")
                host = value
            case b"content-length":
                if length is not None:
                    raise RemoteProtocolError("more than one Content-Length")
                length = value
            case b"transfer-encoding":
                if coding is not None:
                    raise RemoteProtocolError("more than one Transfer-Encoding")
                coding = value
            case b"connection":
                connection = value if connection is None else connection + b"," + value
            case b"upgrade":
                upgrade = value if not upgrade else upgrade + b", " + value
            case b"expect":
                expects_continue = value.lower() == b"100-continue"
    if not _is_token(method):
        raise RemoteProtocolError("method is not a token")
    _check_target(method, target, host)
    if host is None:
        if minor != 0:
            raise RemoteProtocolError("no Host")
        host = b""
    elif not _is_authority(host):
        raise RemoteProtocolError("Host has a character that is not allowed")
    tokens = _tokens(connection) if connection is not None else ()
    if minor == HTTP_2:
        if any(name in _HOP_BY_HOP_IN_HTTP_2 for name, _, _ in fields):
            raise RemoteProtocolError("a field of HTTP/1 in HTTP/2")  # RFC 9113 §8.2.2
        keep_alive = True
    else:
        keep_alive = b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens)
    if upgrade and (minor != 1 or b"upgrade" not in tokens or b"h2c" in _tokens(upgrade)):
        upgrade = b""  # HTTP/2 is negotiated by ALPN here, never by h2c
    body = _request_body(minor, length, coding)
    return Request(
        minor, method, target, host, fields, body, tokens, upgrade, keep_alive, expects_continue and minor != 0
    )


def _request_body(minor: int, length: bytes | None, coding: bytes | None) -> int:
    """Return how long the body of a request is. RFC 9112 §6.3, without its second chances."""
    if coding is not None:
        if length is not None:
            raise RemoteProtocolError("both Content-Length and Transfer-Encoding")
        if minor == 0:
            raise RemoteProtocolError("Transfer-Encoding in HTTP/1.0")
        if coding.lower() != b"chunked":
            raise RemoteProtocolError("a transfer coding we do not know", status=501)
        return CHUNKED
    if length is None:
        return NO_BODY
    if not _is_length(length):
        raise RemoteProtocolError("Content-Length is not a number")
    return int(length)


def _check_target(method: bytes, target: bytes, host: bytes | None) -> None:
    """Accept origin-form, absolute-form that agrees with Host, and ``OPTIONS *``. RFC 9112 §3.2."""
    if not _is_target(target):
        raise RemoteProtocolError("request target has a character that is not allowed")
    if method == b"CONNECT":
        raise RemoteProtocolError("we are no forward proxy", status=405)
    if target[0] == 0x2F:
        return
    if target == b"*" and method == b"OPTIONS":
        return
    absolute = _absolute(target)
    if not absolute:
        raise RemoteProtocolError("request target is neither a path nor a URI")
    # The server behind us would obey the URI, we obey Host: they have to agree. RFC 9112 §3.2.2
    if host is not None and absolute[1].lower() != host.lower():
        raise RemoteProtocolError("Host is not the host of the request target")


def response(minor: int, status: int, reason: bytes, fields: list[Field], *, method: bytes) -> Response:
    """Judge the head of a backend's response to a `method` request.

    Raises:
        RemoteProtocolError: its length is not certain.
    """
    length = coding = connection = None
    for name, value, _ in fields:
        if name not in _JUDGED:
            continue
        match name:
            case b"content-length":
                if length is not None:
                    raise RemoteProtocolError("more than one Content-Length")
                length = value
            case b"transfer-encoding":
                if coding is not None:
                    raise RemoteProtocolError("more than one Transfer-Encoding")
                coding = value
            case b"connection":
                connection = value if connection is None else connection + b"," + value
    tokens = _tokens(connection) if connection is not None else ()
    keep_alive = b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens)
    if length is not None and not _is_length(length):
        raise RemoteProtocolError("Content-Length is not a number")
    if coding is not None and (length is not None or minor == 0 or coding.lower() != b"chunked"):
        raise RemoteProtocolError("Transfer-Encoding beside Content-Length, in HTTP/1.0, or not chunked")
    if status < 200 or status in (204, 304) or method == b"HEAD":
        body = NO_BODY
    elif coding is not None:
        body = CHUNKED
    elif length is not None:
        body = int(length)
    else:
        body = UNTIL_CLOSE
        keep_alive = False
    return Response(minor, status, reason, fields, body, tokens, keep_alive)


def _tokens(value: bytes) -> tuple[bytes, ...]:
    """Return the tokens of a comma list, trimmed and in lower case, without the blank ones."""
    return tuple(token for item in value.lower().split(b",") if (token := item.strip(b" \t")))


def host_of(authority: bytes) -> str:
    """Return the host a request is routed by: without port, in lower case. ``[::1]:80`` gives ``[::1]``."""
    host, colon, port = authority.rpartition(b":")
    if not colon or not (port.isdigit() or not port):
        host = authority
    return host.lower().decode("ascii", "replace")
