"""A provider of resources over real sockets, as somebody might write one in an afternoon."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, urlsplit

import h11
import trio


@dataclass(frozen=True)
class Asked:
    """What came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def external_id(self) -> str:
        return parse_qs(urlsplit(self.target).query)["id"][0]


@dataclass
class FakeProvider:
    """Makes a resource for each POST and removes one for each DELETE.

    Attributes:
        before: awaited before each answer.
        says: bytes to say instead of a proper answer.
        status: of answers that are not to be 200.
    """

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    resources: dict[str, bytes] = field(default_factory=dict)
    before: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    says: bytes | None = None
    status: int = 200
    body: bytes | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    external_id: str | None = None
    env: dict[str, str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/things"

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Answer one request."""
        async with stream:
            http = h11.Connection(h11.SERVER)
            events: list[object] = []
            while not events or not isinstance(events[-1], h11.EndOfMessage):
                try:
                    event = http.next_event()
                    if event is h11.NEED_DATA:
                        http.receive_data(bytes(await stream.receive_some(65536)))
                        continue
                except (trio.BrokenResourceError, h11.RemoteProtocolError):
                    return
                events.append(event)
                if isinstance(event, h11.ConnectionClosed):
                    return
            head = events[0]
            assert isinstance(head, h11.Request)
            body = b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))
            headers = {name.decode(): value.decode() for name, value in head.headers}
            asked = Asked(head.method.decode(), head.target.decode(), headers, body)
            self.asked.append(asked)
            await self.before()
            answer = self._answer(asked)
            try:
                await stream.send_all(answer if self.says is None else self.says)
            except trio.BrokenResourceError:
                return

    def _answer(self, asked: Asked) -> bytes:
        said = b""
        if self.status == 200 and asked.method == "POST":
            made = self.external_id or f"/things/{len(self.asked)}"
            self.resources[made] = asked.body
            said = json.dumps({"id": made, "env": self.env or {"THING_URL": f"thing://{made}"}}).encode()
        elif self.status == 200 and self.resources.pop(asked.external_id, None) is None:
            return self._framed(404, b"")
        return self._framed(self.status, said if self.body is None else self.body)

    def _framed(self, status: int, body: bytes) -> bytes:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *(": ".join(h) for h in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def running_provider(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeProvider]:
    """Have a provider on a loopback port while the block runs."""
    provider = FakeProvider()

    async def handle(stream: trio.SocketStream) -> None:
        await provider.serve(stream if tls is None else trio.SSLStream(stream, tls, server_side=True))

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        provider.port = listener.socket.getsockname()[1]
        yield provider
        nursery.cancel_scope.cancel()
