"""HTTP/1.1, as much of it as a client of one server needs: requests with whole bodies, responses in pieces.

`http.client` does this and more. But it reads headers with `email`, whose import is a fifth of what every command
that speaks to a controller has to load, and a person waits for it at every prompt.

Source: RFC 9112.
"""

from collections.abc import Mapping
from io import BufferedReader

MAX_LINE = 65536
MAX_HEADERS = 200
PIECE = 65536
MAX_DIGITS = 18
"""Of a length; Python refuses to convert thousands of them."""

_EMPTY_BODIES = frozenset({204, 304})
_HEX = b"0123456789abcdefABCDEF"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class HTTPError(Exception):
    """What came is no response; the text says why, in the words of Flynn's client."""


class Disconnected(HTTPError):
    """The server closed the connection instead of answering."""

    def __init__(self) -> None:
        super().__init__("EOF")


class Truncated(HTTPError):
    """The server closed the connection in the middle of a response."""

    def __init__(self) -> None:
        super().__init__("unexpected EOF")


def request_bytes(
    method: str, target: str, headers: Mapping[str, str], body: bytes | None, *, to_follow: int = 0
) -> bytes:
    """Return a request as it goes over the wire.

    Args:
        target: path and query, quoted.
        headers: with `Host`; the length is added.
        to_follow: so many more bytes of the body are sent later.
    """
    lines = [f"{method} {target} HTTP/1.1", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None or method in _WITH_BODY:
        lines.append(f"Content-Length: {len(body or b'') + to_follow}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Response:
    """A response whose head has been read; the body comes in pieces.

    Attributes:
        headers: by lower-case name; repeated ones are joined with commas.
        length: of the body, in bytes; ``None`` when the server does not say.
        reader: what it is read from. Behind a 101 it has whatever the other protocol begins with.
    """

    def __init__(self, reader: BufferedReader, version: str, status: int, headers: Mapping[str, str]) -> None:
        self.reader = reader
        self.status = status
        self.headers = headers
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self._in_chunk = False
        length = headers.get("content-length", "")
        self.length = int(length) if length.isdecimal() and len(length) <= MAX_DIGITS else None
        # RFC 9112 §6.3: chunked before a length; without either the body goes on until the connection ends.
        self._left = 0 if self._chunked else self.length
        self._ended = status < 200 or status in _EMPTY_BODIES or (self._left == 0 and not self._chunked)
        options = headers.get("connection", "").lower()
        kept = "close" not in options if version == "HTTP/1.1" else "keep-alive" in options
        self._last = not kept or (self._left is None and not self._ended)

    @property
    def leaves_it_open(self) -> bool:
        """Whether the body has been read, and the connection can take another request."""
        return self._ended and not self._last

    def read(self) -> bytes:
        """Return the rest of the body.

        Raises:
            HTTPError: it breaks off, or is not in proper chunks.
        """
        return b"".join(iter(self.piece, b""))

    def piece(self) -> bytes:
        """Return what has come of the body, at least a byte, waiting if need be; nothing at its end.

        Raises: as `read`.
        """
        if self._chunked and not self._ended and not self._left:
            self._left = self._next_chunk()
            self._ended = not self._left
        if self._ended:
            return b""
        data = self.reader.read1(PIECE if self._left is None else min(PIECE, self._left))
        if self._left is None:
            self._ended = not data
        elif not data:
            raise Truncated
        else:
            self._left -= len(data)
            self._ended = not self._left and not self._chunked
        return data

    def _next_chunk(self) -> int:
        """Return the size of the next chunk; 0, once the trailers are read, after the last one."""
        if self._in_chunk and _line(self.reader):
            raise HTTPError("malformed chunked encoding")
        self._in_chunk = True
        text = _line(self.reader).partition(b";")[0].strip()
        if not text or text.strip(_HEX):
            raise HTTPError("malformed chunked encoding")
        size = int(text, 16)
        if not size:
            _headers(self.reader)
        return size


def read_response(reader: BufferedReader) -> Response:
    """Return the next final response, or a 101, once its head is there.

    Raises:
        Disconnected: there is none.
        HTTPError: it is not one of HTTP/1.
    """
    while True:
        first = reader.readline(MAX_LINE + 1)
        if not first:
            raise Disconnected
        version, _, rest = first.decode("latin-1").rstrip("\r\n").partition(" ")
        code = rest[:3]
        if version not in {"HTTP/1.1", "HTTP/1.0"} or not (code.isdecimal() and len(code) == 3):
            raise HTTPError(f'malformed HTTP response "{first[:100].decode("latin-1").strip()}"')
        headers = _headers(reader)
        if int(code) == 101 or int(code) >= 200:
            return Response(reader, version, int(code), headers)


def _headers(reader: BufferedReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = _line(reader)
        if not line:
            return headers
        name, _, value = line.decode("latin-1").partition(":")
        key, value = name.strip().lower(), value.strip()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    raise HTTPError(f"more than {MAX_HEADERS} headers")


def _line(reader: BufferedReader) -> bytes:
    line = reader.readline(MAX_LINE + 1)
    if not line.endswith(b"\n"):
        raise Truncated if len(line) <= MAX_LINE else HTTPError("header line too long")
    return line.rstrip(b"\r\n")
