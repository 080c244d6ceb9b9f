"""Changes to log sinks."""

from msgspec.structs import replace

from ...errors import ObjectExists
from ...model import Sink, SinkID
from .. import queries, rows
from ..transaction import Transaction


def create_sink(tx: Transaction, sink: Sink) -> Sink:
    """Create a sink. It is given an id when it has none.

    Raises:
        ObjectExists: there is one with this id.
    """
    created = replace(sink, id=sink.id or SinkID(tx.new_id()), created_at=tx.now, updated_at=tx.now)
    if tx.execute("SELECT 1 FROM sinks WHERE id = ?", (created.id,)):
        raise ObjectExists(f"sink {created.id!r} already exists")
    tx.execute("INSERT INTO sinks (id, doc) VALUES (?, ?)", (created.id, rows.doc(created)))
    tx.emit("sink", created.id, created)
    return created


def delete_sink(tx: Transaction, sink_id: SinkID) -> Sink:
    """Remove a sink and return it as it was.

    Raises:
        NotFound: there is none.
    """
    sink = queries.sink(tx.db, sink_id)
    tx.execute("DELETE FROM sinks WHERE id = ?", (sink_id,))
    tx.emit("sink_deletion", sink_id, sink)
    return sink
