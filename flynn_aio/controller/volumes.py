"""Volumes: look at them, follow them, give one to no new job any more.

They are made and removed by the scheduler. `PUT /volumes/:volume` is how Flynn's own scheduler
tells of them; it is here for whoever speaks that API.

Source: `controller-api.md` §5.9; Flynn `controller/volume.go`.
"""

from msgspec.structs import replace

from ..errors import NotFound
from ..model import Event, Volume, as_uuid, decode
from ..store import Database, Transaction, changes, queries
from . import catchup
from .body import read_json
from .request import EVENT_STREAM, Parts, Reply, Request, Stream, reply
from .shape import EventStream
from .wire import VolumeRequest, new_volume

GIVES = list[Volume] | EventStream[Volume]


async def list_all(parts: Parts, request: Request) -> Reply | Stream:
    """Return the volumes of all apps, destroyed ones too, the one changed last first; or follow them."""
    if EVENT_STREAM in request.accept:
        since = catchup.since(request)

        def backlog(db: Database) -> list[Volume]:
            return queries.volumes(db, since=since)

        return catchup.stream(parts, {"volume"}, backlog=backlog, mark=VolumeRequest(), live=_changed)
    return reply(await parts.store.read(queries.volumes))


async def _changed(event: Event) -> Volume:
    return decode(event.data, Volume)


async def list_of_app(parts: Parts, request: Request) -> Reply:
    """List the volumes of an app, the one changed last first."""
    return reply(await parts.store.read(lambda db: queries.volumes(db, queries.app(db, request.app).id)))


async def get(parts: Parts, request: Request) -> Reply:
    """Show a volume of an app."""
    volume_id = request.uuid("volume")
    return reply(await parts.store.read(lambda db: queries.volume(db, queries.app(db, request.app).id, volume_id)))


async def put(parts: Parts, request: Request) -> Reply:
    """Tell of a volume: of a new one everything, of a known one which job has it."""
    volume = new_volume(read_json(request, VolumeRequest), request.uuid("volume"))
    return reply(await parts.store.transact(lambda tx: changes.put_volume(tx, volume)))


async def decommission(parts: Parts, request: Request) -> Reply:
    """Give a volume to no new job. The body says which one, and comes back with the time, as in Flynn."""
    sent = read_json(request, VolumeRequest)
    named = sent.id or request.params["volume"]
    volume_id = as_uuid(named)

    def change(tx: Transaction) -> Volume:
        app = queries.app(tx.db, request.app)
        if volume_id is None:
            raise NotFound(f"volume {named!r} does not exist: its id is not a UUID")
        return changes.decommission_volume(tx, app.id, volume_id)

    done = await parts.store.transact(change)
    return reply(replace(sent, id=done.id, updated_at=done.updated_at, decommissioned_at=done.decommissioned_at))
