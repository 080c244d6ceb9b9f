"""What becomes of a resource when its request, its app or the appliance ends before it is made or given back."""

import json
from dataclasses import replace

import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.model import Resource, decode
from flynn_aio.store import EventFilter, changes, queries

from ..support.build import make_app
from ..support.git import eventually
from ..support.provider import running_provider
from .provisioning import UNKNOWN, history, provisioned


async def test_a_provider_that_is_asked_for_something_stays_until_it_is_over(client, stage, fake, provider):
    begun, go = trio.Event(), trio.Event()

    async def slowly():
        begun.set()
        await go.wait()

    fake.before = slowly
    async with trio.open_nursery() as nursery:
        nursery.start_soon(provisioned, stage.client())
        await begun.wait()
        held = await client.delete(f"/providers/{provider['id']}")
        assert (held.status, held.json()["code"]) == (409, "conflict")
        go.set()
    assert len((await client.get("/resources")).json()) == 1


async def test_two_may_ask_for_the_same_deletion(client, stage, fake, provider, apps):
    made = await provisioned(client, "one")
    arrived, go = [], trio.Event()

    async def together():
        arrived.append(1)
        if len(arrived) == 2:
            go.set()
        await go.wait()

    fake.before = together
    answers = []

    async def delete(one):
        answers.append((await one.delete(f"/providers/things/resources/{made['id']}")).json())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(delete, client)
        nursery.start_soon(delete, stage.client())
    assert answers == [made, made]


async def test_an_app_deleted_meanwhile_has_its_resource_given_back(client, stage, store, fake, provider, apps):
    begun, go = trio.Event(), trio.Event()

    async def slowly():
        begun.set()
        await go.wait()

    fake.before = slowly
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _():
            response = await stage.client().post("/providers/things/resources", {"apps": ["one", "two"]})
            assert response.json()["message"] == f"apps contains '{apps[0].id}', which does not exist"

        await begun.wait()
        assert (await client.delete("/apps/one")).status == 200
        go.set()
    assert [asked.method for asked in fake.asked] == ["POST", "DELETE"]
    assert fake.resources == {}
    assert await store.read(queries.provisionings) == []
    assert await history(store, "resource") == []


async def test_what_a_provider_gives_out_twice_is_not_taken_from_its_owner(client, store, fake, provider, apps):
    fake.external_id = "/things/the-one"
    await provisioned(client, "one")
    response = await client.post("/providers/things/resources", {"apps": ["two"], "config": None})
    assert (response.status, response.json()["code"]) == (409, "conflict")
    assert [asked.method for asked in fake.asked] == ["POST", "POST"]
    assert await store.read(queries.provisionings) == []


