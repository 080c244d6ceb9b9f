"""Client: one request to Podman's API over its Unix socket, as ordinary Trio code.

Only this module speaks HTTP with Podman. podman-py cannot carry these calls: it blocks a thread that
nobody can cancel, its one timeout belongs to the client and not to the call, it has no attach and no
import, and with requests it costs 9 MB resident, 2 ms and twice the CPU per call (`findings.md` §1,
§3, §8). What it serves well is in `images.py`.

A connection per call: on a Unix socket that costs less than deciding whether an old one still lives.
"""

from collections.abc import AsyncIterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import h11
import msgspec
import trio

from ..errors import EngineError

API = "/v4.0.0/libpod"
"""The path of the oldest API we speak, so that a newer Podman answers in that form."""

RECEIVE_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024


class Disconnected(EngineError):
    """Nobody listens on the socket, or the connection ended before the answer did."""


class Refused(EngineError):
    """Podman answered with an error.

    Attributes:
        status: the HTTP status.
        reason: Podman's own sentence.
    """

    def __init__(self, message: str, *, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class BareStream:
    """A stream after its upgrade, and what came of it together with the answer."""

    stream: trio.SocketStream
    first: bytes


class _ErrorBody(msgspec.Struct):
    cause: str = ""
    message: str = ""


class Client:
    """Podman's API at one socket. It holds nothing open between calls."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def call(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        query: Mapping[str, object] | None = None,
        json: object | None = None,
        body: AsyncIterable[bytes] | None = None,
    ) -> Response:
        """Send one request and return its whole answer.

        Args:
            doing: what it is for, as it continues "cannot …" in an error message.
            json: a value to send as the body.
            body: a stream to send as the body, chunked.

        Raises:
            Refused: an answer of 400 or more.
            Disconnected: no answer.

        Cancellation: Podman may have done it, or still be doing it.
        """
        wire = await self._connect(doing)
        async with wire.stream:
            with _translated(doing):
                if body is not None:
                    await wire.send_streamed(method, _target(path, query), body)
                else:
                    await wire.send(method, _target(path, query), json)
                answer = await wire.answer()
        if answer.status >= 400:
            raise _refusal(answer, doing)
        return answer

    async def upgrade(self, path: str, *, doing: str, query: Mapping[str, object] | None = None) -> BareStream:
        """Ask for the bare stream behind an upgrade.

        Raises: as `call`.
        """
        wire = await self._connect(doing)
        try:
            with _translated(doing):
                rest = await wire.upgrade(_target(path, query))
            if isinstance(rest, Response):
                raise _refusal(rest, doing)
        except BaseException:
            await trio.aclose_forcefully(wire.stream)
            raise
        return BareStream(wire.stream, rest)

    async def _connect(self, doing: str) -> "_Wire":
        try:
            stream = await trio.open_unix_socket(str(self._socket))
        except OSError as exc:
            raise Disconnected(f"cannot {doing}: Podman's service does not listen at {self._socket} ({exc})") from exc
        return _Wire(stream)


class _Wire:
    """One connection and the one exchange on it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)

    async def send(self, method: str, target: str, json: object | None) -> None:
        content = b"" if json is None else msgspec.json.encode(json)
        headers = [("Host", "podman"), ("Connection", "close"), ("Content-Length", str(len(content)))]
        if content:
            headers.append(("Content-Type", "application/json"))
        request = h11.Request(method=method, target=target, headers=headers)
        await self._send_events(request, *([h11.Data(data=content)] if content else []), h11.EndOfMessage())

    async def send_streamed(self, method: str, target: str, body: AsyncIterable[bytes]) -> None:
        headers = [("Host", "podman"), ("Connection", "close"), ("Transfer-Encoding", "chunked")]
        headers.append(("Content-Type", "application/x-tar"))
        await self._send_events(h11.Request(method=method, target=target, headers=headers))
        async for piece in body:
            await self._send_events(h11.Data(data=piece))
        await self._send_events(h11.EndOfMessage())

    async def upgrade(self, target: str) -> bytes | Response:
        """Return the first bytes behind the upgrade, or the answer that refuses it."""
        headers = [("Host", "podman"), ("Connection", "Upgrade"), ("Upgrade", "tcp"), ("Content-Length", "0")]
        await self._send_events(h11.Request(method="POST", target=target, headers=headers), h11.EndOfMessage())
        event = await self._next_event()
        if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            return self._connection.trailing_data[0]
        return await self._answer(event)

    async def answer(self) -> Response:
        return await self._answer(await self._next_event())

    async def _answer(self, event: h11.Event | type[h11.PAUSED]) -> Response:
        while isinstance(event, h11.InformationalResponse):
            event = await self._next_event()
        if not isinstance(event, h11.Response):
            raise trio.BrokenResourceError("closed before the answer")
        headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        pieces: list[bytes] = []
        while isinstance(piece := await self._next_event(), h11.Data):
            pieces.append(bytes(piece.data))
        return Response(event.status_code, headers, b"".join(pieces))

    async def _send_events(self, *events: h11.Event) -> None:
        await self.stream.send_all(b"".join(self._connection.send(event) or b"" for event in events))

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._connection.next_event()
            if event is h11.PAUSED or isinstance(event, h11.Event):
                return event
            self._connection.receive_data(await self.stream.receive_some(RECEIVE_BYTES))


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except (trio.BrokenResourceError, h11.RemoteProtocolError) as exc:
        raise Disconnected(f"cannot {doing}: Podman's service ended the connection") from exc


def _target(path: str, query: Mapping[str, object] | None) -> str:
    words = {key: str(value).lower() if isinstance(value, bool) else value for key, value in (query or {}).items()}
    return f"{API}/{path}" + (f"?{urlencode(words)}" if words else "")


def _refusal(answer: Response, doing: str) -> Refused:
    try:
        reason = msgspec.json.decode(answer.body, type=_ErrorBody).message
    except msgspec.MsgspecError:
        reason = answer.body.decode(errors="replace").strip()
    return Refused(f"cannot {doing}: {reason or answer.status}", status=answer.status, reason=reason)


async def file_pieces(path: Path) -> AsyncIterable[bytes]:
    """Yield a file's bytes in pieces; use it as the `body` of a call."""
    async with await trio.open_file(path, "rb") as file:
        while piece := await file.read(RECEIVE_BYTES * 4):
            yield piece
