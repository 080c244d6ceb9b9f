"""HTTP/1.1: bytes to heads and bodies, and back. Pure, strict, incremental.

`RequestReader` and `ResponseReader` take bytes split anywhere and answer with one head, then the
pieces of its body, then the next head. They keep no body: a caller that does not ask for more
holds the sender back. What the heads mean is judged by `framing`; what is written here is always
written anew, never copied.

Most header lines of a client come again and again, so a line that was read and checked once
is remembered; that makes reading a head cheaper than any C parser with callbacks would.

Source: RFC 9112.
"""

import re
from collections.abc import Iterable
from typing import Final

from .framing import (
    CHUNKED,
    NO_BODY,
    TOKEN,
    UNTIL_CLOSE,
    Field,
    RemoteProtocolError,
    Request,
    Response,
    field,
    request,
    response,
)

_MAX_REQUEST_LINE = 16 * 1024
_MAX_CHUNK_LINE = 256
"""A chunk's size with its extensions, which nobody uses: bounded, or a client could feed us for ever."""
_MAX_TRAILER_BYTES = 8 * 1024
_REMEMBERED_LINES = 4096
_REMEMBERED_LENGTH = 160
_SECRETS: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"})
"""Never remembered: they are large, differ from client to client, and are nobody's business."""

_request_line = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/1\.([01])" % TOKEN).fullmatch
_other_version = re.compile(rb"%b [\x21-\x7e]+ HTTP/[0-9](?:\.[0-9])?" % TOKEN).fullmatch
_status_line = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?").fullmatch
_field_line = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*)" % TOKEN).fullmatch
_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?").fullmatch
_looks_like_a_method = re.compile(rb"(?:%b(?: [^\r\n\x00]*)?\r?)?" % TOKEN).fullmatch

_END_OF_TRAILERS: Final = re.compile(rb"(?:^|\r\n)\r\n").search
_CHUNK_SIZE, _CHUNK_END, _TRAILERS = -1, -2, -3
"""What the reader of a chunked body waits for, while it is not inside a chunk."""

_lines: dict[bytes, Field] = {}


def _field(line: bytes) -> Field:
    """Return the field a header line holds.

    Raises:
        RemoteProtocolError: it is none. That includes continued lines and a blank before the colon.
    """
    if known := _lines.get(line):
        return known
    found = _field_line(line)
    if not found:
        raise RemoteProtocolError("a header line is not `name: value`")
    name, value = found[1], found[2].rstrip(b" \t")
    read = field(name, value)
    if len(line) <= _REMEMBERED_LENGTH and read[0] not in _SECRETS:
        if len(_lines) >= _REMEMBERED_LINES:
            _lines.clear()  # somebody sends ever new lines; start again with the common ones
        _lines[line] = read
    return read


