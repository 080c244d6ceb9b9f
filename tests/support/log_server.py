"""A syslog server on loopback, kind or hostile, and who knows of sinks."""

import re
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from flynn_aio.model import JobFacts, Sink, SinkID, Time, full_job_id
from flynn_aio.watch import Watch

_FRAME = re.compile(rb"(\d+) ")


def unframed(data: bytes) -> list[bytes]:
    """Return the messages in what came, counted in octets; one that is cut off is left out."""
    messages = []
    while found := _FRAME.match(data):
        end = found.end() + int(found[1])
        if len(data) < end:
            break
        messages.append(data[found.end() : end])
        data = data[end:]
    return messages


def text_of(message: bytes) -> str:
    """Return the text of a message without structured data."""
    return message.split(b" ", 7)[7].decode()


@dataclass
class LogServer:
    """What a server has got, a piece per connection."""

    port: int = 0
    host: str = "127.0.0.1"
    got: list[bytearray] = field(default_factory=list)
    came: trio.Event = field(default_factory=trio.Event)

    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    _whole: int = 0

    def connected(self) -> None:
        self.got.append(bytearray())
        self._whole = 0

    @property
    def texts(self) -> list[str]:
        return [text_of(message) for message in self.messages]

    def note(self, data: bytes) -> None:
        self.got[-1] += data
        new = unframed(bytes(self.got[-1][self._whole :]))
        self._whole += sum(len(message) + len(str(len(message))) + 1 for message in new)
        self.messages += new
        self.came.set()
        self.came = trio.Event()

    async def has(self, *texts: str, within_s: float = 8) -> None:
        """Wait until the newest messages are these, in this order."""
        try:
            with trio.fail_after(within_s):
                while [text_of(one) for one in self.messages[-len(texts) :]] != list(texts):
                    await self.came.wait()
        except trio.TooSlowError:
            raise AssertionError(f"it has only {len(self.texts)}: … {self.texts[-3:]}") from None


async def read_all(server: LogServer, stream: trio.abc.Stream) -> None:
    async for data in stream:
        server.note(data)


@asynccontextmanager
async def log_server(serve=read_all, *, tls: ssl.SSLContext | None = None, port: int = 0):
    """Run a server; `serve` is given it and each connection."""
    server = LogServer()

    async def handle(stream: trio.SocketStream) -> None:
        server.connected()
        async with trio.SSLStream(stream, tls, server_side=True) if tls else stream as ready:
            server.connections += 1
            try:
                await serve(server, ready)
            except trio.BrokenResourceError:
                return
            finally:
                server.connections -= 1

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(port, host=server.host)
        server.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield server
        nursery.cancel_scope.cancel()
        await listener.aclose()


class Known:
    """A `SinkSource` that a test writes."""

    def __init__(self, clock) -> None:
        self.changes = Watch(0)
        self._clock = clock
        self._sinks: dict[SinkID, Sink] = {}

    def add(self, url: str, name: str = "one", **config) -> SinkID:
        sink_id = SinkID(name)
        made = self._clock.now()
        self._sinks[sink_id] = Sink(
            id=sink_id, kind="syslog", config={"url": url} | config, created_at=made, updated_at=made
        )
        self.changes.set(self.changes.value + 1)
        return sink_id

    def remove(self, sink_id: SinkID) -> None:
        del self._sinks[sink_id]
        self.changes.set(self.changes.value + 1)

    async def sinks(self) -> list[Sink]:
        await trio.lowlevel.checkpoint()
        return list(self._sinks.values())

    async def describe(self, app, job) -> JobFacts:
        await trio.lowlevel.checkpoint()
        return JobFacts(id=full_job_id(job), app_name="shop", metadata={"made": str(Time.utcnow())})
