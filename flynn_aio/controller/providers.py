"""Providers: register one, look at them, forget one."""

from ..model import Provider
from ..store import Transaction, changes, queries
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


async def delete(parts: Parts, request: Request) -> Reply:
    """Forget a provider of which no resource is left. Flynn has no such thing; a slip in a URL needs it."""

    def change(tx: Transaction) -> Provider:
        return changes.delete_provider(tx, queries.provider(tx.db, request.params["provider"]))

    return reply(await parts.store.transact(change))
