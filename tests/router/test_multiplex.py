"""HTTP/2 through the whole router, over TLS on loopback."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from trio.testing import wait_all_tasks_blocked

from flynn_aio.model import Certificate
from tests.support.certs import Authority

from .conftest import House, OpenHouse, tls_stream
from .ends import Recorder, answering, says
from .test_forward import refused_addr


class Browser:
    """An HTTP/2 client that waits for events."""

    def __init__(self, stream: trio.SSLStream) -> None:
        self.stream = stream
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events: list[Event] = []
        self.reads = True

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def start(
        self, path: str = "/", *, method: str = "GET", host: str = "hello.flynn.test", end: bool = True
    ) -> int:
        number = self.h2.get_next_available_stream_id()
        headers = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path)]
        self.h2.send_headers(number, headers, end_stream=end)
        await self.flush()
        return number

    async def receive(self) -> bool:
        """Read once; false at the end."""
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            return False
        if not data:
            return False
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, DataReceived) and self.reads and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        await self.flush()
        return True

    async def answer(self, number: int) -> tuple[int, bytes]:
        """Return status and body of a stream; status 0 when it was reset."""
        while not self.ended(number):
            if not await self.receive():
                raise EOFError
        status = 0
        for event in self.of(number, ResponseReceived):
            status = int(dict(event.headers)[":status"])
        if self.of(number, StreamReset) and not self.of(number, StreamEnded):
            status = 0
        return status, b"".join(event.data for event in self.of(number, DataReceived))

    def ended(self, number: int) -> bool:
        return bool(self.of(number, StreamEnded) or self.of(number, StreamReset))

    def of(self, number: int, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind) and event.stream_id == number]

    async def until(self, kind: type) -> Event:
        while True:
            for event in self.events:
                if isinstance(event, kind):
                    return event
            assert await self.receive()


@asynccontextmanager
async def browsing(house: House, authority: Authority, host: str = "hello.flynn.test") -> AsyncIterator[Browser]:
    context = ssl.create_default_context(cadata=authority.pem)
    context.set_alpn_protocols(["h2"])
    async with tls_stream(house, context, host) as stream:
        assert stream.selected_alpn_protocol() == "h2"
        browser = Browser(stream)
        await browser.flush()
        yield browser


async def test_requests_are_answered_side_by_side(house: House, authority: Authority):
    backend = Recorder(lambda seen: (200, [(b"Content-Length", b"%d" % len(seen.target))], seen.target))
    await house.backends.start(backend)
    async with browsing(house, authority) as browser:
        numbers = [await browser.start(f"/{n}") for n in range(20)]
        for n, number in enumerate(numbers):
            assert await browser.answer(number) == (200, b"/%d" % n)
    assert backend.seen[0].header(b"Host") == b"hello.flynn.test"
    assert backend.seen[0].header(b"X-Forwarded-Proto") == b"https"


async def test_the_routers_own_pages_are_served(house: House, authority: Authority):
    async with browsing(house, authority) as browser:
        assert await browser.answer(await browser.start()) == (503, b"Service Unavailable\n")
        assert await browser.answer(await browser.start(host="nobody.example")) == (404, b"Not Found\n")
        assert await browser.answer(await browser.start(method="HEAD", host="nobody.example")) == (404, b"")


async def test_a_route_certificate_is_presented(house: House, authority: Authority):  # TestAddHTTPRouteWithCert
    leaf = authority.leaf("own.example")
    await house.route("own.example", certificate=Certificate(cert=leaf.cert, key=leaf.key))
    await house.backends.start(Recorder())
    async with browsing(house, authority, "own.example") as browser:
        assert await browser.answer(await browser.start(host="own.example")) == (200, b"hello\n")


@pytest.mark.parametrize("size", [0, 10, 300_000])
async def test_a_body_arrives_whole_after_refused_dials(house: House, authority: Authority, size):
    backend = Recorder(lambda seen: (200, [(b"Content-Length", b"%d" % len(seen.body))], seen.body))
    await house.backends.start(backend)
    for _ in range(3):
        house.backends.register(await refused_addr())
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    async with browsing(house, authority) as browser:
        number = await browser.start(method="POST", end=False)
        at = 0
        while at < size:
            room = min(browser.h2.local_flow_control_window(number), 16384, size - at)
            if not room:
                await browser.receive()
                continue
            browser.h2.send_data(number, body[at : at + room])
            at += room
            await browser.flush()
        browser.h2.send_data(number, b"", end_stream=True)
        await browser.flush()
        assert await browser.answer(number) == (200, body)


@pytest.mark.parametrize("body", [b"", b"hello"])
async def test_a_body_that_comes_with_its_head_has_a_length(house: House, authority: Authority, body):
    backend = Recorder()
    await house.backends.start(backend)
    async with browsing(house, authority) as browser:
        headers = [(":method", "POST"), (":scheme", "https"), (":authority", "hello.flynn.test"), (":path", "/")]
        browser.h2.send_headers(1, headers)
        browser.h2.send_data(1, body, end_stream=True)
        await browser.flush()
        assert await browser.answer(1) == (200, b"hello\n")
    [seen] = backend.seen
    assert (seen.body, seen.header(b"Content-Length")) == (body, b"%d" % len(body))
    assert seen.header(b"Transfer-Encoding") is None


async def test_an_answer_streams_with_interim_ones_and_trailers(house: House, authority: Authority):
    more = trio.Event()

    async def backend(stream: trio.SocketStream) -> None:
        await answering(
            stream,
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        )
        await more.wait()
        await stream.send_all(b"3\r\ntwo\r\n0\r\nX-Sum: 9\r\n\r\n")

    await house.backends.start(backend)
    async with browsing(house, authority) as browser:
        number = await browser.start()
        await browser.until(DataReceived)
        assert browser.of(number, InformationalResponseReceived)
        more.set()
        assert await browser.answer(number) == (200, b"onetwo")
        [trailers] = browser.of(number, TrailersReceived)
        assert trailers.headers == [("x-sum", "9")]


async def test_a_stream_nobody_reads_stops_its_backend_only(house: House, authority: Authority):
    sent = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal sent
        await answering(stream, b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(bytes(65536))
            sent += 65536

    await house.route("flood.flynn.test", "flood-web")
    await house.backends.start(flood, service="flood-web")
    await house.backends.start(Recorder(says(b"x" * 10_000)))
    async with browsing(house, authority) as browser:
        browser.reads = False
        browser.h2.increment_flow_control_window(1_000_000)  # the connection's: only the stream is full
        await browser.start(host="flood.flynn.test")
        await wait_all_tasks_blocked(0.05)
        assert sent < 16 * 1024 * 1024
        assert await browser.answer(await browser.start()) == (200, b"x" * 10_000)


async def test_an_upload_nobody_takes_does_not_pile_up(house: House, authority: Authority):
    async def lazy(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    await house.backends.start(lazy)
    async with browsing(house, authority) as browser:
        number = await browser.start(method="POST", end=False)
        total = 0
        with trio.move_on_after(0.3):
            while True:
                room = min(browser.h2.local_flow_control_window(number), 16384)
                if room:
                    browser.h2.send_data(number, bytes(room))
                    total += room
                    await browser.flush()
                else:
                    await browser.receive()
        assert total < 16 * 1024 * 1024


async def test_a_cancelled_request_is_cancelled_at_the_backend(house: House, authority: Authority):
    left = trio.Event()

    async def wait(stream: trio.SocketStream) -> None:
        await answering(stream)
        assert await stream.receive_some() == b""
        left.set()

    await house.backends.start(wait)
    async with browsing(house, authority) as browser:
        number = await browser.start()
        await wait_all_tasks_blocked(0.02)
        browser.h2.reset_stream(number, ErrorCodes.CANCEL)
        await browser.flush()
        with trio.fail_after(2):
            await left.wait()
        left = trio.Event()
        await browser.start()
        await wait_all_tasks_blocked(0.02)
    with trio.fail_after(2):  # and so are all, when the connection ends
        await left.wait()


async def test_an_answer_that_breaks_off_is_reset(house: House, authority: Authority):
    async def liar(stream: trio.SocketStream) -> None:
        await answering(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")

    await house.backends.start(liar)
    async with browsing(house, authority) as browser:
        number = await browser.start()
        assert await browser.answer(number) == (0, b"abc")
        assert browser.of(number, StreamReset)[0].error_code == ErrorCodes.INTERNAL_ERROR


async def test_an_answer_before_the_end_of_the_request_stops_the_rest(house: House, authority: Authority):
    async def early(stream: trio.SocketStream) -> None:
        await answering(stream, b"HTTP/1.1 413 Big\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")

    await house.backends.start(early)
    async with browsing(house, authority) as browser:
        number = await browser.start(method="POST", end=False)
        assert await browser.answer(number) == (413, b"big")
        while not browser.of(number, StreamReset):
            assert await browser.receive()
        assert browser.of(number, StreamReset)[0].error_code == ErrorCodes.NO_ERROR


async def test_draining_says_goodbye_and_lets_a_request_finish(open_house: OpenHouse, authority: Authority):
    go_on = trio.Event()

    async def slow(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await go_on.wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    async with trio.open_nursery() as nursery:
        async with open_house() as house:
            await house.backends.start(slow)
            context = ssl.create_default_context(cadata=authority.pem)
            context.set_alpn_protocols(["h2"])
            plain = await trio.open_tcp_stream("127.0.0.1", house.front.https_port)
            stream = trio.SSLStream(plain, context, server_hostname="hello.flynn.test", https_compatible=True)
            await stream.do_handshake()
            raw = b""
            browser = Browser(stream)
            await browser.flush()
            await browser.start()
            await wait_all_tasks_blocked(0.02)

            async def read() -> None:
                nonlocal raw
                while data := await stream.receive_some(65536):
                    raw += data
                    if GOODBYE in raw:
                        go_on.set()

            nursery.start_soon(read)
        assert b"done" in raw
    await stream.aclose()


GOODBYE = bytes.fromhex("000008 07 00 00000000 00000001 00000000")


async def test_a_flood_ends_the_connection_with_a_reason(house: House, authority: Authority):
    async with browsing(house, authority) as browser:
        for n in range(500):
            browser.h2.ping(n.to_bytes(8, "big"))
        await browser.flush()
        end = await browser.until(ConnectionTerminated)
        assert end.error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_an_idle_connection_is_ended_in_time(house: House, authority: Authority, autojump_clock):
    await house.backends.start(Recorder())
    async with browsing(house, authority) as browser:
        await browser.answer(await browser.start())
        started = trio.current_time()
        while await browser.receive():
            pass
        assert 299 < trio.current_time() - started < 303


async def test_a_silent_upload_is_given_up(house: House, authority: Authority, autojump_clock):
    await house.backends.start(Recorder())
    async with browsing(house, authority) as browser:
        number = await browser.start(method="POST", end=False)
        started = trio.current_time()
        assert await browser.answer(number) == (0, b"")
        assert 299 < trio.current_time() - started < 303
