"""How every question here is asked: one statement, all its rows or exactly one."""

from collections.abc import Sequence

from sqlite_utils import Database

from ...errors import NotFound
from ..rows import Row


def fetch_all(db: Database, sql: str, values: Sequence[object] = ()) -> list[Row]:
    return db.conn.execute(sql, values).fetchall()


def fetch_one(db: Database, what: str, key: object, sql: str, values: Sequence[object]) -> Row:
    row: Row | None = db.conn.execute(sql, values).fetchone()
    if row is None:
        raise NotFound(f"{what} {key!r} does not exist")
    return row
