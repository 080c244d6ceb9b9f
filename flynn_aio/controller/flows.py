"""What many streams share, so that each costs little: their end, and the watch for clients that hang up.

A task in each stream that waits for the one or the other would be a third of its memory.
"""

import select
from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Flows:
    """The streams that go on, so that one call ends them all."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._ended = False

    @contextmanager
    def entered(self, scope: trio.CancelScope) -> Iterator[None]:
        """Have a scope cancelled with all the others; at once when that has happened already."""
        if self._ended:
            scope.cancel()
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)

    def end(self) -> None:
        self._ended = True
        for scope in self._scopes:
            scope.cancel()


class HangUps:
    """Learns from the kernel which clients have gone."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._scopes: dict[int, trio.CancelScope] = {}

    @contextmanager
    def watched(self, descriptor: int, scope: trio.CancelScope) -> Iterator[None]:
        """Have a scope cancelled when the other end of a socket ends its side."""
        self._scopes[descriptor] = scope
        self._epoll.register(descriptor, select.EPOLLRDHUP)
        try:
            yield
        finally:
            self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        if self._scopes.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, _ in self._epoll.poll(0):
                self._scopes[descriptor].cancel()
                self._forget(descriptor)

    def close(self) -> None:
        """Give the kernel back what it lent; nothing is watched any more by then."""
        self._epoll.close()
