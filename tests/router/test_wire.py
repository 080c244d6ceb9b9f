"""A connection as bytes, its deadlines, and how it ends."""

import socket
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.router.wire import Watchman, Wire, WireBroken


@pytest.fixture
async def watchman() -> AsyncIterator[Watchman]:
    watchman = Watchman()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchman.run)
        yield watchman
        nursery.cancel_scope.cancel()
    watchman.close()


@pytest.fixture
def pair(watchman: Watchman) -> tuple[Wire, Wire]:
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    return Wire(one, watchman), Wire(other, watchman)


async def test_bytes_arrive_and_ends_are_told(pair):
    one, other = pair
    await one.send(b"hello")
    assert await other.receive() == b"hello"
    await one.send_eof()
    assert await other.receive() == b""
    await other.send(b"still here")
    assert await one.receive() == b"still here"


async def test_more_than_fits_is_sent_as_it_is_read(pair):
    one, other = pair
    data = bytes(range(256)) * 20_000
    got = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send, data)
        while len(got) < len(data):
            got += await other.receive()
    assert got == data


async def test_an_overdue_read_breaks_the_wire(pair, autojump_clock):
    one, _ = pair
    one.read_by = trio.current_time() + 30
    with pytest.raises(WireBroken, match="too long"):
        await one.receive()
    assert 29 < trio.current_time() < 32


async def test_an_overdue_write_breaks_the_wire(pair, autojump_clock):
    one, _ = pair
    one.write_timeout_s = 30
    with pytest.raises(WireBroken, match="too long"):
        while True:
            await one.send(bytes(65536))


async def test_cutting_wakes_who_waits_and_stays(pair):
    one, _ = pair
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(WireBroken, match="enough"):
                await one.receive()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        one.cut("enough")
    for again in (one.receive(), one.send(b"x"), one.send_eof()):
        with pytest.raises(WireBroken, match="enough"):
            await again
    one.close()
    one.close()


async def test_what_was_said_before_a_reset_is_read(pair):
    one, other = pair
    await other.send(b"last words")
    other.close()
    with pytest.raises(WireBroken):
        while True:
            await one.send(bytes(65536))
    assert await one.receive() == b"last words"


async def test_a_hang_up_is_told_at_once_and_once_it_is_ignored_not(pair, watchman: Watchman):
    one, other = pair
    told = trio.Event()
    watchman.tell_hang_up(one, told.set)
    await other.send(b"data is no hang-up")
    await wait_all_tasks_blocked(0.01)
    assert not told.is_set()
    await other.send_eof()
    with trio.fail_after(1):
        await told.wait()
    watchman.ignore_hang_up(one)
    told = trio.Event()
    other.close()
    await wait_all_tasks_blocked(0.01)
    assert not told.is_set()


async def test_a_stale_wire_is_found_out(pair):
    one, other = pair
    assert not one.is_stale()
    await other.send(b"unasked")
    assert one.is_stale()
    await one.receive()
    assert not one.is_stale()
    other.close()
    assert one.is_stale()


async def test_a_wire_that_never_waits_lets_others_run(pair):
    one, other = pair
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        for _ in range(200):
            await one.send(b"x")
            await other.receive()
        nursery.cancel_scope.cancel()
    assert ticks > 10


async def test_lingering_ends_by_itself(pair, autojump_clock):
    one, other = pair
    await other.send(b"x" * 1000)
    await one.linger()
    assert one.fileno() < 0
    assert trio.current_time() < 2
