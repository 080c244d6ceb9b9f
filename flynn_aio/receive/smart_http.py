"""Smart HTTP: what a git client's request asks for, and the few bytes around git's own.

Pure. Only the smart protocol is spoken, at `https://git.DOMAIN/APP.git`.

Source: git's `Documentation/gitprotocol-http.txt` and `http-backend.c`; `build.md` §1.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs

from ..model import is_app_name

Headers = tuple[tuple[bytes, bytes], ...]

REALM = b'Basic realm="flynn"'
SERVICES = frozenset({"upload-pack", "receive-pack"})
NO_CACHE: Headers = (
    (b"expires", b"Fri, 01 Jan 1980 00:00:00 GMT"),
    (b"pragma", b"no-cache"),
    (b"cache-control", b"no-cache, max-age=0, must-revalidate"),
)
INFLATE_BYTES = 64 * 1024

_PATH = re.compile(r"/(?P<app>.*)\.git/(?P<what>info/refs|git-upload-pack|git-receive-pack)", re.DOTALL)
_PROTOCOL = re.compile(r"[\w=:.-]{1,256}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is answered with a line of text."""

    status: int
    text: str
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a git client wants of an app's repository.

    Attributes:
        app: its name or id.
        service: ``upload-pack`` (fetch, clone) or ``receive-pack`` (push).
        advertise: only the refs and capabilities, before the exchange itself.
    """

    app: str
    service: str
    advertise: bool

    @property
    def request_type(self) -> str:
        return f"application/x-git-{self.service}-request"

    @property
    def response_type(self) -> str:
        return f"application/x-git-{self.service}-{'advertisement' if self.advertise else 'result'}"


UNAUTHORIZED = Refusal(401, "Authentication required", ((b"www-authenticate", REALM),))
KEY_REMOVED = Refusal(401, "the key was removed meanwhile", ((b"www-authenticate", REALM),))
UNKNOWN_APP = Refusal(404, "unknown app")
NOT_FOUND = Refusal(404, "not found")


def read_ask(method: str, path: str, query: str) -> Ask | Refusal:
    """Tell what a request asks for, or why it is refused.

    Args:
        path: decoded, beginning with a slash.
        query: without the question mark.
    """
    found = _PATH.fullmatch(path)
    if not found:
        return NOT_FOUND  # also the dumb protocol's objects
    app, what = found["app"], found["what"]
    advertise = what == "info/refs"
    service = _wanted_service(query) if advertise else what.removeprefix("git-")
    if service is None:
        return Refusal(404, "only the smart HTTP protocol is spoken here")
    if service not in SERVICES:
        return Refusal(403, "unknown service")
    if not is_app_name(app):
        return Refusal(403, "illegal app name")
    allowed = "GET" if advertise else "POST"
    if method != allowed:
        return Refusal(405, f"use {allowed}", ((b"allow", allowed.encode()),))
    return Ask(app=app, service=service, advertise=advertise)


def _wanted_service(query: str) -> str | None:
    wanted = parse_qs(query, keep_blank_values=True).get("service")
    if wanted is None:
        return None
    return wanted[0].removeprefix("git-") if wanted[0].startswith("git-") else ""


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return a header's value; empty when it is not there. `name` is in lower case."""
    return next((value.decode("latin-1").strip() for key, value in headers if key.lower() == name), "")


def basic_password(authorization: str) -> str | None:
    """Return the password of HTTP Basic credentials, whoever the user is; ``None`` when it is no such thing."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        _, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return password if colon else None


def wire_protocol(ask: Ask, value: str) -> str:
    """Return what git is told of a client's `Git-Protocol` header: only fetches know versions."""
    return value if ask.service == "upload-pack" and _PROTOCOL.fullmatch(value) else ""


def advertisement_head(ask: Ask, protocol: str) -> bytes:
    """Return what comes before git's own advertisement: its name, which version 2 leaves out."""
    if "version=2" in protocol.split(":"):
        return b""
    line = f"# service=git-{ask.service}\n".encode()
    return b"%04x%s0000" % (len(line) + 4, line)


class Inflate:
    """Undoes `Content-Encoding: gzip`, a bounded piece at a time, whatever it grows to."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` unpacks to.

        Raises:
            ValueError: it is not gzip, or goes on after its end.
        """
        try:
            while data:
                yield self._stream.decompress(data, INFLATE_BYTES)
                if self._stream.unused_data:
                    raise ValueError("the gzip body goes on after its end")
                data = self._stream.unconsumed_tail
        except zlib.error as exc:
            raise ValueError(f"the body is not gzip: {exc}") from exc

    def end(self) -> None:
        """Check that nothing is missing.

        Raises:
            ValueError: the stream ends too early.
        """
        if not self._stream.eof:
            raise ValueError("the gzip body ends too early")
