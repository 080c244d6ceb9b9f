"""File: the database file made private, migrated, connected to, and its errors told in sentences."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

from ..errors import FlynnError, Unavailable
from ..settings import StoreSettings
from .schema import migrations
from .snapshot import remove_copy

START_ANEW = "restore a backup of it, or move it away to begin with an empty one; nothing was changed"
PRIMARY_CODE = 0xFF
"""The part of SQLite's error codes that is not the detail."""
ADVICE = {
    sqlite3.SQLITE_FULL: "free some space on its disk",
    sqlite3.SQLITE_BUSY: "another program holds it open: end that one",
}
"""What to do about an error that is nobody's mistake; the others are told apart by SQLite's own sentence."""
UNCHANGED = "nothing was changed, and the apps go on"


class DatabaseBroken(FlynnError):
    """The file is not a database of ours, or it is damaged."""


def prepare(settings: StoreSettings) -> None:
    """Make the file, or look whether it is whole, and bring its tables up to date. Blocks.

    Raises:
        DatabaseBroken: it is damaged, not a database, or from a newer version.
        Unavailable: it is locked or cannot be written.
    """
    settings.path.parent.mkdir(parents=True, exist_ok=True)
    remove_copy(settings.path)
    _make_private(settings.path)
    with translated("opening", settings), closing(connect(settings)) as db:
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


def connect(settings: StoreSettings, *, read_only: bool = False) -> Database:
    """Open a connection that any one thread at a time may use. Blocks."""
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
def atomic(db: Database, begin: str) -> Iterator[None]:
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
def translated(doing: str, settings: StoreSettings) -> Iterator[None]:
    """Turn SQLite's errors into ours; mistakes of ours stay as they are."""
    what = f"{doing} the database {settings.path}"
    try:
        yield
    except sqlite3.OperationalError as exc:
        code = getattr(exc, "sqlite_errorcode", 0)  # Python's own complaints have none
        advice = ADVICE.get(code & PRIMARY_CODE, "look at its disk, and whether it may be written")
        raise Unavailable(f"{what}: {exc}; {advice}; {UNCHANGED}") from exc
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):  # mistakes of ours
        raise
    except sqlite3.DatabaseError as exc:
        raise DatabaseBroken(f"{what}: {exc}; {START_ANEW}") from exc
