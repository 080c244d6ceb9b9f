"""What tests of resources have in common: how one is asked for, and what was told of it."""

from flynn_aio.model import decode
from flynn_aio.store import EventFilter, queries

UNKNOWN = "11111111-2222-4333-8444-555555555555"


async def provisioned(client, *apps, config=None):
    response = await client.post("/providers/things/resources", {"apps": list(apps), "config": config})
    assert response.status == 200, response
    return response.json()


async def history(store, *types):
    """Return the events so far, oldest first, as (type, app, data)."""
    found = await store.read(lambda db: queries.events(db, EventFilter(object_types=frozenset(types))))
    return [(event.object_type, event.app, decode(bytes(event.data), dict)) for event in found[::-1]]
