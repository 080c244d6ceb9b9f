"""The store: one SQLite file, one writer at a time, readers beside it.

Only this module opens the database, and nothing here blocks the loop: every statement runs in
a worker thread. A change is a function of a `Transaction`; its rows and events become durable
together (WAL, synchronous=FULL), and the rest of the process learns of them afterwards.
"""

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import trio
from sqlite_utils import Database

from ..clock import Clock
from ..errors import FlynnError, Unavailable
from ..model import Event, EventID, Time
from ..settings import StoreSettings
from ..watch import Watch
from . import queries
from .feed import EventFilter, Feed, Subscription
from .schema import migrations
from .snapshot import copy_database, remove_copy
from .transaction import Transaction

logger = logging.getLogger(__name__)

T = TypeVar("T")

READERS = 2
"""Connections for reading. More than cores would only wait for one another."""


START_ANEW = "restore a backup of it, or move it away to begin with an empty one; nothing was changed"
PRIMARY_CODE = 0xFF
"""The part of SQLite's error codes that is not the detail."""
ADVICE = {
    sqlite3.SQLITE_FULL: "free some space on its disk",
    sqlite3.SQLITE_BUSY: "another program holds it open: end that one",
}
"""What to do about an error that is nobody's mistake; the others are told apart by SQLite's own sentence."""


class DatabaseBroken(FlynnError):
    """The file is not a database of ours, or it is damaged."""


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
        self._writer = _connect(settings)
        self._readers = [_connect(settings, read_only=True) for _ in range(READERS)]
        self._reading = trio.CapacityLimiter(READERS)
        self.changes: Watch[int] = Watch(0)
        """Counts the commits of this process; for loops, which then read what they need."""

    async def transact(self, change: Callable[[Transaction], T]) -> T:
        """Apply one change and its events atomically, then tell the subscribers.

        Cancellation: either the change never began, or it is durable *and* published. The
        worker thread is not abandoned, and no checkpoint stands between commit and publication.

        Raises:
            FlynnError: what the change itself raised; nothing was written.
            Unavailable: the database is locked by somebody else or the disk is full; nothing was written.
        """
        async with self._writing:
            result, events = await self._run_blocking(partial(self._commit, change, self._clock.now()))
            self._feed.publish(events)
            self.changes.set(self.changes.value + 1)
        return result

    def _commit(self, change: Callable[[Transaction], T], now: Time) -> tuple[T, list[Event]]:
        tx = Transaction(self._writer, self._clock, now)
        with self._translated("writing to"), _atomic(self._writer, "BEGIN IMMEDIATE"):
            result = change(tx)
        return result, tx.events

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
        with self._translated("reading"), _atomic(reader, "BEGIN"):
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
        return _translated(doing, self._settings)

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
    await run(partial(_prepare, settings))
    store = await run(partial(Store, settings, clock, run))
    try:
        yield store
    finally:
        with trio.CancelScope(shield=True):  # one checkpoint of a small file, in a thread
            await run(store.close)


async def _in_thread(blocking: Callable[[], T], /) -> T:
    return await trio.to_thread.run_sync(blocking)


def _prepare(settings: StoreSettings) -> None:
    settings.path.parent.mkdir(parents=True, exist_ok=True)
    remove_copy(settings.path)
    _make_private(settings.path)
    with _translated("opening", settings), closing(_connect(settings)) as db:
        db.conn.execute("PRAGMA journal_mode = WAL")
        if problems := [row[0] for row in db.conn.execute("PRAGMA quick_check(3)") if row[0] != "ok"]:
            raise DatabaseBroken(
                f"opening the database {settings.path}: it is damaged ({'; '.join(problems)}); {START_ANEW}"
            )
        with closing(Database(memory=True)) as empty:
            shipped = {migration.name for migration in migrations.pending(empty)}
        if newer := [step.name for step in migrations.applied(db) if step.name not in shipped]:
            raise DatabaseBroken(
                f"opening the database {settings.path}: a newer version has taken the steps {', '.join(newer)}; "
                "start that version, or restore a backup from before"
            )
        migrations.apply(db)


def _make_private(path: Path) -> None:
    """Let nobody else read the database: it has passwords and TLS keys in it. SQLite makes what lies beside it alike.

    Raises:
        Unavailable: the file cannot be made, or is somebody else's.
    """
    try:
        path.touch(mode=0o600)
        for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            if file.exists() and file.stat().st_mode & 0o077:  # an older version's
                file.chmod(0o600)
    except OSError as exc:
        raise Unavailable(
            f"opening the database {path}: {exc.strerror}; look at its disk, and whether it may be written"
        ) from exc


def _connect(settings: StoreSettings, *, read_only: bool = False) -> Database:
    conn = sqlite3.connect(
        settings.path, timeout=settings.busy_timeout_s, isolation_level=None, check_same_thread=False
    )
    try:
        conn.execute("PRAGMA synchronous = FULL")  # an acknowledged change survives a power cut
        conn.execute("PRAGMA foreign_keys = ON")
        if read_only:
            conn.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        conn.close()
        raise
    return Database(conn)


@contextmanager
def _atomic(db: Database, begin: str) -> Iterator[None]:
    """Like `Database.atomic`, with the kind of transaction said: a writer takes its lock at the start."""
    db.conn.execute(begin)
    try:
        yield
        db.conn.execute("COMMIT")
    except BaseException:
        if db.conn.in_transaction:
            db.conn.execute("ROLLBACK")
        raise


@contextmanager
def _translated(doing: str, settings: StoreSettings) -> Iterator[None]:
    what = f"{doing} the database {settings.path}"
    try:
        yield
    except sqlite3.OperationalError as exc:
        code = getattr(exc, "sqlite_errorcode", 0)  # Python's own complaints have none
        advice = ADVICE.get(code & PRIMARY_CODE, "look at its disk, and whether it may be written")
        raise Unavailable(f"{what}: {exc}; {advice}; nothing was changed, and the apps go on") from exc
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):  # mistakes of ours
        raise
    except sqlite3.DatabaseError as exc:
        raise DatabaseBroken(f"{what}: {exc}; {START_ANEW}") from exc