class _Reader:
    """What both directions share: the buffer, and the body that is being read."""

    def __init__(self, *, max_head_bytes: int, max_headers: int) -> None:
        self._max_head_bytes = max_head_bytes
        self._max_headers = max_headers
        self._buffer = b""
        self._ended = False
        self._body = NO_BODY
        self._in_chunk = _CHUNK_SIZE
        self.trailers: list[Field] = []
        """The fields behind the last chunk, once `next_body` said that the body ended."""

    def receive(self, data: bytes) -> None:
        """Take bytes as they came; empty means that the other side has ended."""
        if not data:
            self._ended = True
        elif self._buffer:
            self._buffer += data
        else:
            self._buffer = data

    @property
    def buffered(self) -> int:
        """How many bytes are here that nobody asked for yet."""
        return len(self._buffer)

    @property
    def body_ended(self) -> bool:
        """Whether the body of the last head was read to its end."""
        return self._body == NO_BODY

    def take_rest(self) -> bytes:
        """Return what came behind the head, for a connection that speaks something else from here on."""
        rest, self._buffer = self._buffer, b""
        return rest

    def _next_lines(self) -> list[bytes] | None:
        """Return the lines of the next head, or ``None`` when it has not come whole."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > self._max_head_bytes:
                raise RemoteProtocolError("head too large", status=431)
            return None
        if end > self._max_head_bytes:
            raise RemoteProtocolError("head too large", status=431)
        lines = self._buffer[:end].split(b"\r\n")
        self._buffer = self._buffer[end + 4 :]
        if len(lines) > self._max_headers + 1:
            raise RemoteProtocolError("too many header fields", status=431)
        return lines

    def _expect_body(self, body: int) -> None:
        self._body = body
        self._in_chunk = _CHUNK_SIZE
        if self.trailers:
            self.trailers = []

    def next_body(self) -> bytes | None:
        """Return the next piece of the body, ``b""`` at its end, or ``None`` when more must come.

        Raises:
            RemoteProtocolError: the chunks are malformed, or the other side ended too early.
        """
        if self._body == NO_BODY:
            return b""
        if self._body == CHUNKED:
            return self._next_of_chunked()
        if not self._buffer:
            if not self._ended:
                return None
            if self._body != UNTIL_CLOSE:
                raise RemoteProtocolError("the body is shorter than its Content-Length")
            self._body = NO_BODY
            return b""
        if self._body == UNTIL_CLOSE or len(self._buffer) <= self._body:
            data, self._buffer = self._buffer, b""
        else:
            data, self._buffer = self._buffer[: self._body], self._buffer[self._body :]
        if self._body != UNTIL_CLOSE:
            self._body -= len(data)
        return data

    def _next_of_chunked(self) -> bytes | None:
        """Return the data of all chunks that are here, joined: how they were cut means nothing."""
        pieces: list[bytes] = []
        buffer, at = self._buffer, 0
        while True:
            if self._in_chunk > 0:
                piece = buffer[at : at + self._in_chunk]
                if not piece:
                    break
                pieces.append(piece)
                at += len(piece)
                self._in_chunk = self._in_chunk - len(piece) or _CHUNK_END
            elif self._in_chunk == _CHUNK_END:
                if len(buffer) - at < 2:
                    break
                if buffer[at : at + 2] != b"\r\n":
                    raise RemoteProtocolError("a chunk is longer than it said")
                at += 2
                self._in_chunk = _CHUNK_SIZE
            elif self._in_chunk == _CHUNK_SIZE:
                end = buffer.find(b"\r\n", at)
                if end - at > _MAX_CHUNK_LINE or (end < 0 and len(buffer) - at > _MAX_CHUNK_LINE):
                    raise RemoteProtocolError("the line before a chunk is too long")
                if end < 0:
                    break
                size = _chunk_line(buffer, at, end)
                if not size:
                    raise RemoteProtocolError("a chunk has no size")
                at = end + 2
                self._in_chunk = int(size[1], 16) or _TRAILERS
            elif pieces or not self._read_trailers(buffer[at:]):
                break
            else:
                return b""
        self._buffer = buffer[at:]
        if pieces:
            return b"".join(pieces)
        if self._ended:
            raise RemoteProtocolError("the body ended before its last chunk")
        return None

    def _read_trailers(self, buffer: bytes) -> bool:
        """Take the fields behind the last chunk and the blank line, when they are here."""
        end = _END_OF_TRAILERS(buffer)
        if not end:
            if len(buffer) > _MAX_TRAILER_BYTES:
                raise RemoteProtocolError("trailers too large", status=431)
            return False
        lines = buffer[: end.start()].split(b"\r\n") if end.start() else []
        if end.start() > _MAX_TRAILER_BYTES or len(lines) > self._max_headers:
            raise RemoteProtocolError("trailers too large", status=431)
        self.trailers = [_field(line) for line in lines]
        self._buffer = buffer[end.end() :]
        self._body = NO_BODY
        return True


class RequestReader(_Reader):
    """The client's side of a connection: its requests, one after the other."""

    def next_head(self) -> Request | None:
        """Return the next request, or ``None`` when more bytes must come.

        Raises:
            RemoteProtocolError: with the status to answer before closing.
        """
        if self._buffer.startswith(b"\r\n"):
            self._buffer = self._buffer[2:]  # RFC 9112 §2.2: old clients send one behind a body
        lines = self._next_lines()
        if lines is None:
            self._refuse_early()
            return None
        line = _request_line(lines[0])
        if not line:
            version = _other_version(lines[0])
            raise RemoteProtocolError("not a request line", status=505 if version else 400)
        if len(lines[0]) > _MAX_REQUEST_LINE:
            raise RemoteProtocolError("request line too long", status=414)
        fields = [_lines.get(each) or _field(each) for each in lines[1:]]
        head = request(line[3][0] & 1, line[1], line[2], fields)
        self._expect_body(head.body)
        return head

    def _refuse_early(self) -> None:
        """Do not wait for the end of what cannot become a request, such as a TLS handshake."""
        first, newline, _ = self._buffer[: _MAX_REQUEST_LINE + 2].partition(b"\n")
        if not _looks_like_a_method(first) or (newline and not first.endswith(b"\r")):
            raise RemoteProtocolError("not a request line")
        if not newline and len(first) > _MAX_REQUEST_LINE:
            raise RemoteProtocolError("request line too long", status=414)


class ResponseReader(_Reader):
    """The backend's side of a connection: a response, and before it perhaps interim ones."""

    def next_head(self, method: bytes) -> Response | None:
        """Return the next response to a `method` request, or ``None`` when more bytes must come.

        Raises:
            RemoteProtocolError: it is no response whose end could be told.
        """
        lines = self._next_lines()
        if lines is None:
            return None
        line = _status_line(lines[0])
        if not line:
            raise RemoteProtocolError("not a status line")
        fields = [_lines.get(each) or _field(each) for each in lines[1:]]
        head = response(line[1][0] & 1, int(line[2]), line[3] or b"", fields, method=method)
        self._expect_body(head.body)
        return head


def write_request(method: bytes, target: bytes, lines: Iterable[bytes]) -> bytes:
    """Return the head of a request; `lines` are canonical field lines."""
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, b"".join(lines))


def write_response(status: int, reason: bytes, lines: Iterable[bytes]) -> bytes:
    """Return the head of a response; `lines` are canonical field lines."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, b"".join(lines))


def write_chunk(data: bytes) -> bytes:
    """Return one chunk; an empty one would end the body, so `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def write_last_chunk(trailers: Iterable[Field] = ()) -> bytes:
    """Return the end of a chunked body."""
    return b"0\r\n%b\r\n" % b"".join(line for _, _, line in trailers)
