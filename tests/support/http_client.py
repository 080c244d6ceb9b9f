"""A small HTTP/1.1 client over a dialled connection: what it returns is what was on the wire."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import trio

Dial = Callable[[], Awaitable[trio.SocketStream]]


def basic(password: str, user: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass(frozen=True)
class Response:
    """An answer; header names are lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    def json(self) -> Any:
        assert self.content_type == "application/json", self
        return json.loads(self.body)


class Exchange:
    """One request and its answer, piece by piece."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, *, early: bytes = b""
    ) -> None:
        """Send a request, and `early` right behind it."""
        sent = {"host": "controller.flynn.test", **headers}
        if body is not None and not any(name.lower() == "transfer-encoding" for name in sent):
            sent["content-length"] = str(len(body))
        request = h11.Request(method=method, target=path, headers=list(sent.items()))
        data = self.http.send(request)
        if body:
            data += self.http.send(h11.Data(data=body))
        await self.stream.send_all(data + self.http.send(h11.EndOfMessage()) + early)

    async def event(self) -> Any:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.stream.receive_some(65536))
        return event

    async def head(self) -> Response:
        event = await self.event()
        assert isinstance(event, h11.Response | h11.InformationalResponse), event
        headers = {name.decode(): value.decode() for name, value in event.headers}
        return Response(event.status_code, headers)

    async def piece(self) -> bytes:
        """Return the next piece of the body as it came; empty at its end."""
        match await self.event():
            case h11.Data(data=data):
                return bytes(data)
            case h11.EndOfMessage():
                return b""
            case other:
                raise AssertionError(other)

    async def body(self) -> bytes:
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)


class HTTPClient:
    """Asks one door, with one key, over connections it keeps alive.

    Args:
        key: password of every request; ``None`` sends no credentials.
    """

    def __init__(self, dial: Dial, *, key: str | None) -> None:
        self._dial = dial
        self._key = key
        self._idle: list[Exchange] = []

    def headers(self, headers: dict[str, str] | None) -> dict[str, str]:
        """Return what Flynn's client sends with every request, and `headers`."""
        own = {"authorization": basic(self._key)} if self._key is not None else {}
        return own | {"content-type": "application/json", "accept": "application/json"} | (headers or {})

    async def request(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> Response:
        """Send a request and return the whole answer. `body` is sent as JSON unless it is bytes."""
        exchange = self._idle.pop() if self._idle else Exchange(await self._dial())
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        await exchange.send(method, path, self.headers(headers), data)
        head = await exchange.head()
        response = Response(head.status, head.headers, await exchange.body())
        if exchange.http.our_state is h11.DONE and exchange.http.their_state is h11.DONE:
            exchange.http.start_next_cycle()
            self._idle.append(exchange)
        else:
            await exchange.stream.aclose()
        return response

    def close(self) -> None:
        """Hang up."""
        while self._idle:
            self._idle.pop().stream.socket.close()

    async def get(self, path: str, **options: Any) -> Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: object, **options: Any) -> Response:
        return await self.request("POST", path, body, **options)

    async def put(self, path: str, body: object, **options: Any) -> Response:
        return await self.request("PUT", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Response:
        return await self.request("DELETE", path, **options)

    @asynccontextmanager
    async def stream(
        self, path: str, *, accept: str = "text/event-stream", headers: dict[str, str] | None = None
    ) -> AsyncIterator["Streaming"]:
        """Have an answer without an end on a connection of its own; its head has been read."""
        exchange = Exchange(await self._dial())
        async with exchange.stream:
            await exchange.send("GET", path, self.headers({"accept": accept} | (headers or {})), None)
            yield Streaming(exchange, await exchange.head())


class Streaming:
    """An answer that is still coming."""

    def __init__(self, exchange: Exchange, head: Response) -> None:
        self._exchange = exchange
        self._early = b""
        self.head = head

    async def piece(self) -> bytes:
        early, self._early = self._early, b""
        return early or await self._exchange.piece()

    async def rest(self) -> bytes:
        early, self._early = self._early, b""
        return early + await self._exchange.body()

    async def event(self) -> Any:
        """Return the JSON of the next server-sent event; keep-alives must not come between."""
        piece = await self.piece()
        frame, _, self._early = piece.partition(b"\n\n")  # those that happened together may come together
        assert frame.startswith(b"data: "), piece
        assert frame.endswith(b"}"), piece
        return json.loads(frame[6:])
