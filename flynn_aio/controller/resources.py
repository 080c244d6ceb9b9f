"""Resources: what providers made for apps.

Nothing here touches a release: what a resource's env says reaches an app when a client puts it into one.

Source: `controller-api.md` §5.7; Flynn `controller/resource.go`.
"""

from collections.abc import Callable

from ..errors import NotFound, ValidationError
from ..model import DATABASE_PROVIDERS, AppID, Provider, Resource, ResourceID, ResourceReq
from ..store import Database, Transaction, changes, queries
from .background import outliving
from .body import read_json
from .provisioning import deprovision, provision
from .request import Parts, Reply, Request, reply
from .shape import Param
from .wire import ResourceRequest, new_resource, raw_config

FORGET = (Param("forget", "do not ask the provider, which is gone for good, to remove it", bool),)


async def list_all(parts: Parts, request: Request) -> Reply:
    """Return every resource, newest first."""
    return reply(await parts.store.read(queries.resources))


async def list_of_provider(parts: Parts, request: Request) -> Reply:
    """Return what a provider made, newest first."""
    return reply(await parts.store.read(lambda db: queries.resources(db, _provider(db, request).id)))


async def list_of_app(parts: Parts, request: Request) -> Reply:
    """Return what an app uses, alone or with others, newest first."""
    return reply(await parts.store.read(lambda db: queries.app_resources(db, queries.app(db, request.app).id)))


async def get(parts: Parts, request: Request) -> Reply:
    """Return one resource of a provider."""
    return reply(await parts.store.read(lambda db: _resource(db, request)))


async def create(parts: Parts, request: Request) -> Reply:
    """Have a resource made. The provider goes on, and the resource is kept, also when the client leaves meanwhile."""
    sent = read_json(request, ResourceReq)
    config = raw_config(request.body)
    provider = await parts.store.read(lambda db: _provider_to_ask(db, request))
    made: Resource = await outliving(parts.background, lambda: provision(parts, provider, sent.apps, config))
    return reply(made)


async def put(parts: Parts, request: Request) -> Reply:
    """Register what was made by somebody else, under the id of the path."""
    resource_id = ResourceID(request.uuid("resource"))
    told = new_resource(read_json(request, ResourceRequest))

    def change(tx: Transaction) -> Resource:
        wanted = Resource(
            id=resource_id,
            provider=_provider(tx.db, request).id,
            external_id=told.external_id,
            env=told.env,
            apps=[AppID(app) for app in told.apps],
        )
        return changes.create_resource(tx, wanted)

    return reply(await parts.store.transact(change))


async def delete(parts: Parts, request: Request) -> Reply:
    """Give a resource back and answer with what it was: clients clear away its env by that.

    With `forget` its provider, which is gone for good, is not asked. Flynn cannot do without one.
    """

    def query(db: Database) -> tuple[Provider, Resource]:
        return _provider(db, request), _resource(db, request)

    provider, resource = await parts.store.read(query)
    if request.first("forget") == "true":
        return reply(await parts.store.transact(lambda tx: changes.delete_resource(tx, resource)))
    gone: Resource = await outliving(parts.background, lambda: deprovision(parts, provider, resource))
    return reply(gone)


async def add_app(parts: Parts, request: Request) -> Reply:
    """Let one more app share a resource."""
    return await _shared(parts, request, changes.add_resource_app)


async def remove_app(parts: Parts, request: Request) -> Reply:
    """Let an app share a resource no longer."""
    return await _shared(parts, request, changes.remove_resource_app)


async def _shared(parts: Parts, request: Request, share: Callable[[Transaction, Resource, AppID], Resource]) -> Reply:
    def change(tx: Transaction) -> Resource:
        return share(tx, _resource(tx.db, request), queries.app(tx.db, request.app).id)

    return reply(await parts.store.transact(change))


def _provider(db: Database, request: Request) -> Provider:
    return queries.provider(db, request.params["provider"])


def _provider_to_ask(db: Database, request: Request) -> Provider:
    name = request.params["provider"]
    try:
        return _provider(db, request)
    except NotFound:
        if name not in DATABASE_PROVIDERS:
            raise
        raise ValidationError(
            f"there is no provider {name!r} here yet: this version brings no databases of its own. "
            f"Register one that you run elsewhere with `flynn provider add {name} <url>`"
        ) from None


def _resource(db: Database, request: Request) -> Resource:
    return queries.resource(db, _provider(db, request).id, request.uuid("resource"))
