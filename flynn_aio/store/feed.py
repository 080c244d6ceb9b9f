"""The feed: events for people and deploy waits, each once and in order.

A subscription replays from the table and goes on live. Its buffer is bounded: a reader that
is a whole buffer behind is disconnected with the id it got last, and resumes from there.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from ..errors import FlynnError
from ..model import AppID, Event, EventID

AT_ONCE = 1
"""Patient listeners served in a round of Trio's scheduler: a fraction of a millisecond of work each."""

Page = Callable[[EventID], Awaitable[list[Event]]]
"""Return the next events after an id, oldest first; empty when there are no more."""


class Overflow(FlynnError):
    """The reader fell a whole buffer behind. Subscribe again with ``since=last_id``."""

    def __init__(self, last_id: EventID) -> None:
        super().__init__("event stream buffer overflow", detail={"last_id": last_id})
        self.last_id = last_id


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events to see; ``None`` and the empty set mean all."""

    app: AppID | None = None
    object_types: frozenset[str] = frozenset()
    object_id: str | None = None

    def matches(self, event: Event) -> bool:
        return (
            (self.app is None or event.app == self.app)
            and (not self.object_types or event.object_type in self.object_types)
            and (self.object_id is None or event.object_id == self.object_id)
        )


class Subscription(AsyncIterator[Event]):
    """Events that match a filter, in order of their ids. Iterate it, or `receive` one by one."""

    def __init__(self, receiving: trio.MemoryReceiveChannel[Event]) -> None:
        self._live = receiving
        self._replay: list[Event] = []
        self._next_page: Page | None = None
        self._last_id = EventID(0)

    def replay(self, next_page: Page) -> None:
        """Deliver page after page before anything live. Called once, at the start."""
        self._next_page = next_page

    async def receive(self) -> Event:
        """Wait for the next event.

        Raises:
            Overflow: this reader was too slow.
        """
        while True:
            if not self._replay and self._next_page is not None:
                self._replay = (await self._next_page(self._last_id))[::-1]
                if not self._replay:
                    self._next_page = None
            if self._replay:
                event = self._replay.pop()
            else:
                try:
                    event = await self._live.receive()
                except trio.EndOfChannel:
                    raise Overflow(self._last_id) from None
            if event.id > self._last_id:  # an event may be in the replay and in the buffer
                self._last_id = event.id
                return event

    def receive_nowait(self) -> Event | None:
        """Return the next event if it has happened and nothing has to be read for it."""
        if self._next_page is not None:
            return None
        while True:
            try:
                event = self._replay.pop() if self._replay else self._live.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):  # at the end, `receive` says why
                return None
            if event.id > self._last_id:
                self._last_id = event.id
                return event

    async def __anext__(self) -> Event:
        return await self.receive()


@dataclass(frozen=True, slots=True)
class _Listener:
    """What a listener wants.

    Attributes:
        patient: it can wait for its turn.
        after: the last event that was published before it came.
    """

    wanted: EventFilter
    patient: bool
    after: EventID


class Feed:
    """Everyone who listens right now.

    One event wakes all who follow it, and to let hundreds of them go on at once would hold up everything else
    for as long as they take. So those who say that they are patient are served by `deliver`, a few at a time.
    """

    def __init__(self, buffer: int) -> None:
        self._buffer = buffer
        self._listeners: dict[trio.MemorySendChannel[Event], _Listener] = {}
        self._last = EventID(0)
        self._undelivered: list[Event] = []
        self._happened = trio.Event()
        self._delivering = False

    @contextmanager
    def listen(self, wanted: EventFilter, *, patient: bool = False) -> Iterator[Subscription]:
        """Collect matching events from now on, at most a buffer full."""
        sending, receiving = trio.open_memory_channel[Event](self._buffer)
        self._listeners[sending] = _Listener(wanted, patient, self._last)
        try:
            with sending, receiving:
                yield Subscription(receiving)
        finally:
            del self._listeners[sending]

    def publish(self, events: Sequence[Event]) -> None:
        """Hand events to every listener, without waiting for any of them."""
        for event in events:
            self._last = event.id
            for sending, listener in self._listeners.items():
                if not (listener.patient and self._delivering):
                    _hand(event, sending, listener)
        if self._delivering and events:
            self._undelivered += events
            self._happened.set()

    async def deliver(self) -> None:
        """Serve the patient until cancelled; while this does not run, they are served with the others."""
        self._delivering = True
        try:
            while True:
                await self._happened.wait()
                self._happened = trio.Event()
                await self._deliver()
        finally:
            self._delivering = False

    async def _deliver(self) -> None:
        events, self._undelivered = self._undelivered, []
        served = 0
        for sending, listener in list(self._listeners.items()):
            if not listener.patient or sending not in self._listeners:
                continue
            handed = [_hand(event, sending, listener) for event in events if event.id > listener.after]
            served += any(handed)
            if served == AT_ONCE:
                await trio.lowlevel.checkpoint()  # they take theirs now, and everybody else a turn
                served = 0


def _hand(event: Event, sending: trio.MemorySendChannel[Event], listener: _Listener) -> bool:
    """Hand an event to a listener who wants it; tell whether that woke anybody."""
    if not listener.wanted.matches(event):
        return False
    try:
        sending.send_nowait(event)
    except trio.WouldBlock:
        sending.close()  # the reader finds the end of its buffer, then Overflow
    except trio.ClosedResourceError:
        return False  # it overflowed before and has not noticed yet
    return True
