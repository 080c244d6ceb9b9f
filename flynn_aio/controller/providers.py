"""Providers: register one, look at them."""

from ..store import changes, queries
from .body import read_json
from .request import Parts, Reply, Request, reply
from .wire import ProviderRequest, new_provider


async def list_all(parts: Parts, request: Request) -> Reply:
    """Return every provider, newest first."""
    return reply(await parts.store.read(queries.providers))


async def get(parts: Parts, request: Request) -> Reply:
    """Return one provider, named by its id or its name."""
    return reply(await parts.store.read(lambda db: queries.provider(db, request.params["provider"])))


async def create(parts: Parts, request: Request) -> Reply:
    """Register a provider. It is not asked anything yet: it may well be started later."""
    wanted = new_provider(read_json(request, ProviderRequest))
    return reply(await parts.store.transact(lambda tx: changes.create_provider(tx, name=wanted.name, url=wanted.url)))
