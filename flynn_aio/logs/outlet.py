"""Outlet: the seam between what is sent and how. A kind of sink is an encoder and an outlet."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ..errors import FlynnError


class Undelivered(FlynnError):
    """The other side was not reached, or does not take what it is sent. We try again later."""


class Connection(Protocol):
    """A way to the other side, open.

    Marks tell how much of what was sent has arrived: they grow, and mean nothing to anybody else.
    """

    async def send(self, data: bytes) -> int:
        """Send messages, and return the mark behind them.

        Raises:
            Undelivered: they were not all sent, or not soon.
        """
        ...

    def taken(self) -> int:
        """Return the mark up to which the other side has everything, also after a failure."""
        ...

    async def wait_broken(self) -> None:
        """Wait until the other side is gone.

        Raises:
            Undelivered: it is, always.
        """
        ...


class Outlet(Protocol):
    """Where the lines of one sink go."""

    def open(self) -> AbstractAsyncContextManager[Connection]:
        """Reach the other side.

        Raises:
            Undelivered: that failed, or took too long.
        """
        ...