def wish(client, *apps):
    """Return a wish for a resource as bytes, for a connection that will not wait for the answer."""
    body = json.dumps({"apps": apps, "config": None}).encode()
    sent = client.headers({"host": "controller.flynn.test", "content-length": str(len(body))})
    lines = ["POST /providers/things/resources HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_a_client_that_leaves_finds_its_resource_later(stage, client, fake, provider, apps):
    begun, go = trio.Event(), trio.Event()

    async def slowly():
        begun.set()
        await go.wait()

    fake.before = slowly
    hasty = await stage.dial()
    await hasty.send_all(wish(client, "one"))
    await begun.wait()
    await hasty.aclose()
    await wait_all_tasks_blocked()
    go.set()

    async def there():
        return (await client.get("/apps/one/resources")).json()

    [made] = await eventually(there)
    assert made["external_id"] == "/things/1"


async def deletion_of(client, store, name):
    """Delete an app and return what its `app_deletion` event says."""
    app = (await client.get(f"/apps/{name}")).json()
    wanted = EventFilter(app=app["id"], object_types=frozenset({"app_deletion"}))
    async with store.subscribe(wanted) as events:
        response = await client.delete(f"/apps/{name}")
        assert (response.status, response.body) == (200, b"")
        with trio.fail_after(5):
            return decode(bytes((await events.receive()).data), dict)


async def test_an_app_takes_along_what_only_it_uses(client, store, fake, provider, apps):
    """[TestAppDeleteCleanup, the part about resources]"""
    one, two = apps
    shared, own = await provisioned(client, "one", "two"), await provisioned(client, "one")
    said = await deletion_of(client, store, "one")
    assert said["error"] == ""
    deletion = said["app_deletion"]
    assert deletion["deleted_resources"] == [own]
    assert [route["domain"] for route in deletion["deleted_routes"]] == ["one.flynn.test"]
    assert list(fake.resources) == [shared["external_id"]]
    [left] = (await client.get("/resources")).json()
    assert (left["id"], left["apps"]) == (shared["id"], [two.id])
    kinds = [kind for kind, app, _ in await history(store) if app == one.id]
    assert kinds[-4:] == ["resource_deletion", "resource_app_deletion", "route_deletion", "app_deletion"]
    assert (await client.get("/apps/one")).status == 404
    assert await store.read(queries.app_deletions) == []


async def test_an_app_of_the_same_name_can_have_a_resource_anew(client, store, fake, provider, apps):
    """[TestResourceProvisionRecreatedApp]"""
    await provisioned(client, "one")
    await deletion_of(client, store, "one")
    again = (await client.post("/apps", {"name": "one"})).json()
    made = await provisioned(client, "one")
    assert made["apps"] == [again["id"]]
    assert list(fake.resources) == [made["external_id"]]


async def test_an_app_whose_provider_fails_stays_and_the_event_says_why(client, store, fake, provider, apps):
    first, second = await provisioned(client, "one"), await provisioned(client, "one")
    fake.status = 503
    said = await deletion_of(client, store, "one")
    assert said["error"].startswith("asking provider 'things'")
    assert said["app_deletion"] == {
        "app": apps[0].id,
        "deleted_routes": [],
        "deleted_resources": [],
        "deleted_releases": [],
    }
    assert (await client.get("/apps/one/resources")).json() == [second, first]
    fake.status = 200
    said = await deletion_of(client, store, "one")
    assert said["error"] == ""
    assert said["app_deletion"]["deleted_resources"] == [second, first]


async def test_a_deletion_asked_for_twice_happens_once_and_takes_what_came_late(client, store, fake, provider, apps):
    await provisioned(client, "one")
    begun, go = trio.Event(), trio.Event()

    async def slowly():
        begun.set()
        await go.wait()

    fake.before = slowly
    assert (await client.delete("/apps/one")).status == 200
    await begun.wait()
    assert (await client.delete("/apps/one")).status == 200
    path = f"/providers/things/resources/{UNKNOWN}"
    assert (await client.put(path, {"external_id": "late", "apps": ["one"]})).status == 200
    go.set()

    async def gone():
        return await history(store, "app_deletion")

    [(_, _, said)] = await eventually(gone)
    assert [each["external_id"] for each in said["app_deletion"]["deleted_resources"]] == ["/things/1", "late"]
    assert [asked.method for asked in fake.asked] == ["POST", "DELETE", "DELETE"]


async def test_a_start_takes_up_what_the_last_run_left(open_stage, store, fake, caplog):
    app, other = await make_app(store, "one"), await make_app(store, "two")
    provider = await store.transact(lambda tx: changes.create_provider(tx, name="things", url=fake.url))
    fake.resources = {"/things/own": b"", "/things/orphan": b""}

    def left(tx):
        orphan, _ = changes.begin_provisioning(tx, provider.id, [other.id])
        changes.orphan_provisioning(tx, orphan, "/things/orphan")
        lost, _ = changes.begin_provisioning(tx, provider.id, [other.id])
        own, _ = changes.begin_provisioning(tx, provider.id, [app.id])
        return lost, own

    lost, own = await store.transact(left)
    made = Resource(id=own, provider=provider.id, external_id="/things/own", apps=[app.id])
    await store.transact(lambda tx: changes.create_resource(tx, made))
    await store.transact(lambda tx: changes.begin_app_deletion(tx, app.id))
    async with open_stage():

        async def settled():
            left = await store.read(queries.provisionings), await store.read(queries.app_deletions)
            return left == ([], []) and not fake.resources

        await eventually(settled)
    assert [kind for kind, _, _ in await history(store, "app_deletion")] == ["app_deletion"]
    [said] = [record for record in caplog.records if "was cut off" in record.message]
    assert (said.provider, said.resource) == ("things", lost)


async def test_what_an_end_cuts_off_is_taken_up_by_the_next_start(open_stage, store, settings, fake, caplog):
    """One wish for a resource and one deletion of an app are in flight when the controller goes."""
    app = await make_app(store, "one")
    provider = await store.transact(lambda tx: changes.create_provider(tx, name="things", url=fake.url))
    made = Resource(id=UNKNOWN, provider=provider.id, external_id="/things/own", apps=[app.id])
    await store.transact(lambda tx: changes.create_resource(tx, made))
    fake.resources["/things/own"] = b""
    fake.before = trio.sleep_forever

    async def both_asked():
        return len(fake.asked) == 2

    async with open_stage(replace(settings, drain_s=0.01)) as stage:
        client = stage.client()
        assert (await client.delete("/apps/one")).status == 200
        async with await stage.dial() as hasty:
            await hasty.send_all(wish(client))
            await eventually(both_asked)
    assert len(await store.read(queries.provisionings)) == 1
    assert await store.read(queries.app_deletions) == [app.id]

    fake.before = trio.lowlevel.checkpoint
    async with open_stage():

        async def settled():
            return (await store.read(queries.provisionings), await store.read(queries.app_deletions)) == ([], [])

        await eventually(settled)
    assert fake.resources == {}
    assert "was cut off" in caplog.text


async def test_a_start_is_patient_with_providers_that_start_as_well(open_stage, store, autojump_clock):
    async with running_provider() as fake:
        app = await make_app(store, "one")
        provider = await store.transact(lambda tx: changes.create_provider(tx, name="things", url=fake.url))
        made = Resource(id=UNKNOWN, provider=provider.id, external_id="/x", apps=[app.id])
        await store.transact(lambda tx: changes.create_resource(tx, made))
        await store.transact(lambda tx: changes.begin_app_deletion(tx, app.id))
        fake.status = 503
        async with open_stage():
            await trio.sleep(10)
            assert await history(store, "app_deletion") == []
            fake.status = 200
            await trio.sleep(10)
            assert [said["error"] for _, _, said in await history(store, "app_deletion")] == [""]
