"""HTTP/2 from the server's end: bytes to requests, and answers to bytes. Pure.

The `h2` library keeps the state of streams and windows; what a head means is judged by `framing`,
as for HTTP/1, with the library's own validation switched off. This module adds what makes it safe
to stand in the open: a budget for frames that cost us work and the sender nothing.

Flow control is returned only by `acknowledge`, for what the backend has taken.

Sources: RFC 9113; RFC 7540 §10.5; CVE-2019-9512, -9515, -9518 and CVE-2023-44487 (floods, rapid reset).
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    UnknownFrameReceived,
    WindowUpdated,
)
from h2.exceptions import DenialOfServiceError, H2Error, ProtocolError
from h2.settings import SettingCodes

from .framing import CHUNKED, HTTP_2, NO_BODY, Field, RemoteProtocolError, Request, checked_field, request

CONNECTION_WINDOW = 1024 * 1024
"""Bytes all request bodies of a connection may have under way: more than one stream's 64 KiB, so that
an upload to a slow backend does not stop the others."""
FRAME_BYTES = 16 * 1024
BUDGET = 200.0
"""Frames that cost only us: pings, settings, resets, priorities, empty data. A browser that leaves a page
cancels a hundred streams at once; nobody honest does so all the time."""
BUDGET_PER_S = 20.0

_GOAWAY = struct.Struct(">HBBBLLL")
_REQUIRED = (b":method", b":scheme", b":path")
_PSEUDO = frozenset({*_REQUIRED, b":authority"})
_SCHEMES = frozenset({b"http", b"https"})


class RequestBegan(NamedTuple):
    """A request's head has come; `ended` when it has no body."""

    stream: int
    head: Request
    ended: bool


class RequestRefused(NamedTuple):
    """A request that will not be served, with the status to answer."""

    stream: int
    status: int


class BodyReceived(NamedTuple):
    """A piece of a request's body; `cost` is what to `acknowledge` once it was taken."""

    stream: int
    data: bytes
    cost: int


class RequestEnded(NamedTuple):
    """The body of a request is complete."""

    stream: int
    trailers: list[Field]


class RequestCancelled(NamedTuple):
    """The client no longer wants an answer."""

    stream: int


class WindowOpened(NamedTuple):
    """More may be sent, on one stream or, with 0, perhaps on all."""

    stream: int


class ClientEnded(NamedTuple):
    """The client says that it will make no further requests."""


Event = RequestBegan | RequestRefused | BodyReceived | RequestEnded | RequestCancelled | WindowOpened | ClientEnded


