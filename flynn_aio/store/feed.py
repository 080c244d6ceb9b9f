"""The feed: events for people and deploy waits, each once and in order.

A subscription replays from the table and goes on live. Its buffer is bounded: a reader that
is a whole buffer behind is disconnected with the id it got last, and resumes from there.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from ..errors import FlynnError
from ..model import AppID, Event, EventID

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


class Feed:
    """Everyone who listens right now."""

    def __init__(self, buffer: int) -> None:
        self._buffer = buffer
        self._listeners: dict[trio.MemorySendChannel[Event], EventFilter] = {}

    @contextmanager
    def listen(self, wanted: EventFilter) -> Iterator[Subscription]:
        """Collect matching events from now on, at most a buffer full."""
        sending, receiving = trio.open_memory_channel[Event](self._buffer)
        self._listeners[sending] = wanted
        try:
            with sending, receiving:
                yield Subscription(receiving)
        finally:
            del self._listeners[sending]

    def publish(self, events: Iterable[Event]) -> None:
        """Hand events to every listener, without waiting for any of them."""
        for event in events:
            for sending, wanted in self._listeners.items():
                if wanted.matches(event):
                    try:
                        sending.send_nowait(event)
                    except trio.WouldBlock:
                        sending.close()  # the reader finds the end of its buffer, then Overflow
                    except trio.ClosedResourceError:
                        continue  # it overflowed before and has not noticed yet
