"""The store: one SQLite file, one writer at a time, readers beside it.

Only this module and `file` open the database, and nothing here blocks the loop: every statement runs in
a worker thread. A change is a function of a `Transaction`; its rows and events become durable
together (WAL, synchronous=FULL), and the rest of the process learns of them afterwards.
"""

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from typing import BinaryIO, Protocol, TypeVar

import trio
from sqlite_utils import Database

from ..clock import Clock
from ..errors import Unavailable
from ..model import AppID, Event, EventID, Time
from ..settings import StoreSettings
from ..watch import Watch
from . import queries
from .feed import EventFilter, Feed, Subscription
from .file import ADVICE, UNCHANGED, atomic, connect, prepare, translated
from .snapshot import copy_database
from .touched import Touched, follow_tables
from .transaction import Transaction

logger = logging.getLogger(__name__)

T = TypeVar("T")

READERS = 2
"""Connections for reading. More than cores would only wait for one another."""


class RunBlocking(Protocol):
    """How to run a blocking function: in a thread, or at once in a test with a virtual clock."""

    async def __call__(self, blocking: Callable[[], T], /) -> T: ...


async def inline(blocking: Callable[[], T], /) -> T:
    """Run a blocking function right here. The autojump clock runs ahead of threads, so timed tests use this."""
    await trio.lowlevel.checkpoint()
    return blocking()


