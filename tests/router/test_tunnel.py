"""Upgrades: after the 101 bytes are bytes."""

from functools import partial

import pytest
import trio
import trio_websocket
from trio.testing import wait_all_tasks_blocked

from .conftest import House
from .ends import Recorder, answering, ask, http, read_all

UPGRADE = (b"Connection: Upgrade", b"Upgrade: echo")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


async def echo_after_upgrade(stream: trio.SocketStream) -> None:
    """Switch to a protocol that echoes, and says goodbye when the client has ended its side."""
    await answering(stream, SWITCHED)
    while data := await stream.receive_some():
        await stream.send_all(data)
    await stream.send_all(b"bye")


async def read_switch(stream: trio.SocketStream) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        got += await stream.receive_some()
    head, _, rest = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    return rest


async def test_an_upgrade_passes_bytes_and_half_closes(house: House):  # TestHTTPHijackUpgrade
    await house.backends.start(echo_after_upgrade)
    async with await house.http() as stream:
        await stream.send_all(http(b"/", *UPGRADE) + b"early")
        got = await read_switch(stream)
        await stream.send_all(b" late")
        while got != b"early late":
            got += await stream.receive_some()
        await stream.send_eof()
        assert await read_all(stream) == b"bye"


async def test_an_upgrade_works_on_a_used_connection_with_a_body(house: House):  # TestHTTPWebsocket, flynn-attach/0
    await house.backends.start(Recorder())
    attach = []

    async def attached(stream: trio.SocketStream) -> None:
        got = b""
        while not got.endswith(b'{"x":1}'):
            got += await stream.receive_some()
        attach.append(got)
        await stream.send_all(SWITCHED)
        await stream.send_all(b"hello " + await stream.receive_some())

    await house.route("attach.example", "attach-web")
    await house.backends.start(attached, service="attach-web")
    async with await house.http() as stream:
        assert (await ask(stream, http())).status == 200
        lines = (b"Connection: upgrade", b"Upgrade: flynn-attach/0", b"Content-Length: 7")
        await stream.send_all(http(b"/apps/x/jobs", *lines, host=b"attach.example", method=b"POST"))
        await stream.send_all(b'{"x":1}')
        assert await read_switch(stream) == b""
        await stream.send_all(b"there")
        assert await read_all(stream) == b"hello there"
    assert b"Upgrade: flynn-attach/0\r\n" in attach[0]
    assert b"Connection: upgrade\r\n" in attach[0]


@pytest.mark.parametrize("token", [b"upgrade", b"Upgrade", b"upGradE"])
async def test_another_answer_to_an_upgrade_is_passed_on(house: House, token):  # TestUpgradeHeaderIsCaseInsensitive
    backend = Recorder()
    await house.backends.start(backend)
    async with await house.http() as stream:
        answer = await ask(stream, http(b"/", b"Connection: " + token, b"Upgrade: Some-proto-2"))
        assert (answer.status, answer.body, answer.headers[b"connection"]) == (200, b"hello\n", b"close")
        assert await read_all(stream) == b""
    assert backend.seen[0].header(b"Upgrade") == b"Some-proto-2"


async def test_a_backend_that_dies_ends_the_tunnel(house: House):
    await house.backends.start(partial(dying_after, SWITCHED))
    async with await house.http() as stream:
        await stream.send_all(http(b"/", *UPGRADE))
        await read_switch(stream)
        assert await read_all(stream) == b""


async def dying_after(data: bytes, stream: trio.SocketStream) -> None:
    await answering(stream, data)


async def test_a_tunnel_keeps_its_job_from_being_stopped(house: House):
    addr = await house.backends.start(echo_after_upgrade)
    done = trio.Event()

    async def wait() -> None:
        await house.router.drained(addr)
        done.set()

    async with trio.open_nursery() as nursery:
        async with await house.http() as stream:
            await stream.send_all(http(b"/", *UPGRADE))
            await read_switch(stream)
            house.backends.unregister(addr)
            nursery.start_soon(wait)
            await wait_all_tasks_blocked(0.02)
            assert not done.is_set()
        await done.wait()


async def test_a_websocket_echoes(house: House):  # TestHTTPWebsocket
    async def echo(request: trio_websocket.WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            while True:
                await socket.send_message(await socket.get_message())
        except trio_websocket.ConnectionClosed:
            return

    async def serve(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            socket = await trio_websocket.wrap_server_stream(nursery, stream)
            await echo(socket)

    await house.backends.start(serve)
    stream = await house.http()
    async with trio.open_nursery() as nursery:
        socket = await trio_websocket.wrap_client_stream(nursery, stream, "hello.flynn.test", "/chat")
        for message in ("one", "x" * 100_000):
            await socket.send_message(message)
            assert await socket.get_message() == message
        await socket.aclose()


async def test_a_sticky_visitor_stays_over_upgrades(house: House):  # TestStickyHTTPRouteWebsocket
    await house.route("sticky.example", "sticky-web", sticky=True)
    names = {}

    def named(name: bytes):
        async def serve(stream: trio.SocketStream) -> None:
            await answering(stream, SWITCHED, name)

        return serve

    for name in (b"a", b"b", b"c"):
        names[name] = await house.backends.start(named(name), service="sticky-web")

    async def visit(*cookie: bytes) -> tuple[bytes, bytes]:
        """Return which backend answered, and the cookie it set."""
        async with await house.http() as stream:
            await stream.send_all(http(b"/", *UPGRADE, *cookie, host=b"sticky.example"))
            head, _, rest = (await read_all(stream)).partition(b"\r\n\r\n")
        [*_, last] = head.split(b"\r\n")
        return rest, last.partition(b"Set-Cookie: ")[2].partition(b";")[0]

    first, cookie = await visit()
    assert cookie
    for _ in range(10):
        assert await visit(b"Cookie: " + cookie) == (first, b"")
    house.backends.unregister(names[first])
    other, fresh = await visit(b"Cookie: " + cookie)
    assert other != first
    assert fresh
