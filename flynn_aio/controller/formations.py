"""Formations: how many of each process type are wanted, and the requests to change it."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ValidationError
from ..model import (
    Event,
    ExpandedFormation,
    Formation,
    ReleaseID,
    ScaleRequest,
    ScaleRequestID,
    ScaleState,
    Time,
    decode,
)
from ..store import Database, Transaction, changes, queries
from . import catchup
from .body import read_json
from .request import EMPTY, EVENT_STREAM, Parts, Reply, Request, Stream, reply
from .shape import EventStream, Param
from .wire import FormationRequest, ScaleRequestBody, check_counts, check_tags, one_of

LIST = list[ExpandedFormation] | EventStream[ExpandedFormation]
LIST_PARAMS = (
    Param("active", "list: must be `true`, only formations that want a job can be listed", bool),
    catchup.SINCE,
)
GIVES = Formation | ExpandedFormation
PARAMS = (Param("expand", "show the app, the release and its artifacts instead of their ids", bool),)
_MARK = {"updated_at": "0001-01-01T00:00:00Z"}


async def list_many(parts: Parts, request: Request) -> Reply | Stream:
    """Return every formation that wants a job, with all it refers to, the one changed last first; or follow all."""
    if EVENT_STREAM in request.accept:
        return _follow(parts, catchup.since(request))
    if request.first("active") != "true":
        raise ValidationError("must either request a stream or only active formations")
    return reply(await parts.store.read(queries.active_formations))


def _follow(parts: Parts, since: Time) -> Stream:
    """Return formations as they are after each scale request; one that was deleted is, and wants nothing."""

    def backlog(db: Database) -> list[ExpandedFormation]:
        found = [one for one in queries.expanded_formations(db) if catchup.is_since(one.updated_at, since)]
        return _newest_first(found)

    async def live(event: Event) -> ExpandedFormation | None:
        request = decode(event.data, ScaleRequest)

        def query(db: Database) -> ExpandedFormation | None:
            found = queries.find_formation(db, request.app, request.release)
            return queries.expanded_formation(db, found) if found else queries.deleted_formation(db, request)

        return await parts.store.read(query)

    return catchup.stream(parts, {"scale_request"}, backlog=backlog, mark=_MARK, live=live)


def _newest_first(formations: list[ExpandedFormation]) -> list[ExpandedFormation]:
    return sorted(formations, key=lambda one: one.updated_at.timestamp() if one.updated_at else 0.0, reverse=True)


async def list_of_app(parts: Parts, request: Request) -> Reply:
    """List how many of each process type of an app are wanted, release by release."""
    return reply(await parts.store.read(lambda db: queries.formations(db, queries.app(db, request.app).id)))


async def get(parts: Parts, request: Request) -> Reply:
    """Show how many of each process type of a release are wanted."""
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
    check_tags(sent.tags, field="tags")

    def change(tx: Transaction) -> Formation:
        app = queries.app(tx.db, request.app)
        with _room_for_all(parts, tx, field="processes"):
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
    """Scale a release to nothing and forget what was wanted of it."""
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
    check_tags(sent.new_tags, field="new_tags")

    def change(tx: Transaction) -> ScaleRequest:
        app = queries.app(tx.db, request.app)
        match state:
            case ScaleState.PENDING:
                with _room_for_all(parts, tx, field="new_processes"):
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


@contextmanager
def _room_for_all(parts: Parts, tx: Transaction, *, field: str) -> Iterator[None]:
    """Let a change ask for more jobs only as long as the jobs' network has room for those of all apps.

    Raises:
        ValidationError: it has not, so some would wait for ever.
    """
    before, room = queries.wanted_jobs(tx.db), parts.settings.max_jobs
    yield
    wanted = queries.wanted_jobs(tx.db)
    if wanted > max(before, room):
        raise ValidationError(
            f"would make {wanted} jobs of all apps together; the jobs' network has room for {room}", field=field
        )
