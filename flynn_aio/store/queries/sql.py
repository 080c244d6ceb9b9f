"""How every question here is asked: one statement, all its rows or exactly one."""

from collections.abc import Collection, Sequence

from sqlite_utils import Database

from ...errors import NotFound
from ...model import AppID
from .. import rows
from ..rows import Row


def fetch_all(db: Database, sql: str, values: Sequence[object] = ()) -> list[Row]:
    return db.conn.execute(sql, values).fetchall()


def fetch_one(db: Database, what: str, key: object, sql: str, values: Sequence[object]) -> Row:
    row: Row | None = db.conn.execute(sql, values).fetchone()
    if row is None:
        raise NotFound(f"{what} {key!r} does not exist")
    return row


def of_apps(column: str, apps: Collection[AppID] | None) -> tuple[str, tuple[str, ...]]:
    """Return the condition that a column is one of these apps, and its values; ``None`` means any."""
    if apps is None:
        return "TRUE", ()
    return f"{column} IN (SELECT value FROM json_each(?))", (rows.doc(list(apps)),)
