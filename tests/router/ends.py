"""Both ends of the router, in h11: a client that asks, and a backend that records and answers."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import h11
import trio

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@dataclass
class Answer:
    """A response as h11 understood it."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    interim: list[int] = field(default_factory=list)
    trailers: dict[bytes, bytes] = field(default_factory=dict)


def http(target: bytes = b"/", *lines: bytes, host: bytes = b"hello.flynn.test", method: bytes = b"GET") -> bytes:
    """Return a request without body."""
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: " + host, *lines, b"", b""])


async def ask(stream: Stream, request: bytes) -> Answer:
    """Send a request as it is and read the answer to its end.

    Raises:
        h11.RemoteProtocolError: the answer broke off.
    """
    await stream.send_all(request)
    return await read_answer(stream, method=request.split(b" ")[0])


async def read_answer(stream: Stream, *, method: bytes = b"GET") -> Answer:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    answer = Answer(0, {}, b"")
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(65536))
        elif isinstance(event, h11.InformationalResponse):
            answer.interim.append(event.status_code)
        elif isinstance(event, h11.Response):
            answer.status, answer.headers = event.status_code, dict(event.headers)
        elif isinstance(event, h11.Data):
            answer.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            answer.trailers = dict(event.headers)
            return answer
        else:
            raise AssertionError(event)


@dataclass
class Seen:
    """A request as a backend saw it; names in the case they came in."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)


Reply = Callable[[Seen], tuple[int, list[tuple[bytes, bytes]], bytes]]


def hello(_: Seen) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return 200, [(b"Content-Length", b"6")], b"hello\n"


def says(text: bytes) -> Reply:
    return lambda _: (200, [(b"Content-Length", b"%d" % len(text))], text)


class Recorder:
    """A backend in h11 that answers what `reply` says and remembers what it was asked."""

    def __init__(self, reply: Reply = hello, *, close_silently: bool = False) -> None:
        self.reply = reply
        self.close_silently = close_silently
        self.seen: list[Seen] = []

    async def __call__(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(h11.RemoteProtocolError):
            await self._serve(stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Request):
                now = Seen(event.method, event.target, list(event.headers.raw_items()))
            elif isinstance(event, h11.Data):
                now.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self.seen.append(now)
                status, headers, body = self.reply(now)
                data = connection.send(h11.Response(status_code=status, headers=headers))
                if body and now.method != b"HEAD":
                    data += connection.send(h11.Data(data=body))
                await stream.send_all(data + connection.send(h11.EndOfMessage()))
                if self.close_silently or connection.our_state is not h11.DONE:
                    return
                connection.start_next_cycle()
            else:
                return


async def answering(stream: trio.SocketStream, *pieces: bytes) -> None:
    """Read one head, then send these bytes as they are."""
    got = b""
    while b"\r\n\r\n" not in got:
        data = await stream.receive_some()
        if not data:
            return
        got += data
    for piece in pieces:
        await stream.send_all(piece)


async def read_all(stream: Stream) -> bytes:
    """Read until the other side ends or breaks off."""
    got = b""
    try:
        while data := await stream.receive_some():
            got += data
    except trio.BrokenResourceError:
        pass
    return got
