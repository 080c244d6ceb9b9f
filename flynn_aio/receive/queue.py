"""Waiting in line: pushes of one app behind each other, builds behind other builds.

First come, first served, and whoever waits is told how many are ahead.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ..watch import Bell


class Line:
    """A line in front of `places` places. Those inside are the first in it."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._line: list[object] = []
        self._moved = Bell()

    @asynccontextmanager
    async def place(self, tell: Callable[[int], Awaitable[None]]) -> AsyncIterator[None]:
        """Wait for a place and hold it while the block runs.

        Args:
            tell: called with how many must leave first, at the start and whenever that changes;
                not at all when a place is free.
        """
        ticket = object()
        self._line.append(ticket)
        told = 0
        try:
            while (ahead := self._line.index(ticket) - self._places + 1) > 0:
                seen = self._moved.version
                if ahead != told:
                    told = ahead
                    await tell(ahead)
                    continue  # the line may have moved while the pusher read
                await self._moved.moved_past(seen)
            yield
        finally:
            self._line.remove(ticket)
            self._moved.ring()
