"""Addresses: which IPv4 address a job gets, and the MAC that goes with it.

Addresses are handed out round robin, so that one comes back as late as possible, and a MAC is
made from its address: a neighbour that still remembers an address then remembers the right MAC.
With a random MAC a reused address was unreachable for up to 23 s (`findings.md` §4). Pure.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network

from ..errors import EngineError

QUARANTINE_HANDOUTS = 1024
"""How many other addresses are tried before a quarantined one is tried again.

Podman may keep an allocation for ever after a crash, and may also free it a moment later; this
many starts lie between two attempts, or all of a smaller subnet.
"""


class Addresses:
    """The addresses of one subnet: free, in use, or in quarantine.

    The network's own address, the gateway (the first host) and the broadcast address are never
    handed out.

    Args:
        start: where the round begins, so that a restart of ours does not begin with the same few.
    """

    def __init__(self, subnet: IPv4Network, *, start: int = 0) -> None:
        self._subnet = subnet
        self._count = subnet.num_addresses - 3
        if self._count < 1:
            raise EngineError(f"subnet {subnet} is too small for jobs: give settings.engine.subnet a /24 or larger")
        self._next = start % self._count
        self._used: set[str] = set()
        self._quarantine: dict[str, int] = {}
        self._handed_out = 0

    def take(self) -> str:
        """Return an address that is now in use.

        Raises:
            EngineError: all are.
        """
        free = self._find(lambda address: address not in self._used and not self._is_quarantined(address))
        free = free or self._find(lambda address: address not in self._used)
        if free is None:
            raise EngineError(f"no free address for a job: all {self._count} of {self._subnet} are in use")
        self._used.add(free)
        self._quarantine.pop(free, None)
        self._handed_out += 1
        return free

    def give_back(self, address: str) -> None:
        """An address is free again; unknown ones are ignored."""
        self._used.discard(address)

    def quarantine(self, address: str) -> None:
        """Somebody else holds this address: avoid it for a while."""
        self._used.discard(address)
        self._quarantine[address] = self._handed_out + min(QUARANTINE_HANDOUTS, self._count)

    def note_used(self, addresses: Iterable[str]) -> None:
        """These were found in use; keep out of their way."""
        self._used.update(addresses)

    def keep_only(self, addresses: Iterable[str]) -> None:
        """Exactly these are in use; everything else is free or in quarantine."""
        self._used = set(addresses)

    def _is_quarantined(self, address: str) -> bool:
        return self._quarantine.get(address, 0) > self._handed_out

    def _find(self, accepts: Callable[[str], bool]) -> str | None:
        for i in range(self._count):
            index = (self._next + i) % self._count
            address = str(self._subnet.network_address + 2 + index)
            if accepts(address):
                self._next = (index + 1) % self._count
                return address
        return None


def mac_of(address: str) -> str:
    """Return the locally administered MAC that belongs to an address: ``02:42`` and its four bytes."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)
