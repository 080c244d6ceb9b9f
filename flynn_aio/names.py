"""Looking up host names, in threads of their own.

A name server that does not answer holds a thread for as long as the machine's resolver is patient, also when nobody
waits any more. Trio would take them from those that everybody shares: with forty such names, the database could not
be read.
"""

import socket
from functools import partial
from typing import Any

import trio

MAX_LOOKUPS = 8
"""At once; further ones wait, under the deadlines of those who ask."""


class Names(trio.abc.HostnameResolver):
    """The machine's resolver. Install it with `trio.socket.set_custom_hostname_resolver`."""

    def __init__(self) -> None:
        self._threads = trio.CapacityLimiter(MAX_LOOKUPS)

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Cancellation: the lookup goes on, in its thread."""
        look_up = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        return await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=self._threads)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Cancellation: the lookup goes on, in its thread."""
        look_up = partial(socket.getnameinfo, sockaddr, flags)
        return await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=self._threads)
