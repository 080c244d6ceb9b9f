"""Deployments: begin one, look at them. The scheduler carries them out."""

from ..model import Deployment
from ..store import Transaction, changes, queries
from .body import read_json
from .releases import existing_release
from .request import Parts, Reply, Request, reply
from .wire import ReleaseRef


async def create(parts: Parts, request: Request) -> Reply:
    """Begin a deployment; it is over at once when nothing of the old release runs."""
    wanted = read_json(request, ReleaseRef)

    def change(tx: Transaction) -> Deployment:
        app = queries.app(tx.db, request.app)
        return changes.create_deployment(tx, app.id, existing_release(tx, wanted))

    return reply(await parts.store.transact(change))


async def list_of_app(parts: Parts, request: Request) -> Reply:
    """List the deployments of an app."""
    return reply(await parts.store.read(lambda db: queries.deployments(db, queries.app(db, request.app).id)))


async def get(parts: Parts, request: Request) -> Reply:
    """Show a deployment."""
    deployment_id = request.uuid("deployment")
    return reply(await parts.store.read(lambda db: queries.deployment(db, deployment_id)))
