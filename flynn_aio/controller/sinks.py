"""Log sinks: where the lines of all apps are sent as well.

Source: `controller-api.md` §5.9; Flynn `controller/sink.go`.
"""

from msgspec.structs import replace

from ..model import Event, Sink, SinkID, decode
from ..store import Database, changes, queries
from . import catchup
from .body import read_json
from .request import EVENT_STREAM, Parts, Reply, Request, Stream, reply
from .shape import EventStream
from .wire import SinkRequest, new_sink

GIVES = list[Sink] | EventStream[Sink]
_MARK = Sink(id=SinkID(""), kind="")


async def list_all(parts: Parts, request: Request) -> Reply | Stream:
    """Return every sink, the one changed last first; or follow them."""
    if EVENT_STREAM in request.accept:
        since = catchup.since(request)

        def backlog(db: Database) -> list[Sink]:
            return [sink for sink in queries.sinks(db) if catchup.is_since(sink.updated_at, since)]

        return catchup.stream(parts, {"sink", "sink_deletion"}, backlog=backlog, mark=_MARK, live=_changed)
    return reply(await parts.store.read(queries.sinks))


async def _changed(event: Event) -> Sink:
    sink = decode(event.data, Sink)
    return replace(sink, config=None) if event.object_type == "sink_deletion" else sink


async def create(parts: Parts, request: Request) -> Reply:
    """Send the lines of all apps to one more place."""
    sink = new_sink(read_json(request, SinkRequest))
    return reply(await parts.store.transact(lambda tx: changes.create_sink(tx, sink)))


async def get(parts: Parts, request: Request) -> Reply:
    """Show a sink."""
    sink_id = SinkID(request.uuid("sink"))
    return reply(await parts.store.read(lambda db: queries.sink(db, sink_id)))


async def delete(parts: Parts, request: Request) -> Reply:
    """Send no more lines to a sink; the answer shows it as it was."""
    sink_id = SinkID(request.uuid("sink"))
    return reply(await parts.store.transact(lambda tx: changes.delete_sink(tx, sink_id)))
