"""Apps: create, look at, change, delete."""

from collections.abc import Awaitable, Callable

from ..model import App, AppID
from ..store import Transaction, changes, queries
from .body import read_json, read_object
from .provisioning import delete_app_in_background, forget_output
from .request import EMPTY, JSON, Parts, Reply, Request, reply
from .wire import AppRequest, app_update, new_app


async def list_all(parts: Parts, request: Request) -> Reply:
    """List the apps that are there."""
    return Reply(await parts.store.read(queries.apps_json), JSON)


async def get(parts: Parts, request: Request) -> Reply:
    """Show an app."""
    return reply(await parts.store.read(lambda db: queries.app(db, request.app)))


async def create(parts: Parts, request: Request) -> Reply:
    """Create an app with its default route; without a name it gets one."""
    app = new_app(read_json(request, AppRequest))
    return reply(await parts.store.transact(lambda tx: changes.create_app(tx, app, route_domain=queries.domain(tx.db))))


async def update(parts: Parts, request: Request) -> Reply:
    """Change meta (as a whole), strategy or deploy timeout; anything else in the body is as it was."""
    wanted = app_update(read_object(request))

    def change(tx: Transaction) -> App:
        app = queries.app(tx.db, request.app)
        return changes.update_app(
            tx, app.id, meta=wanted.meta, strategy=wanted.strategy, deploy_timeout=wanted.deploy_timeout
        )

    return reply(await parts.store.transact(change))


async def delete(parts: Parts, request: Request) -> Reply:
    """Delete an app with all it has. Its jobs are stopped afterwards: nothing wants them any more.

    What providers made for it alone is given back first, which takes its time: the `app_deletion` event tells the end.
    """

    def change(tx: Transaction) -> tuple[AppID, Callable[[Parts, AppID], Awaitable[None]] | None]:
        app = queries.app(tx.db, request.app)
        if queries.own_resources(tx.db, app.id):
            return app.id, delete_app_in_background if changes.begin_app_deletion(tx, app.id) else None
        changes.delete_app(tx, app.id)
        return app.id, forget_output

    app_id, rest = await parts.store.transact(change)
    if rest is not None:
        parts.background.start_soon(rest, parts, app_id)
    return EMPTY


async def collect(parts: Parts, request: Request) -> Reply:
    """Delete the app's old slug releases; the `app_garbage_collection` event says which."""

    def change(tx: Transaction) -> None:
        changes.collect_releases(tx, queries.app(tx.db, request.app).id)

    await parts.store.transact(change)
    return EMPTY
