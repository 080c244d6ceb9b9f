"""Checks: asking one endpoint once whether it is alive.

A probe answers with a sentence instead of an exception, since a refused connection is its
subject and not its failure. How long it may take is the caller's to say, with a cancel scope.

Source: `discovery.md` §4; Flynn `discoverd/health/check.go`.
"""

import os
import ssl
from functools import cache

import h11
import trio

from ..model import CheckType, HealthCheck

MATCH_BYTES = 5120
"""How much of a body `match` is searched in."""
HEAD_BYTES = 64 * 1024
OK = 200


async def probe(check: HealthCheck, addr: str) -> str:
    """Ask the endpoint at `addr` (``ip:port``) once.

    Returns:
        An empty text when it answered as the check wants, else what it did instead, with the
        address: ``connection refused on 100.100.0.5:8080``.

    Cancellation: the connection is closed.
    """
    kind = check.type or CheckType.TCP
    if kind not in {CheckType.TCP, CheckType.HTTP, CheckType.HTTPS}:
        return f"check type {check.type!r} is none of tcp, http and https"
    try:
        connection = await _dial(addr)
    except OSError as exc:
        return f"{_reason(exc)} on {addr}"
    try:
        if kind == CheckType.TCP:
            return ""
        return await _probe_http(connection, check, addr, secure=kind == CheckType.HTTPS)
    finally:
        await trio.aclose_forcefully(connection)


async def _dial(addr: str) -> trio.SocketStream:
    host, _, port = addr.rpartition(":")
    host = host.strip("[]")
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        await sock.connect((host, int(port)))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def _probe_http(connection: trio.SocketStream, check: HealthCheck, addr: str, *, secure: bool) -> str:
    """Send one GET and compare. Redirects are not followed: the question is how *this* instance answers."""
    host = check.host or addr
    path = check.path if check.path.startswith("/") else f"/{check.path}"
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    stream: trio.abc.Stream = connection
    try:
        request = _request(http, host=host, path=path)
        if secure:
            name = check.host or addr.rpartition(":")[0].strip("[]")
            stream = trio.SSLStream(connection, _tls(), server_hostname=name, https_compatible=True)
    except (h11.LocalProtocolError, ValueError, TypeError, ssl.SSLError):  # whatever somebody wrote into a release
        return f"path {check.path!r} or host {host!r} of the check of {addr} cannot be put into a request"
    try:
        status, body = await _exchange(stream, http, request, wanted=MATCH_BYTES if check.match else 0)
    except h11.RemoteProtocolError:
        return f"no HTTP response from {addr}"
    except (trio.BrokenResourceError, ssl.SSLError) as exc:
        return f"{_reason(exc)} from {addr}"
    expected = check.status or OK
    if status != expected:
        return f"HTTP status {status} instead of {expected} from {addr}{path}"
    if check.match and check.match.encode() not in body:
        return f"no {check.match!r} in the first {MATCH_BYTES} bytes from {addr}{path}"
    return ""


def _request(http: h11.Connection, *, host: str, path: str) -> bytes:
    headers = [("Host", host), ("User-Agent", "discoverd"), ("Connection", "close")]
    head = http.send(h11.Request(method="GET", target=path, headers=headers)) or b""
    return head + (http.send(h11.EndOfMessage()) or b"")


async def _exchange(stream: trio.abc.Stream, http: h11.Connection, request: bytes, *, wanted: int) -> tuple[int, bytes]:
    """Send a request; return the status and up to `wanted` bytes of the body that come back."""
    await stream.send_all(request)
    status, body = 0, b""
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(HEAD_BYTES)))
            case h11.Response(status_code=code):
                status = code
                if not wanted:
                    return status, body
            case h11.Data(data=data):
                body += data
                if len(body) >= wanted:
                    return status, body[:wanted]
            case h11.EndOfMessage() | h11.ConnectionClosed() | h11.PAUSED:
                return status, body


@cache
def _tls() -> ssl.SSLContext:
    """Return a context that verifies nothing: a check asks for life, not for identity."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reason(exc: Exception) -> str:
    """Say briefly what went wrong: ``connection refused``."""
    cause = exc.__cause__ if isinstance(exc, trio.BrokenResourceError) and exc.__cause__ else exc
    if isinstance(cause, ssl.SSLError):
        return f"failed TLS handshake ({cause.reason or 'closed'})"
    if isinstance(cause, OSError) and cause.errno:
        text = os.strerror(cause.errno)  # Trio's own text repeats the address
        return text[0].lower() + text[1:]
    return "connection closed"
