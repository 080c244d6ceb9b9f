"""One HTTP/1.1 connection: limits of time and framing, and how it ends."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from .conftest import House, OpenHouse
from .ends import Recorder, ask, http, read_all, read_answer
from .test_h1 import BAD_REQUESTS


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_what_could_be_read_differently_is_answered_and_closed(house: House, name):
    backend = Recorder()
    await house.backends.start(backend)
    data, status = BAD_REQUESTS[name]
    async with await house.http() as stream:
        await stream.send_all(data)
        answer = await read_answer(stream)
        assert answer.status == status
        assert answer.headers[b"connection"] == b"close"
        assert await read_all(stream) == b""
    assert not backend.seen


async def test_what_follows_a_refused_request_is_not_read(house: House):
    backend = Recorder()
    await house.backends.start(backend)
    async with await house.http() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + http())
        assert (await read_all(stream)).count(b"HTTP/1.1") == 1
    assert not backend.seen


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
async def test_a_head_that_does_not_come_ends_the_connection(house: House, autojump_clock, sent):
    async with await house.http() as stream:
        if sent:
            await stream.send_all(sent)
        started = trio.current_time()
        assert await read_all(stream) == b""
        assert 59 < trio.current_time() - started < 63


async def test_a_head_that_drips_is_cut_just_the_same(house: House, autojump_clock):
    async with await house.http() as stream:
        started = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"G")
                await trio.sleep(5)
        assert trio.current_time() - started < 75


async def test_an_idle_connection_is_ended_in_time(house: House, autojump_clock):
    await house.backends.start(Recorder())
    async with await house.http() as stream:
        await ask(stream, http())
        started = trio.current_time()
        assert await read_all(stream) == b""
        assert 299 < trio.current_time() - started < 303


async def test_a_body_that_does_not_come_ends_the_request(house: House, autojump_clock):
    await house.backends.start(Recorder())
    async with await house.http() as stream:
        await stream.send_all(http(b"/", b"Content-Length: 5", method=b"POST") + b"ab")
        started = trio.current_time()
        assert await read_all(stream) == b""
        assert 299 < trio.current_time() - started < 303


async def test_a_client_that_does_not_read_is_cut(house: House, autojump_clock):
    ended = trio.Event()

    async def flood(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                await stream.send_all(bytes(65536))
        finally:
            ended.set()

    await house.backends.start(flood)
    async with await house.http() as stream:
        await stream.send_all(http())
        started = trio.current_time()
        await ended.wait()
        assert 59 < trio.current_time() - started < 65


async def test_a_backend_that_never_answers_is_given_up(house: House, autojump_clock):
    async def silent(stream: trio.SocketStream) -> None:
        await read_all(stream)

    await house.backends.start(silent)
    async with await house.http() as stream:
        started = trio.current_time()
        assert (await ask(stream, http())).status == 503
        assert 599 < trio.current_time() - started < 603


async def test_an_upload_may_take_its_time(house: House, autojump_clock):
    backend = Recorder()
    await house.backends.start(backend)
    async with await house.http() as stream:
        await stream.send_all(http(b"/", b"Content-Length: 10", method=b"POST"))
        for _ in range(10):
            await trio.sleep(100)
            await stream.send_all(b"x")
        assert (await read_answer(stream)).status == 200
    assert backend.seen[0].body == b"x" * 10


async def test_draining_lets_a_request_finish_and_cuts_the_idle(open_house: OpenHouse):
    go_on = trio.Event()
    answers = []

    async def slow(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await go_on.wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    async with trio.open_nursery() as nursery:
        async with open_house() as house:
            await house.backends.start(slow)
            busy, idle, fresh = await house.http(), await house.http(), await house.http()
            await ask(idle, http(host=b"x"))

            async def busy_client() -> None:
                answers.append(await ask(busy, http()))
                answers.append(await read_all(busy))

            nursery.start_soon(busy_client)
            await wait_all_tasks_blocked(0.02)

            async def release() -> None:
                for stream in (idle, fresh):
                    assert await read_all(stream) == b""
                    await stream.aclose()
                with pytest.raises(OSError):  # nobody accepts any more
                    await house.http()
                go_on.set()

            nursery.start_soon(release)
        assert [getattr(each, "body", each) for each in answers[:1]] == [b"done"]
        assert answers[0].headers[b"connection"] == b"close"
    assert answers[1] == b""
    await busy.aclose()


async def test_a_drain_ends_after_its_grace(open_house: OpenHouse, autojump_clock):
    async def hang(stream: trio.SocketStream) -> None:
        await read_all(stream)

    async with open_house(drain_s=7) as house:
        await house.backends.start(hang)
        stream = await house.http()
        await stream.send_all(http())
        await wait_all_tasks_blocked(0.02)
        left_at = trio.current_time()
    assert 6.9 < trio.current_time() - left_at < 8.5
    assert await read_all(stream) == b""
    await stream.aclose()


async def test_at_the_limit_of_connections_others_wait(open_house: OpenHouse):
    async with open_house(max_connections=2) as house:
        await house.backends.start(Recorder())
        first, second, third = [await house.http() for _ in range(3)]
        assert (await ask(first, http())).status == 200
        assert (await ask(second, http())).status == 200
        await third.send_all(http())
        with trio.move_on_after(0.05) as waited:
            await third.receive_some()
        assert waited.cancelled_caught
        await first.aclose()
        assert (await read_answer(third)).status == 200
        await second.aclose()
        await third.aclose()


async def test_at_the_limit_each_port_hears_of_those_who_leave(open_house: OpenHouse):
    async with open_house(max_connections=1) as house:
        await house.backends.start(Recorder())
        async with await house.http() as first:
            assert (await ask(first, http())).status == 200
            plain = await house.http()
            async with await trio.open_tcp_stream("127.0.0.1", house.front.https_port):
                await wait_all_tasks_blocked(0.02)  # both ports wait for somebody to leave now
        with trio.fail_after(3):
            assert (await ask(plain, http())).status == 200
        await plain.aclose()


async def test_a_crowd_is_served(house: House):
    """Every connection is its own: many at once, some of them hostile, and each gets its answer."""
    await house.backends.start(Recorder())
    statuses: list[int] = []

    async def visit(number: int) -> None:
        async with await house.http() as stream:
            if number % 5 == 0:
                await stream.send_all(b"\0garbage")
                statuses.append((await read_answer(stream)).status)
                return
            for _ in range(5):
                answer = await ask(stream, http())
            statuses.append(answer.status)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(visit, number)
    assert sorted(statuses) == [200] * 40 + [400] * 10
