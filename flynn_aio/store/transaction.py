"""Transaction: what a change is given to work with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw
from sqlite_utils import Database

from ..clock import Clock
from ..model import AppID, Event, EventID, Time, encode

Row = tuple[Any, ...]


@dataclass(slots=True)
class Transaction:
    """One change in the making: its database, its moment, and the events it caused so far.

    Attributes:
        now: one moment for the whole change.
        events: what `emit` collected; published once the change is durable.
    """

    db: Database
    clock: Clock
    now: Time
    events: list[Event] = field(default_factory=list)

    def new_id(self) -> str:
        return self.clock.new_id()

    def execute(self, sql: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        """Run one statement and return its rows."""
        return self.db.conn.execute(sql, values).fetchall()

    def emit(self, object_type: str, object_id: str, data: object, *, app: AppID | None = None) -> None:
        """Write an event about a noun; `data` is the noun, or what the event says of it."""
        body = encode(data)
        [(event_id,)] = self.execute(
            "INSERT INTO events (app, object_type, object_id, data, created_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
            (app, object_type, object_id, body.decode(), str(self.now)),
        )
        self.events.append(
            Event(
                id=EventID(event_id),
                app=app,
                object_type=object_type,
                object_id=object_id,
                data=Raw(body),
                created_at=self.now,
            )
        )
