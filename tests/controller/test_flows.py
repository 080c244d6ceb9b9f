"""What streams share: their end, and the watch for clients that hang up."""

import os
import socket
from contextlib import closing

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.controller.flows import Flows, HangUps


async def test_the_end_is_for_all_and_for_those_who_come_late():
    flows, ended = Flows(), []

    async def flow():
        with trio.CancelScope() as scope, flows.entered(scope):
            await trio.sleep_forever()
        ended.append(1)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(flow)
        await wait_all_tasks_blocked()
        flows.end()
        await wait_all_tasks_blocked()
        assert len(ended) == 3
        await flow()
    assert len(ended) == 4


@pytest.fixture
def hang_ups():
    with closing(HangUps()) as opened:
        yield opened


@pytest.mark.parametrize("end", ["close", "half"])
async def test_a_client_that_hangs_up_is_noticed_and_no_other(hang_ups, end):
    ended = []
    pairs = [socket.socketpair() for _ in range(3)]

    async def stream(number):
        with trio.CancelScope() as scope, hang_ups.watched(pairs[number][0].fileno(), scope):
            await trio.sleep_forever()
        ended.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_ups.run)
        for number in range(3):
            nursery.start_soon(stream, number)
        await wait_all_tasks_blocked()
        pairs[0][1].send(b"words are no reason")
        await wait_all_tasks_blocked()
        assert ended == []
        pairs[1][1].close() if end == "close" else pairs[1][1].shutdown(socket.SHUT_WR)
        with trio.fail_after(5):
            while not ended:
                await trio.lowlevel.checkpoint()
        assert ended == [1]
        nursery.cancel_scope.cancel()
    for pair in pairs:
        for one in pair:
            one.close()


async def test_a_descriptor_that_is_used_again_belongs_to_the_new_stream(hang_ups):
    descriptor = os.dup(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_ups.run)
        for _ in range(2):
            ours, theirs = socket.socketpair()
            os.dup2(ours.fileno(), descriptor)
            ours.close()
            with trio.fail_after(5), trio.CancelScope() as scope, hang_ups.watched(descriptor, scope):
                theirs.close()
                await trio.sleep_forever()
            assert scope.cancelled_caught
        nursery.cancel_scope.cancel()
    os.close(descriptor)