class Http2Connection:
    """One HTTP/2 connection, without streams or clock.

    Args:
        now: the moment it began, in seconds; only differences count.
    """

    def __init__(self, *, max_streams: int, max_head_bytes: int, max_headers: int, now: float) -> None:
        self._max_headers = max_headers
        self._h2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings.max_concurrent_streams = max_streams
        self._h2.local_settings[SettingCodes.MAX_HEADER_LIST_SIZE] = max_head_bytes
        self._h2.local_settings.acknowledge()
        self._h2.decoder.max_header_list_size = max_head_bytes
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self._budget = BUDGET
        self._budget_at = now
        self._highest = 0
        self._last_accepted: int | None = None
        self._farewell = b""

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes as they came and return what they mean, in order.

        Raises:
            RemoteProtocolError: the connection is over; what `take` returns says why to the client.
        """
        try:
            happened = self._h2.receive_data(data)
        except DenialOfServiceError as exc:
            raise RemoteProtocolError(str(exc) or "header list too large", status=431) from exc
        except (H2Error, ValueError, KeyError, IndexError) as exc:  # the last three: frames the library trips over
            self._end(ErrorCodes.PROTOCOL_ERROR if not isinstance(exc, ProtocolError) else None)
            raise RemoteProtocolError(str(exc) or type(exc).__name__) from exc
        events: list[Event] = []
        for event in happened:
            self._translate(event, events, now)
        return events

    def _translate(self, event: object, events: list[Event], now: float) -> None:
        match event:
            case RequestReceived(stream_id=int(stream), headers=headers):
                ended = event.stream_ended is not None
                self._highest = max(self._highest, stream)
                if self._last_accepted is not None and stream > self._last_accepted:
                    self.reset(stream, ErrorCodes.REFUSED_STREAM)
                    return
                try:
                    head = self._head(list(headers or ()), ended=ended)
                except RemoteProtocolError as exc:
                    if exc.status == 400:
                        self.reset(stream, ErrorCodes.PROTOCOL_ERROR)  # RFC 9113 §8.1.1
                    else:
                        events.append(RequestRefused(stream, exc.status))
                else:
                    events.append(RequestBegan(stream, head, ended))
            case DataReceived(stream_id=int(stream), data=data):
                cost = event.flow_controlled_length or 0
                if data:
                    events.append(BodyReceived(stream, data, cost))
                else:
                    if event.stream_ended is None:
                        self._spend(now)
                    if cost:
                        self.acknowledge(stream, cost)  # nothing but padding
            case TrailersReceived(stream_id=int(stream), headers=headers):
                try:
                    trailers = [_field(name, value) for name, value in headers or ()]
                except RemoteProtocolError:
                    self.reset(stream, ErrorCodes.PROTOCOL_ERROR)
                    events.append(RequestCancelled(stream))
                else:
                    events.append(RequestEnded(stream, trailers))
            case StreamEnded(stream_id=int(stream)):
                events.append(RequestEnded(stream, []))
            case StreamReset(stream_id=int(stream)):
                self._spend(now)
                events.append(RequestCancelled(stream))
            case WindowUpdated():
                events.append(WindowOpened(event.stream_id or 0))
            case RemoteSettingsChanged():
                self._spend(now)
                events.append(WindowOpened(0))
            case PingReceived() | PriorityUpdated() | UnknownFrameReceived():
                self._spend(now)
            case ConnectionTerminated():
                events.append(ClientEnded())

    def _spend(self, now: float) -> None:
        """Pay for a frame that made work for us alone."""
        self._budget = min(BUDGET, self._budget + (now - self._budget_at) * BUDGET_PER_S) - 1
        self._budget_at = now
        if self._budget < 0:
            self._end(ErrorCodes.ENHANCE_YOUR_CALM)
            raise RemoteProtocolError("too many frames that do nothing", status=429)

    def _head(self, headers: list[tuple[bytes, bytes]], *, ended: bool) -> Request:
        """Return the request a header block makes. RFC 9113 §8.2, §8.3."""
        if len(headers) > self._max_headers + len(_PSEUDO):
            raise RemoteProtocolError("too many header fields", status=431)
        pseudo: dict[bytes, bytes] = {}
        fields: list[Field] = []
        cookies: list[bytes] = []
        for name, value in headers:
            if name[:1] == b":":
                if fields or cookies or name in pseudo or name not in _PSEUDO:
                    raise RemoteProtocolError("a pseudo-header that is late, repeated or unknown")
                pseudo[name] = value
            elif name == b"cookie":
                cookies.append(_field(name, value)[1])
            else:
                fields.append(_field(name, value))
        if cookies:
            fields.append(checked_field(b"cookie", b"; ".join(cookies)))  # RFC 9113 §8.2.3
        if pseudo.get(b":method") == b"CONNECT":
            raise RemoteProtocolError("we are no forward proxy", status=405)
        if not all(pseudo.get(name) for name in _REQUIRED) or pseudo[b":scheme"] not in _SCHEMES:
            raise RemoteProtocolError("a pseudo-header is missing")
        authority = pseudo.get(b":authority")
        hosts = [value for name, value, _ in fields if name == b"host"]
        if authority is None and not hosts:
            raise RemoteProtocolError("no :authority")
        if authority is not None and any(host.lower() != authority.lower() for host in hosts):
            raise RemoteProtocolError("Host is not :authority")
        if len(hosts) > 1:
            raise RemoteProtocolError("more than one Host")
        kept = [each for each in fields if each[0] != b"host"]
        host = authority if authority is not None else hosts[0]
        path = pseudo[b":path"]
        if path[0] != 0x2F and not (path == b"*" and pseudo[b":method"] == b"OPTIONS"):
            raise RemoteProtocolError(":path is no path")
        head = request(HTTP_2, pseudo[b":method"], path, [checked_field(b"host", host), *kept])
        body = NO_BODY if ended else head.body
        if not ended and not any(name == b"content-length" for name, _, _ in kept):
            body = CHUNKED
        if ended and head.body != NO_BODY:
            raise RemoteProtocolError("a length, and no body")
        return head._replace(fields=kept, body=body)

    def window(self, stream: int) -> int:
        """How many bytes of body may be sent now; 0 for a stream that never was."""
        try:
            return max(0, self._h2.local_flow_control_window(stream))
        except H2Error:
            return 0

    def send_head(self, stream: int, status: int, fields: list[Field], *, end: bool) -> None:
        """Begin an answer, or send an interim one.

        Raises:
            RemoteProtocolError: the stream is gone.
        """
        headers = [(b":status", b"%d" % status)]
        headers += [(name, value) for name, value, _ in fields]
        self._send(lambda: self._h2.send_headers(stream, headers, end_stream=end))

    def send_data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send a piece that fits into `window` and `FRAME_BYTES`."""
        self._send(lambda: self._h2.send_data(stream, data, end_stream=end))

    def send_end(self, stream: int, trailers: list[Field]) -> None:
        """End an answer."""
        if trailers:
            headers = [(name, value) for name, value, _ in trailers]
            self._send(lambda: self._h2.send_headers(stream, headers, end_stream=True))
        else:
            self._send(lambda: self._h2.end_stream(stream))

    def _send(self, call: Callable[[], None]) -> None:
        try:
            call()
        except H2Error as exc:
            raise RemoteProtocolError("the stream is gone") from exc

    def reset(self, stream: int, code: ErrorCodes) -> None:
        """End a stream abruptly; nothing happens if it is gone."""
        try:
            self._h2.reset_stream(stream, code)
        except H2Error:
            return

    def acknowledge(self, stream: int, cost: int) -> None:
        """Return flow control for what was taken. For a stream that is gone only the connection's."""
        try:
            self._h2.acknowledge_received_data(cost, stream)
        except H2Error:
            return

    def go_away(self) -> None:
        """Say that requests already begun are served, and no others. The library's own way ends everything at once."""
        if self._last_accepted is None:
            self._last_accepted = self._highest
            self._farewell = _goaway(self._highest, ErrorCodes.NO_ERROR)

    def _end(self, code: ErrorCodes | None) -> None:
        if code is not None:
            self._farewell = _goaway(self._highest, code)

    def take(self) -> bytes:
        """Return what is to be sent now."""
        data = self._h2.data_to_send()
        if self._farewell:
            data, self._farewell = data + self._farewell, b""
        return data


def _field(name: bytes, value: bytes) -> Field:
    """Return a field of HTTP/2: lower case, without blanks around its value. RFC 9113 §8.2.1."""
    if name != name.lower() or value != value.strip(b" \t"):
        raise RemoteProtocolError("a field that is not in lower case, or has blanks around its value")
    if name == b"te" and value.lower() != b"trailers":
        raise RemoteProtocolError("TE other than trailers")
    return checked_field(name, value)


def _goaway(last: int, code: ErrorCodes) -> bytes:
    """Return a GOAWAY frame: length 8, type 7, on stream 0. RFC 9113 §6.8."""
    return _GOAWAY.pack(0, 8, 7, 0, 0, last, code)
