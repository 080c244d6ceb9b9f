"""Who may come in: keys are kept as hashes and compared in constant time, wrong ones counted and slowed."""

import hashlib
import hmac
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import trio

from ..clock import Clock
from ..errors import RateLimited, Unauthorized
from ..model import Time
from . import queries
from .attempts import Attempts
from .store import Store

logger = logging.getLogger(__name__)

INSIDE = "inside"
"""Stands for the address of a request that did not come through the router."""


def key_hash(key: str) -> bytes:
    """Return what is stored of a key. Keys are 128 random bits or more, so one round of SHA-256 is enough."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def last_hop(forwarded_for: str) -> str:
    """Return the client's address of an ``X-Forwarded-For`` header that has come through our router.

    The router puts the address it saw behind whatever the client claims, so only the last one counts. Nothing
    else can reach a door.
    """
    return forwarded_for.rpartition(",")[2].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """The wrong keys of one address; for IPv6, of its network.

    Attributes:
        count: since it was last quiet for ten minutes.
    """

    address: str
    count: int
    last_at: Time


class Keyring:
    """Every door asks here: the controller's, git's, the image service's.

    Attributes:
        failed: how many wrong keys came since the start.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._attempts = Attempts()
        self._hashes: dict[str, bytes] = {}
        self._read_at = -1
        self._used: dict[str, Time] = {}
        self._sessions: dict[str, set[trio.CancelScope]] = {}
        self._removed: set[str] = set()
        """Names of keys that were removed, and that no other key with the name has come in by since."""

    @property
    def failed(self) -> int:
        return self._attempts.total

    async def authenticate(self, key: str, *, address: str) -> str:
        """Return the name of a key: what logs may carry.

        Args:
            key: as the client sent it; empty when it sent none.
            address: the client's IP address as the router saw it. Empty for a request that did not come through
                the router, from within this process: such are counted, but not slowed.

        Raises:
            Unauthorized: the key is missing or wrong; raised as late as `Attempts` says.
            RateLimited: it is wrong, and too many wrong ones of that address wait for their answer already.
        """
        if not key:
            raise Unauthorized("the key is missing")
        given, found = key_hash(key), ""
        for name, stored in (await self._stored()).items():
            if hmac.compare_digest(stored, given):  # and go on: how long it takes tells nothing of which one matched
                found = name
        if not found:
            await self._refuse(address)
        self._used[found] = self._clock.now()
        self._removed.discard(found)
        return found

    async def _stored(self) -> dict[str, bytes]:
        """Return the hashes by name. Only this process writes, so they are read again only after a change."""
        version = self._store.changes.version
        if version != self._read_at:
            self._hashes = await self._store.read(queries.key_hashes)
            self._read_at = version
        return self._hashes

    async def _refuse(self, address: str) -> NoReturn:
        now = trio.current_time()
        record = self._attempts.note(address, now)
        if _is_round(record.count):  # each of them would be a way to fill the disk
            logger.warning("a wrong key", extra={"address": record.address or INSIDE, "so_far": record.count})
        pause = self._attempts.pause(record, now) if address else 0.0
        if pause is None:
            raise RateLimited(
                f"{record.count} wrong keys came from {record.address}; wait a while, then come back with a right one"
            )
        await trio.sleep(pause)
        raise Unauthorized("the key is wrong")

    def last_used(self, name: str) -> Time | None:
        """Return when a key was last let in; ``None`` when not since the start."""
        return self._used.get(name)

    def failures(self) -> list[Failures]:
        """Return who showed wrong keys lately, the latest first."""
        now, moment = trio.current_time(), self._clock.now()
        return [
            Failures(
                address=record.address or INSIDE,
                count=record.count,
                last_at=moment - timedelta(seconds=now - record.last),
            )
            for record in self._attempts.recent(now)
        ]

    @contextmanager
    def session(self, name: str, scope: trio.CancelScope) -> Iterator[None]:
        """Do something long on the strength of a key: the scope around it is cancelled when the key is removed."""
        scopes = self._sessions.setdefault(name, set())
        scopes.add(scope)
        if name in self._removed:  # since it was looked at
            scope.cancel()
        try:
            yield
        finally:
            scopes.discard(scope)
            if not scopes:
                self._sessions.pop(name, None)

    def end_sessions(self, name: str) -> None:
        """End what goes on with a key that was removed."""
        self._used.pop(name, None)
        self._removed.add(name)
        for scope in self._sessions.get(name, ()):
            scope.cancel()


def _is_round(number: int) -> bool:
    """Tell whether a number is a power of ten."""
    return str(number).strip("0") == "1"
