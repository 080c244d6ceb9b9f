"""Providers and resources as rows: what is kept in which order, and what cannot be forgotten by accident."""

import pytest

from flynn_aio.errors import Conflict, NotFound, ValidationError
from flynn_aio.model import Resource
from flynn_aio.store import changes, queries

from ..support.build import make_app


@pytest.fixture
async def provider(store):
    return await store.transact(lambda tx: changes.create_provider(tx, name="things", url="http://things/"))


async def make(store, provider, external_id, *apps):
    def change(tx):
        wanted = Resource(id=tx.new_id(), provider=provider.id, external_id=external_id, apps=list(apps))
        return changes.create_resource(tx, wanted)

    return await store.transact(change)


async def test_an_app_with_resources_of_its_own_cannot_be_forgotten(store, provider):
    app, other = await make_app(store, "one"), await make_app(store, "two")
    own, shared = await make(store, provider, "own", app.id), await make(store, provider, "shared", app.id, other.id)
    with pytest.raises(Conflict, match=f"app one has resources of its own, which must be given back first: {own.id}"):
        await store.transact(lambda tx: changes.delete_app(tx, app.id))
    assert await store.read(lambda db: queries.own_resources(db, app.id)) == [own]
    await store.transact(lambda tx: changes.delete_resource(tx, own))
    deletion = await store.transact(lambda tx: changes.delete_app(tx, app.id, deprovisioned=[own]))
    assert [gone["id"] for gone in deletion.deleted_resources] == [own.id]
    [left] = await store.read(queries.resources)
    assert (left.id, left.apps) == (shared.id, [other.id])
    assert await store.read(lambda db: queries.own_resources(db, other.id)) == [left]


async def test_apps_stand_in_the_order_in_which_they_came(store, provider):
    apps = [(await make_app(store, name)).id for name in ("one", "two", "three")]
    made = await make(store, provider, "x", *apps)
    await store.transact(lambda tx: changes.remove_resource_app(tx, made, apps[0]))
    back = await store.transact(lambda tx: changes.add_resource_app(tx, made, apps[0]))
    assert back.apps == [apps[1], apps[2], apps[0]]
    assert await store.read(lambda db: queries.resource(db, provider.id, made.id)) == back


async def test_a_wish_is_written_down_until_it_is_over(store, provider):
    app = await make_app(store, "one")
    made, apps = await store.transact(lambda tx: changes.begin_provisioning(tx, provider.id, ["one", app.id]))
    assert apps == [app.id]
    [wish] = await store.read(queries.provisionings)
    assert (wish.id, wish.provider, wish.external_id) == (made, provider.id, "")
    await store.transact(lambda tx: changes.orphan_provisioning(tx, made, "/x"))
    assert [one.external_id for one in await store.read(queries.provisionings)] == ["/x"]
    with pytest.raises(Conflict, match=f"provider things still has provisioning {made}"):
        await store.transact(lambda tx: changes.delete_provider(tx, provider))
    wanted = Resource(id=made, provider=provider.id, external_id="/x", apps=apps)
    await store.transact(lambda tx: changes.create_resource(tx, wanted))
    assert await store.read(queries.provisionings) == []


async def test_a_wish_that_cannot_come_true_is_not_written_down(store, provider):
    with pytest.raises(ValidationError, match="apps contains 'nobody', which does not exist"):
        await store.transact(lambda tx: changes.begin_provisioning(tx, provider.id, ["nobody"]))
    await store.transact(lambda tx: changes.delete_provider(tx, provider))
    with pytest.raises(NotFound):  # it was deleted since it was looked up
        await store.transact(lambda tx: changes.begin_provisioning(tx, provider.id, []))
    assert await store.read(queries.provisionings) == []
