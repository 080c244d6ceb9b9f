"""TCP routes: a port of their own, bytes both ways."""

import socket

import pytest
import trio

from flynn_aio.model import Route, RouteType
from flynn_aio.store import changes

from .conftest import House
from .ends import read_all
from .test_forward import refused_addr


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def tcp_route(house: House, *, leader: bool = False) -> Route:
    wanted = Route(
        type=RouteType.TCP, service="db", port=free_port(), leader=leader, created_at=None, updated_at=None
    )  # fmt: skip
    route = await house.store.transact(lambda tx: changes.create_route(tx, wanted, house.app.id))
    await listening(route.port, True)
    return route


async def listening(port: int, wanted: bool) -> None:
    """Wait until a port is, or is no longer, listened on."""
    with trio.fail_after(3):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                found = False
            else:
                await stream.aclose()
                found = True
            if found is wanted:
                return
            await trio.sleep(0.01)


async def greet(name: bytes, stream: trio.SocketStream) -> None:
    """Say a name, echo until the client has ended its side, and say goodbye."""
    await stream.send_all(name)
    while data := await stream.receive_some():
        await stream.send_all(data)
    await stream.send_all(b" bye")


def named(name: bytes):
    return lambda stream: greet(name, stream)


async def test_a_tcp_route_joins_bytes_and_half_closes(house: House):  # TestAddTCPRoute, TestInitialTCPSync
    await house.backends.start(named(b"db "), service="db")
    house.backends.register(await refused_addr(), service="db")
    route = await tcp_route(house)
    for _ in range(4):
        stream = await trio.open_tcp_stream("127.0.0.1", route.port)
        async with stream:
            await stream.send_all(b"ping")
            await stream.send_eof()
            assert await read_all(stream) == b"db ping bye"


async def test_without_a_backend_the_connection_is_closed(house: House):
    route = await tcp_route(house)
    stream = await trio.open_tcp_stream("127.0.0.1", route.port)
    async with stream:
        assert await read_all(stream) == b""


async def test_a_removed_route_no_longer_accepts(house: House):  # TestAddTCPRoute
    route = await tcp_route(house)
    await house.store.transact(lambda tx: changes.delete_route(tx, house.app.id, RouteType.TCP, route.id))
    await listening(route.port, False)
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", route.port)


async def test_a_leader_route_follows_the_leader(house: House):  # TestTCPLeaderRouting
    oldest = await house.backends.start(named(b"oldest"), service="db", index=1)
    await house.backends.start(named(b"next"), service="db", index=2)
    route = await tcp_route(house, leader=True)
    for name in (b"oldest", b"oldest", b"next", b"next"):
        if name == b"next":
            house.backends.unregister(oldest)
        stream = await trio.open_tcp_stream("127.0.0.1", route.port)
        async with stream:
            await stream.send_eof()
            assert await read_all(stream) == name + b" bye"
