"""Events: one, a page of a list, a page of a replay."""

from collections.abc import Sequence
from contextlib import closing

from sqlite_utils import Database

from ...model import Event, EventID
from .. import rows
from ..feed import EventFilter
from . import pages
from .sql import fetch_all, fetch_one


def newest_event(db: Database) -> EventID:
    """Return the id of the newest event; 0 when there is none."""
    return EventID(fetch_all(db, "SELECT coalesce(max(id), 0) FROM events")[0][0])


def event(db: Database, event_id: int) -> Event:
    sql = "SELECT id, app, object_type, object_id, data, created_at FROM events WHERE id = ?"
    return rows.event(fetch_one(db, "event", event_id, sql, (event_id,)))


def events(
    db: Database,
    wanted: EventFilter,
    *,
    before: EventID | None = None,
    since: EventID | None = None,
    count: int | None = None,
) -> list[Event]:
    """Return a page of matching events, newest first, at most `count`; `before` and `since` are exclusive.

    The next page is before the last of this one; an empty one is the end.
    """
    limit = pages.EVENTS_PAGE if count is None else min(count, pages.EVENTS_PAGE)
    where, values = _matching(wanted, before=before, since=since)
    return _events(db, f"WHERE {where} ORDER BY id DESC LIMIT {limit}", values)


def next_events(db: Database, wanted: EventFilter, *, since: EventID) -> list[Event]:
    """Return a page of the matching events after `since`, oldest first."""
    where, values = _matching(wanted, since=since)
    return _events(db, f"WHERE {where} ORDER BY id LIMIT {pages.EVENTS_PAGE}", values)


def event_before_newest(db: Database, wanted: EventFilter, count: int) -> EventID:
    """Return the id of the matching event right before the `count` newest ones; 0 when there are no more than these."""
    where, values = _matching(wanted)
    found = fetch_all(db, f"SELECT id FROM events WHERE {where} ORDER BY id DESC LIMIT 1 OFFSET ?", (*values, count))
    return EventID(found[0][0] if found else 0)


def _matching(
    wanted: EventFilter, *, before: EventID | None = None, since: EventID | None = None
) -> tuple[str, list[object]]:
    """Return a condition for events, and its values."""
    types = sorted(wanted.object_types)
    conditions: list[tuple[str, list[object]]] = [
        ("app = ?", [wanted.app] if wanted.app is not None else []),
        ("object_id = ?", [wanted.object_id] if wanted.object_id is not None else []),
        (f"object_type IN ({', '.join('?' * len(types))})", [*types]),
        ("id < ?", [before] if before is not None else []),
        ("id > ?", [since] if since is not None else []),
    ]
    used = [(text, values) for text, values in conditions if values]
    where = " AND ".join(text for text, _ in used) or "1"
    return where, [value for _, values in used for value in values]


def _events(db: Database, which: str, values: Sequence[object]) -> list[Event]:
    """Return events up to a page full of bytes."""
    sql = f"SELECT id, app, object_type, object_id, data, created_at FROM events {which}"
    page: list[Event] = []
    size = 0
    with closing(db.conn.execute(sql, values)) as found:
        for row in found:
            page.append(rows.event(row))
            size += len(page[-1].data)
            if size >= pages.EVENTS_PAGE_BYTES:
                break
    return page
