"""Where the log of the cluster goes."""

from sqlite_utils import Database

from ...model import Sink, SinkID
from .. import rows
from .sql import fetch_all, fetch_one


def sink(db: Database, sink_id: SinkID) -> Sink:
    return rows.sink(fetch_one(db, "sink", sink_id, "SELECT doc FROM sinks WHERE id = ?", (sink_id,))[0])


def sinks(db: Database) -> list[Sink]:
    return [rows.sink(text) for (text,) in fetch_all(db, "SELECT doc FROM sinks ORDER BY seq DESC")]
