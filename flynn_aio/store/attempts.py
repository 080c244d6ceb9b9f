"""Attempts: who showed a wrong key, how often, and how long the answer to the next one takes. Pure.

What is slowed is the refusal. A right key is never held up, whoever else sits behind the same address: keys
are random and too long to be guessed at any speed, so it is noise and work that is kept down here,
not luck.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

FREE = 5
"""Attempts a person may mistype before anything is slowed."""
FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 2.0
"""Between the answers to one address; they double up to here."""
MAX_WAIT_S = 10.0
"""Who would wait longer is refused at once. This bounds how many wait: five of one address."""
FORGET_S = 600.0
MAX_ADDRESSES = 1024
"""Addresses remembered, the latest; about 300 kB."""
IPV6_PREFIX = 64
"""What one customer has to itself: addresses below it cost nothing."""


@dataclass(slots=True)
class Record:
    """The wrong keys of one address.

    Attributes:
        count: since it was last quiet for `FORGET_S`.
        last: when the latest came; seconds on the clock of `Attempts`.
    """

    address: str
    count: int
    last: float
    answered_by: float
    """When the last answer promised so far goes out."""


class Attempts:
    """The latest wrong keys, by address.

    Attributes:
        total: all of them, from wherever.
    """

    def __init__(self) -> None:
        self._records: OrderedDict[str, Record] = OrderedDict()
        self.total = 0

    def note(self, address: str, now: float) -> Record:
        """Count one more wrong key of an IP address; its record is the caller's to look at, not to keep."""
        self.total += 1
        group = _group(address)
        record = self._records.get(group)
        if record is None or now - record.last > FORGET_S:
            record = self._records[group] = Record(group, 0, now, now)
        record.count += 1
        record.last = now
        self._records.move_to_end(group)
        if len(self._records) > MAX_ADDRESSES:
            self._records.popitem(last=False)
        return record

    def pause(self, record: Record, now: float) -> float | None:
        """Return after how many seconds to answer; ``None`` when so many wait already that it is refused at once."""
        if record.count <= FREE:
            return 0.0
        pause = min(FIRST_PAUSE_S * 2.0 ** min(record.count - FREE - 1, 10), MAX_PAUSE_S)
        answered_by = max(record.answered_by, now) + pause
        if answered_by - now > MAX_WAIT_S:
            return None
        record.answered_by = answered_by
        return answered_by - now

    def recent(self, now: float) -> list[Record]:
        """Return the records that are not forgotten, the latest first."""
        return [record for record in reversed(self._records.values()) if now - record.last <= FORGET_S]


def _group(address: str) -> str:
    """Return whom an address belongs to: itself, or for IPv6 the network around it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
    return str(found)
