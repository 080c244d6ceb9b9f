import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.receive.queue import Line


async def test_the_line_is_fair_and_says_the_position():
    line, told, order = Line(1), [], []
    leave = {name: trio.Event() for name in "abc"}

    async def customer(name):
        async def tell(ahead):
            told.append((name, ahead))

        async with line.place(tell):
            order.append(name)
            await leave[name].wait()

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(customer, name)
            await wait_all_tasks_blocked()
        assert told == [("b", 1), ("c", 2)]
        for name in "abc":
            leave[name].set()
            await wait_all_tasks_blocked()
    assert order == ["a", "b", "c"]
    assert told == [("b", 1), ("c", 2), ("c", 1)]


async def test_who_gives_up_waiting_lets_the_others_move_up():
    line, told, inside = Line(2), [], []

    async def customer(name, scope):
        async def tell(ahead):
            told.append((name, ahead))

        with scope:
            async with line.place(tell):
                inside.append(name)
                await trio.sleep_forever()

    scopes = {name: trio.CancelScope() for name in "abcd"}
    async with trio.open_nursery() as nursery:
        for name, scope in scopes.items():
            nursery.start_soon(customer, name, scope)
            await wait_all_tasks_blocked()
        assert inside == ["a", "b"]
        scopes["c"].cancel()
        await wait_all_tasks_blocked()
        assert told == [("c", 1), ("d", 2), ("d", 1)]
        scopes["b"].cancel()
        await wait_all_tasks_blocked()
        assert inside == ["a", "b", "d"]
        nursery.cancel_scope.cancel()
