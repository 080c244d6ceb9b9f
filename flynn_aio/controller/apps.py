"""Apps: create, look at, change, delete."""

import logging

from ..model import App, AppID
from ..store import Transaction, changes, queries
from .body import read_json, read_object
from .request import EMPTY, Parts, Reply, Request, reply
from .wire import AppRequest, app_update, new_app

logger = logging.getLogger(__name__)


async def list_all(parts: Parts, request: Request) -> Reply:
    """List the apps that are there."""
    return reply(await parts.store.read(queries.apps))


async def get(parts: Parts, request: Request) -> Reply:
    """Show an app."""
    return reply(await parts.store.read(lambda db: queries.app(db, request.app)))


async def create(parts: Parts, request: Request) -> Reply:
    """Create an app with its default route; without a name it gets one."""
    app = new_app(read_json(request, AppRequest))
    domain = parts.settings.domain
    return reply(await parts.store.transact(lambda tx: changes.create_app(tx, app, route_domain=domain)))


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
    """Delete an app with all it has. Its jobs are stopped afterwards: nothing wants them any more."""

    def change(tx: Transaction) -> AppID:
        app = queries.app(tx.db, request.app)
        changes.delete_app(tx, app.id)
        return app.id

    app_id = await parts.store.transact(change)
    parts.background.start_soon(_forget_output, parts, app_id)
    return EMPTY


async def _forget_output(parts: Parts, app_id: AppID) -> None:
    try:
        await parts.logs.forget(app_id)
    except OSError:
        logger.warning("the logs of a deleted app are still there; the next start removes them", exc_info=True)
