"""Watch: one shared value, many waiters, no queue.

A reader that was away sees the newest value, never a backlog; nothing grows while
nobody looks. For every step in order there is `store.subscribe`.
"""

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Watch(Generic[T]):
    """A value that is replaced whole, and a way to wait until it was.

    Read `version` *before* reading what the value describes: a change that comes
    meanwhile then wakes `moved_past` at once, and no wake-up is lost.
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._moved = trio.Event()

    @property
    def value(self) -> T:
        return self._value

    @property
    def version(self) -> int:
        """How often the value was replaced; only ever grows."""
        return self._version

    def set(self, value: T) -> None:
        """Replace the value and wake everyone who waits. Call it in the Trio thread."""
        self._value = value
        self._version += 1
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    async def moved_past(self, version: int) -> T:
        """Wait until the value is newer than `version`, and return it."""
        while self._version <= version:
            await self._moved.wait()
        return self._value


class Bell(Watch[None]):
    """A `Watch` without a value: something moved, go and look."""

    def __init__(self) -> None:
        super().__init__(None)

    def ring(self) -> None:
        self.set(None)
