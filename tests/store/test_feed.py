"""The feed, delivering: the patient get every event, a few of them at a time."""

from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.model import Event, EventID
from flynn_aio.store import EventFilter, Overflow
from flynn_aio.store.feed import AT_ONCE, Feed


def event(number, kind="app"):
    return Event(id=EventID(number), object_type=kind)


async def test_others_get_their_turn_between_a_few():
    """However many follow, somebody who wants to go on as well waits for two rounds of them at most."""
    feed, done, seen = Feed(10), [], []

    async def follow():
        with feed.listen(EventFilter(), patient=True) as subscription:
            await subscription.receive()
            done.append(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.deliver)
        for _ in range(100):
            nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        feed.publish([event(1)])
        while len(done) < 100:
            seen.append(len(done))
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert max(after - before for before, after in pairwise(seen)) <= 2 * AT_ONCE


async def test_the_impatient_have_it_at_once():
    feed = Feed(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.deliver)
        await wait_all_tasks_blocked()
        with feed.listen(EventFilter(), patient=True) as patient, feed.listen(EventFilter()) as impatient:
            feed.publish([event(1)])
            assert impatient.receive_nowait() == event(1)
            assert patient.receive_nowait() is None
            assert await patient.receive() == event(1)
        nursery.cancel_scope.cancel()


async def test_every_event_comes_once_and_in_order_to_whoever_wants_it():
    feed, got = Feed(100), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.deliver)
        await wait_all_tasks_blocked()
        for number in range(1, 30):
            feed.publish([event(number), event(100 + number, "job")][: 1 + number % 2])
        # What is on its way to others happened before this one came.
        with feed.listen(EventFilter(object_types=frozenset({"job"})), patient=True) as late:
            feed.publish([event(200), event(201, "job"), event(202), event(203, "job")])
            await wait_all_tasks_blocked()
            while (one := late.receive_nowait()) is not None:
                got.append(one.id)
        nursery.cancel_scope.cancel()
    assert got == [201, 203]


async def test_one_who_leaves_while_events_are_handed_round_takes_none_from_others():
    feed, got = Feed(10), []

    async def follow(number):
        with feed.listen(EventFilter(), patient=True) as subscription:
            await subscription.receive()
            got.append(number)
            if number == 0:
                leaving.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.deliver)
        nursery.start_soon(follow, 0)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as crowd:
            leaving = crowd.cancel_scope
            for number in range(100, 150):
                crowd.start_soon(follow, number)
            await wait_all_tasks_blocked()
            nursery.start_soon(follow, 1)
            await wait_all_tasks_blocked()
            feed.publish([event(1)])
        await wait_all_tasks_blocked()
        assert {0, 1} <= set(got)
        assert len(got) < 52
        nursery.cancel_scope.cancel()


async def test_a_patient_reader_a_whole_buffer_behind_is_told():
    feed = Feed(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.deliver)
        await wait_all_tasks_blocked()
        with feed.listen(EventFilter(), patient=True) as slow:
            feed.publish([event(number) for number in range(1, 5)])
            await wait_all_tasks_blocked()
            assert [slow.receive_nowait(), slow.receive_nowait(), slow.receive_nowait()] == [event(1), event(2), None]
            with pytest.raises(Overflow) as overflow:
                await slow.receive()
            assert overflow.value.last_id == 2
        nursery.cancel_scope.cancel()
