"""What the router follows: routes, backends, drained jobs, doors."""

import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.model import JobID, RouteType
from flynn_aio.router import open_router
from flynn_aio.store import Transaction, changes

from .conftest import House, OpenHouse
from .ends import Recorder, ask, http, read_answer, says


async def serves(house: House, host: bytes, status: int) -> None:
    """Wait until a host is answered with this status."""
    with trio.fail_after(3):
        while True:
            async with await house.http() as stream:
                if (await ask(stream, http(host=host))).status == status:
                    return
            await trio.sleep(0.01)


async def test_routes_are_followed_by_themselves(house: House):  # TestAddHTTPRoute, TestHTTPInitialSync
    await house.backends.start(Recorder())
    route = await house.route("late.example")
    await serves(house, b"late.example", 200)
    await house.store.transact(lambda tx: changes.delete_route(tx, house.app.id, RouteType.HTTP, route.id))
    await serves(house, b"late.example", 404)


async def test_the_routes_of_a_deleted_app_go_with_it(house: House):
    await serves(house, b"hello.flynn.test", 503)
    await house.store.transact(lambda tx: changes.delete_app(tx, house.app.id))
    await serves(house, b"hello.flynn.test", 404)


async def test_path_routes_load_in_any_order(open_house: OpenHouse):  # TestHTTPInitialSyncOrder
    async with open_house() as house:
        await house.route("paths.example", "root-web")
        await house.route("paths.example", "two-web", path="/2/")
        await house.backends.start(Recorder(says(b"two")), service="two-web")
        async with await house.http() as stream:
            assert (await ask(stream, http(b"/2/x", host=b"paths.example"))).body == b"two"


async def test_the_cookie_key_survives_a_restart(open_house: OpenHouse):
    async with open_house() as house:
        sealed = house.router.upstreams.cookies.seal("10.0.0.1:80", bytes(24))
        async with open_house_again(house) as again:
            assert again.upstreams.cookies.open(sealed) == "10.0.0.1:80"


def open_house_again(house: House):
    return open_router(house.router.upstreams.settings, house.store, house.backends.services)


async def drained(house: House, job: str) -> bool:
    with trio.move_on_after(0.03):
        await house.router.drained(JobID(job))
        return True
    return False


async def test_a_job_is_drained_when_it_is_gone_and_idle(house: House):
    go_on = trio.Event()

    async def slow(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await go_on.wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    addr = await house.backends.start(slow, job="job-1")
    assert await drained(house, "never-heard-of")
    async with await house.http() as stream:
        await stream.send_all(http())
        await wait_all_tasks_blocked(0.02)
        assert not await drained(house, "job-1")
        house.backends.unregister(addr)
        assert not await drained(house, "job-1")  # the request is still in flight
        async with await house.http() as other:
            assert (await ask(other, http())).status == 503  # and nothing new goes there
        go_on.set()
        assert (await read_answer(stream)).status == 200
        assert await drained(house, "job-1")


async def test_drained_waits_for_the_snapshot(house: House):
    addr = await house.backends.start(Recorder(), job="job-1")
    async with trio.open_nursery() as nursery:
        done = trio.Event()

        async def wait() -> None:
            await house.router.drained(JobID("job-1"))
            done.set()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked(0.02)
        assert not done.is_set()
        house.backends.unregister(addr)
        await done.wait()


async def test_drained_waits_until_discoverd_has_seen_the_stop(house: House):
    """A job that is told to stop while it starts has no instance yet, and may get one from an older look at its row."""
    followed, stopped = house.backends.services.followed, house.store.changes.version
    followed.set(stopped - 1)
    assert not await drained(house, "job-1")
    followed.set(stopped)
    assert await drained(house, "job-1")


async def test_a_route_that_does_not_drain_is_not_waited_for(house: House):
    async def hang(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    await house.route("rude.example", "rude-web", drain_backends=False)
    addr = await house.backends.start(hang, service="rude-web", job="job-1")
    async with await house.http() as stream:
        await stream.send_all(http(host=b"rude.example"))
        await wait_all_tasks_blocked(0.02)
        house.backends.unregister(addr)
        assert await drained(house, "job-1")


async def test_kept_connections_to_a_backend_that_left_are_closed(house: House):
    closed = trio.Event()
    recorder = Recorder()

    async def watched(stream: trio.SocketStream) -> None:
        await recorder(stream)
        closed.set()

    addr = await house.backends.start(watched)
    async with await house.http() as stream:
        await ask(stream, http())
        house.backends.unregister(addr)
        with trio.fail_after(2):
            await closed.wait()


async def test_idle_connections_to_backends_end_after_a_while(house: House, autojump_clock):
    closed = trio.Event()
    recorder = Recorder()

    async def watched(stream: trio.SocketStream) -> None:
        await recorder(stream)
        closed.set()

    await house.backends.start(watched)
    async with await house.http() as stream:
        await ask(stream, http())
        started = trio.current_time()
        await closed.wait()
        assert 59 < trio.current_time() - started < 80


async def test_a_door_wins_over_routes(open_house: OpenHouse):
    backend = Recorder(says(b"door"))
    dialled = 0

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await backend(stream)

    async with trio.open_nursery() as nursery:

        async def dial() -> trio.SocketStream:
            nonlocal dialled
            dialled += 1
            ours, theirs = trio.socket.socketpair()
            nursery.start_soon(serve, trio.SocketStream(theirs))
            return trio.SocketStream(ours)

        async with open_house(doors={"controller": dial}) as house, await house.http() as stream:
            for _ in range(3):
                answer = await ask(stream, http(host=b"Controller.flynn.test:80"))
                assert answer.body == b"door"
            nursery.cancel_scope.cancel()
    assert dialled == 1
    assert backend.seen[0].header(b"X-Forwarded-For") == b"127.0.0.1"


async def test_the_front_says_where_it_listens(house: House):
    assert house.front.http_port > 0
    assert house.front.https_port > 0
    assert house.front.http_port != house.front.https_port


async def test_missed_events_are_made_up_for(open_house: OpenHouse, monkeypatch):  # TestHTTPResync
    """A reader that fell behind is disconnected; it reads everything again and drops what is gone."""
    async with open_house() as house:
        gone = await house.route("gone.example")
        reading = trio.Event()

        async def slow_refresh() -> None:
            await reading.wait()
            await refresh()

        refresh = house.router.refresh
        monkeypatch.setattr(house.router, "refresh", slow_refresh)
        await house.store.transact(many_events)
        await house.store.transact(lambda tx: changes.delete_route(tx, house.app.id, RouteType.HTTP, gone.id))
        reading.set()
        await serves(house, b"gone.example", 404)


def many_events(tx: Transaction) -> None:
    """More than the feed's buffer holds."""
    for n in range(1100):
        tx.emit("route", str(n), {})
