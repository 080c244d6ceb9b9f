"""Formations: how many of each process type are wanted, and the requests to change it."""

from ..errors import ValidationError
from ..model import ExpandedFormation, Formation, ReleaseID, ScaleRequest, ScaleRequestID, ScaleState, Time
from ..store import Database, Transaction, changes, queries
from .body import read_json
from .request import EMPTY, Parts, Reply, Request, reply
from .shape import Param
from .wire import FormationRequest, ScaleRequestBody, check_counts, one_of

ACTIVE = (Param("active", "must be `true`: only formations that want a job can be listed", bool),)
GIVES = Formation | ExpandedFormation
PARAMS = (Param("expand", "show the app, the release and its artifacts instead of their ids", bool),)


async def list_active(parts: Parts, request: Request) -> Reply:
    """Return every formation that wants a job, with all it refers to, the one changed last first."""
    if request.first("active") != "true":
        raise ValidationError("must either request a stream or only active formations")

    def query(db: Database) -> list[ExpandedFormation]:
        active = [one for one in queries.desired(db).formations if sum(one.processes.values()) > 0]
        return sorted(active, key=lambda one: one.updated_at or Time.min, reverse=True)

    return reply(await parts.store.read(query))


async def list_of_app(parts: Parts, request: Request) -> Reply:
    return reply(await parts.store.read(lambda db: queries.formations(db, queries.app(db, request.app).id)))


async def get(parts: Parts, request: Request) -> Reply:
    release_id = ReleaseID(request.uuid("release"))

    def query(db: Database) -> Formation | ExpandedFormation:
        found = queries.formation(db, queries.app(db, request.app).id, release_id)
        return queries.expanded_formation(db, found) if request.first("expand") == "true" else found

    return reply(await parts.store.read(query))


async def put(parts: Parts, request: Request) -> Reply:
    """Change the counts that are named, or set all to 0 when none are. The answer echoes the request."""
    release_id = ReleaseID(request.uuid("release"))
    sent = read_json(request, FormationRequest)
    check_counts(sent.processes, field="processes")

    def change(tx: Transaction) -> Formation:
        app = queries.app(tx.db, request.app)
        changes.put_formation(tx, app.id, release_id, sent.processes, sent.tags)
        stored = queries.formation(tx.db, app.id, release_id)
        return Formation(
            app=app.id,
            release=release_id,
            processes=sent.processes or {},
            tags=sent.tags or {},
            created_at=stored.created_at,
            updated_at=stored.updated_at,
        )

    return reply(await parts.store.transact(change))


async def delete(parts: Parts, request: Request) -> Reply:
    release_id = ReleaseID(request.uuid("release"))

    def change(tx: Transaction) -> None:
        changes.delete_formation(tx, queries.app(tx.db, request.app).id, release_id)

    await parts.store.transact(change)
    return EMPTY


async def scale(parts: Parts, request: Request) -> Reply:
    """Ask for other counts or tags, or say what became of such a request."""
    release_id = ReleaseID(request.uuid("release"))
    sent = read_json(request, ScaleRequestBody)
    state = ScaleState(one_of(sent.state, ScaleState, field="state"))
    check_counts(sent.new_processes, field="new_processes")

    def change(tx: Transaction) -> ScaleRequest:
        app = queries.app(tx.db, request.app)
        match state:
            case ScaleState.PENDING:
                return changes.create_scale_request(tx, app.id, release_id, sent.new_processes, sent.new_tags)
            case ScaleState.COMPLETE:
                changes.complete_scale_request(tx, ScaleRequestID(sent.id))
            case ScaleState.CANCELLED:
                changes.cancel_scale_request(tx, ScaleRequestID(sent.id))
        return ScaleRequest(
            id=ScaleRequestID(sent.id),
            app=app.id,
            release=release_id,
            state=state,
            new_processes=sent.new_processes,
            new_tags=sent.new_tags,
            created_at=None,
            updated_at=tx.now,
        )

    return reply(await parts.store.transact(change))
