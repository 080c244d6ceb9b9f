"""Checks: asking one endpoint once whether it is alive.

A probe answers with a sentence instead of an exception, since a refused connection is its
subject and not its failure. How long it may take is the caller's to say, with a cancel scope.

Source: `discovery.md` §4; Flynn `discoverd/health/check.go`.
"""

import os
import ssl
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import urljoin, urlsplit

import h11
import trio

from ..model import CheckType, HealthCheck

MATCH_BYTES = 5120
"""How much of a body `match` is searched in."""
HEAD_BYTES = 64 * 1024
"""The longest head of an answer: what is longer is none."""
INFORMATIONAL = 5
"""Interim responses before the real one. As in Go's client."""
OK = 200
REDIRECTING = frozenset({301, 302, 303, 307, 308})
REDIRECTS = 10
"""How many are followed. As in Go's client."""
SHOWN = 200
"""How much of somebody's header is repeated in a sentence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: up to `MATCH_BYTES` of the body, when it is looked at."""

    status: int = 0
    location: str = ""
    body: bytes = b""


async def probe(check: HealthCheck, addr: str) -> str:
    """Ask the endpoint at `addr` (``ip:port``) once.

    Returns:
        An empty text when it answered as the check wants, else what it did instead, with the
        address: ``connection refused on 100.100.0.5:8080``.

    Cancellation: the connection is closed.
    """
    match check.type or CheckType.TCP:
        case CheckType.TCP:
            return await _probe_tcp(addr)
        case CheckType.HTTP | CheckType.HTTPS:
            return await _probe_http(check, addr)
    return f"check type {check.type!r} is none of tcp, http and https"


async def _probe_tcp(addr: str) -> str:
    try:
        connection = await _dial(addr)
    except OSError as exc:
        return f"{_reason(exc)} on {addr}"
    connection.close()
    return ""


async def _dial(addr: str) -> trio.socket.SocketType:
    host, _, port = addr.rpartition(":")
    host = host.strip("[]")
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        await sock.connect((host, int(port)))
    except BaseException:
        sock.close()
        raise
    return sock


async def _probe_http(check: HealthCheck, addr: str) -> str:
    """Ask, and go where the answer sends us, as long as that is this instance: it is the one in question."""
    url = f"{check.type}://{check.host or addr}/{check.path.removeprefix('/')}"
    expected = check.status or OK
    for _ in range(REDIRECTS + 1):
        answer = await _ask(check, addr, url)
        if isinstance(answer, str):
            return answer
        asked = f"{addr}{_target(url)}"
        if answer.status == expected:
            if check.match.encode() in answer.body:
                return ""
            return f"no {check.match!r} in the first {MATCH_BYTES} bytes from {asked}"
        wrong = f"HTTP status {answer.status} instead of {expected} from {asked}"
        if answer.status not in REDIRECTING or not answer.location:
            return wrong
        following = _followed(url, answer.location)
        if following is None:
            return f"{wrong}, and it leads to {answer.location[:SHOWN]}, which is not this instance"
        url = following
    return f"{wrong}, after {REDIRECTS} others"


def _followed(url: str, location: str) -> str | None:
    """Return where a redirect leads; ``None`` when that is somewhere else."""
    try:
        following = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(following)
    except ValueError:
        return None
    is_here = (here.scheme, here.netloc.lower()) == (there.scheme, there.netloc.lower())
    return following if is_here else None


def _target(url: str) -> str:
    """Return what of a URL is asked for: its path and its query."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


async def _ask(check: HealthCheck, addr: str, url: str) -> Answer | str:
    """Send one GET; return the answer, or why there is none."""
    host = check.host or addr
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    try:
        request = _request(http, host=host, path=_target(url))
        connection = trio.SocketStream(await _dial(addr))
    except (h11.LocalProtocolError, ValueError):  # whatever somebody wrote into a release
        return _unspeakable(check, addr)
    except OSError as exc:
        return f"{_reason(exc)} on {addr}"
    try:
        stream = _stream(connection, check, addr)
        if stream is None:
            return _unspeakable(check, addr)
        return await _exchange(stream, http, request, wanted=MATCH_BYTES if check.match else 0)
    except h11.RemoteProtocolError:
        return f"no HTTP response from {addr}"
    except (trio.BrokenResourceError, ssl.SSLError) as exc:
        return f"{_reason(exc)} from {addr}"
    finally:
        await trio.aclose_forcefully(connection)


def _stream(connection: trio.SocketStream, check: HealthCheck, addr: str) -> trio.abc.Stream | None:
    """Return what to speak HTTP over; ``None`` when no handshake can name the host."""
    if check.type != CheckType.HTTPS:
        return connection
    name = check.host or addr.rpartition(":")[0].strip("[]")
    try:
        return trio.SSLStream(connection, _tls(), server_hostname=name, https_compatible=True)
    except (ValueError, TypeError, ssl.SSLError):
        return None


def _unspeakable(check: HealthCheck, addr: str) -> str:
    return f"path {check.path!r} or host {check.host!r} of the check of {addr} cannot be put into a request"


def _request(http: h11.Connection, *, host: str, path: str) -> bytes:
    headers = [("Host", host), ("User-Agent", "discoverd"), ("Connection", "close")]
    head = http.send(h11.Request(method="GET", target=path, headers=headers)) or b""
    return head + (http.send(h11.EndOfMessage()) or b"")


async def _exchange(stream: trio.abc.Stream, http: h11.Connection, request: bytes, *, wanted: int) -> Answer:
    """Send a request; return what comes back, with up to `wanted` bytes of the body."""
    await stream.send_all(request)
    answer, informed = Answer(), 0
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(HEAD_BYTES)))
            case h11.InformationalResponse():
                informed += 1
                if informed > INFORMATIONAL:
                    raise h11.RemoteProtocolError("interim responses without an end")
            case h11.Response(status_code=status, headers=headers):
                location = next((value for name, value in headers if name == b"location"), b"")
                answer = Answer(status, location.decode("latin-1"))
                if not wanted:
                    return answer
            case h11.Data(data=data):
                answer = replace(answer, body=answer.body + data[: wanted - len(answer.body)])
                if len(answer.body) == wanted:
                    return answer
            case h11.EndOfMessage() | h11.ConnectionClosed() | h11.PAUSED:
                return answer


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