class Store:
    """Durable truth and its history; see `open_store`."""

    def __init__(self, settings: StoreSettings, clock: Clock, run_blocking: RunBlocking) -> None:
        self._settings = settings
        self._clock = clock
        self._run_blocking = run_blocking
        self._writing = trio.Lock()
        self._copying = trio.Lock()
        self._feed = Feed(settings.event_buffer)
        self._writer = connect(settings)
        self._readers = [connect(settings, read_only=True) for _ in range(READERS)]
        self._reading = trio.CapacityLimiter(READERS)
        self.changes: Watch[int] = Watch(0)
        """Counts the commits of this process; for loops, which then read what they need."""
        self._touched = Touched()
        self._touching: set[AppID] = set()
        follow_tables(self._writer, self._touching.add)

    async def transact(self, change: Callable[[Transaction], T]) -> T:
        """Apply one change and its events atomically, then tell the subscribers.

        Cancellation: either the change never began, or it is durable *and* published. The
        worker thread is not abandoned, and no checkpoint stands between commit and publication.

        Raises:
            FlynnError: what the change itself raised; nothing was written.
            Unavailable: the database is locked by somebody else or the disk is full; nothing was written. Waiting
                for its turn and for the lock take `busy_timeout_s` together, however many wait.
        """
        deadline = trio.current_time() + self._settings.busy_timeout_s
        async with self._turn(deadline):
            patience_s = max(deadline - trio.current_time(), 0.0)
            result, events = await self._run_blocking(partial(self._commit, change, self._clock.now(), patience_s))
            self._touched.note(self._touching, self.changes.version + 1)
            self._feed.publish(events)
            self.changes.set(self.changes.value + 1)
        return result

    @asynccontextmanager
    async def _turn(self, deadline: float) -> AsyncIterator[None]:
        """Be the one who writes while the block runs."""
        with trio.move_on_at(deadline) as waiting:
            await self._writing.acquire()
        if waiting.cancelled_caught:
            raise Unavailable(
                f"writing to the database {self._settings.path}: other changes were in front for "
                f"{self._settings.busy_timeout_s:g} s; {ADVICE[sqlite3.SQLITE_BUSY]}, or look at its disk; {UNCHANGED}"
            )
        try:
            yield
        finally:
            self._writing.release()

    def _commit(self, change: Callable[[Transaction], T], now: Time, patience_s: float) -> tuple[T, list[Event]]:
        tx = Transaction(self._writer, self._clock, now)
        self._touching.clear()
        with self._translated("writing to"):
            self._writer.conn.execute(f"PRAGMA busy_timeout = {patience_s * 1000:.0f}")
            with atomic(self._writer, "BEGIN IMMEDIATE"):
                result = change(tx)
        return result, tx.events

    def touched_since(self, version: int) -> Mapping[AppID, int] | None:
        """Return the apps that changes have touched since a version of `changes`, each with the version of the last.

        A hint, for loops that would rather not read everything: ``None`` means that they must, since too many
        apps were touched to remember.
        """
        return self._touched.since(version)

    async def read(self, query: Callable[[Database], T]) -> T:
        """Answer a question from one consistent snapshot.

        Raises:
            FlynnError: what the query itself raised, e.g. `NotFound`.
        """
        async with self._reading:
            reader = self._readers.pop()
            try:
                return await self._run_blocking(partial(self._snapshot, reader, query))
            finally:
                self._readers.append(reader)

    def _snapshot(self, reader: Database, query: Callable[[Database], T]) -> T:
        with self._translated("reading"), atomic(reader, "BEGIN"):
            return query(reader)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[BinaryIO]:
        """Have a copy of the whole database, of one moment, as a file while the block runs. One after the other.

        Raises:
            Unavailable: there is no room for it.
        """
        async with self._copying:
            copy = await self._run_blocking(self._copy)
        with copy:
            yield copy

    def _copy(self) -> BinaryIO:
        with self._translated("copying"):
            try:
                return copy_database(self._settings.path)
            except OSError as exc:
                raise Unavailable(
                    f"copying the database {self._settings.path}: {exc.strerror}; free some space"
                ) from exc

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated(doing, self._settings)

    def subscribe(
        self,
        wanted: EventFilter,
        *,
        since: EventID | None = None,
        past: bool = False,
        count: int | None = None,
        patient: bool = False,
    ) -> AbstractAsyncContextManager[Subscription]:
        """Follow matching events; whatever happens after entering the block is seen.

        Args:
            patient: others may see an event some milliseconds earlier; for the many, see `deliver`.
            since: replay the events after this id first.
            past: replay the whole history first.
            count: at most this many of the newest past events.
        """
        return self._subscribe(wanted, since, past or since is not None, count, patient)

    @asynccontextmanager
    async def _subscribe(
        self, wanted: EventFilter, since: EventID | None, past: bool, count: int | None, patient: bool
    ) -> AsyncIterator[Subscription]:
        with self._feed.listen(wanted, patient=patient) as subscription:
            if past:
                low = since or EventID(0)
                if count is not None:
                    low = max(low, await self.read(lambda db: queries.event_before_newest(db, wanted, count)))

                async def page(after: EventID) -> list[Event]:
                    return await self.read(lambda db: queries.next_events(db, wanted, since=max(after, low)))

                subscription.replay(page)
            yield subscription

    async def deliver(self) -> None:
        """Hand events to patient subscribers a few at a time, until cancelled, so that they hold up nobody."""
        await self._feed.deliver()

    def close(self) -> None:
        """Fold the write-ahead log back and close every connection."""
        for reader in self._readers:
            reader.close()
        with suppress(sqlite3.Error):  # the next start does it as well
            self._writer.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._writer.close()


@asynccontextmanager
async def open_store(
    settings: StoreSettings, clock: Clock, *, run_blocking: RunBlocking | None = None
) -> AsyncIterator[Store]:
    """Open the database, bring its tables up to date, and keep it open while the block runs.

    Raises:
        DatabaseBroken: the file is damaged, not a database, or from a newer version.
        Unavailable: it is locked or cannot be written.
    """
    run = run_blocking or _in_thread
    await run(partial(prepare, settings))
    store = await run(partial(Store, settings, clock, run))
    try:
        yield store
    finally:
        with trio.CancelScope(shield=True):  # one checkpoint of a small file, in a thread
            await run(store.close)


async def _in_thread(blocking: Callable[[], T], /) -> T:
    return await trio.to_thread.run_sync(blocking)
