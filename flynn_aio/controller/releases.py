"""Releases: create, look at, make current, delete."""

from ..engine import limits_refusal, open_files_at_most, refusal
from ..errors import NotFound, ValidationError
from ..model import Release, ReleaseID, as_uuid
from ..store import Transaction, changes, queries
from .body import read_json
from .request import EMPTY, Parts, Reply, Request, reply
from .wire import ReleaseRef, ReleaseRequest, new_release


async def list_all(parts: Parts, request: Request) -> Reply:
    """List the releases of all apps."""
    return reply(await parts.store.read(queries.releases))


async def list_of_app(parts: Parts, request: Request) -> Reply:
    """List the releases of an app."""
    return reply(await parts.store.read(lambda db: queries.app_releases(db, queries.app(db, request.app).id)))


async def get(parts: Parts, request: Request) -> Reply:
    """Show a release, whichever app it is of."""
    release_id = request.uuid("release")
    return reply(await parts.store.read(lambda db: queries.release(db, release_id)))


async def get_current(parts: Parts, request: Request) -> Reply:
    """Show an app's current release."""
    return reply(await parts.store.read(lambda db: queries.current_release(db, queries.app(db, request.app).id)))


async def create(parts: Parts, request: Request) -> Reply:
    """Create a release of an app; it does not run before it is deployed or scaled."""
    release = new_release(read_json(request, ReleaseRequest))
    nr_open = open_files_at_most()
    for name, process in release.processes.items():
        refused = refusal(process, parts.settings.host_features) or limits_refusal(process.resources, nr_open=nr_open)
        if refused:
            raise ValidationError(refused.text, field=f"processes.{name}.{refused.field}")

    def change(tx: Transaction) -> Release:
        try:
            queries.app(tx.db, release.app_id)
        except NotFound as error:
            raise ValidationError(f"names the app {release.app_id!r}, which does not exist", field="app_id") from error
        return changes.create_release(tx, release)

    return reply(await parts.store.transact(change))


async def set_current(parts: Parts, request: Request) -> Reply:
    """Make a release the current one without moving any job to it."""
    wanted = read_json(request, ReleaseRef)

    def change(tx: Transaction) -> Release:
        app = queries.app(tx.db, request.app)
        return changes.set_app_release(tx, app.id, existing_release(tx, wanted))

    return reply(await parts.store.transact(change))


async def delete(parts: Parts, request: Request) -> Reply:
    """Delete a release that is not the current one; how that went is told by an event."""
    release_id = ReleaseID(request.uuid("release"))

    def change(tx: Transaction) -> None:
        changes.delete_release(tx, queries.app(tx.db, request.app).id, release_id)

    await parts.store.transact(change)
    return EMPTY


def existing_release(tx: Transaction, wanted: ReleaseRef) -> ReleaseID:
    """Return the id of the release a body names.

    Raises:
        ValidationError: there is no such release. A 404 would read as if the app were missing.
    """
    try:
        return queries.release(tx.db, as_uuid(wanted.id) or "").id
    except NotFound as error:
        raise ValidationError(f"could not find release with ID {wanted.id}") from error
