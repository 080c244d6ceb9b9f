"""Providers and resources over the wire, with a real provider behind them.

The names in brackets are those of Flynn's own tests, whose requirement a test here shows.
"""

import pytest

from flynn_aio.model import DATABASE_PROVIDERS, as_uuid
from flynn_aio.store import queries

from .provisioning import UNKNOWN, history, provisioned


async def test_a_provider_is_registered_and_found_by_id_and_name(client, store):
    """[TestCreateProvider, TestProviderList, TestStreamProviderEvents]"""
    assert (await client.get("/providers")).body == b"[]"
    made = (await client.post("/providers", {"name": "pg", "url": "https://example.com/x"})).json()
    assert list(made) == ["id", "url", "name", "created_at", "updated_at"]
    assert as_uuid(made["id"]) == made["id"]
    for reference in ("pg", made["id"], made["id"].replace("-", "")):
        assert (await client.get(f"/providers/{reference}")).json() == made
    newer = (await client.post("/providers", {"name": "mysql", "url": "http://mysql-web.discoverd/"})).json()
    assert (await client.get("/providers")).json() == [newer, made]
    assert await history(store, "provider") == [("provider", None, made), ("provider", None, newer)]


async def test_a_provider_may_be_named_like_an_id(client):
    named = (await client.post("/providers", {"name": UNKNOWN, "url": "http://x/"})).json()
    assert (await client.get(f"/providers/{UNKNOWN}")).json() == named


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({"url": "http://x/"}, 400, "validation_error", "name must be 1 to 100 letters"),
        ({"name": "a b", "url": "http://x/"}, 400, "validation_error", "name must be 1 to 100 letters"),
        ({"name": "x"}, 400, "validation_error", "url must not be blank"),
        ({"name": "x", "url": "nowhere"}, 400, "validation_error", "url is not like http://HOST/PATH"),
        ({"name": "x", "url": 5}, 400, "syntax_error", "The provided JSON"),
        ({"name": "things", "url": "http://x/"}, 409, "object_exists", 'provider "things" already exists'),
    ],
)
async def test_what_cannot_be_a_provider_is_refused(client, provider, body, status, code, message):
    response = await client.post("/providers", body)
    assert (response.status, response.json()["code"]) == (status, code)
    assert response.json()["message"].startswith(message)
    assert response.json()["retry"] is False


async def test_a_resource_is_made_for_apps_by_name_and_id(client, store, fake, provider, apps):
    """[TestProvisionResource, TestStreamResourceEvents]"""
    one, two = apps
    body = f'{{"apps": ["{one.id}", "two", "one"], "config": {{"foo": null,  "size": 1}}}}'.encode()
    response = await client.request("POST", "/providers/things/resources", body=body)
    made = response.json()
    assert list(made) == ["id", "provider", "external_id", "env", "apps", "created_at"]
    assert (made["provider"], made["external_id"]) == (provider["id"], "/things/1")
    assert (made["env"], made["apps"]) == ({"THING_URL": "thing:///things/1"}, [one.id, two.id])
    assert fake.asked[0].body == b'{"foo": null,  "size": 1}'
    for reference in ("things", provider["id"]):
        assert (await client.get(f"/providers/{reference}/resources/{made['id']}")).json() == made
    assert await history(store, "resource") == [("resource", one.id, made), ("resource", two.id, made)]
    assert await store.read(queries.provisionings) == []


async def test_a_resource_without_apps_has_an_event_for_nobody(client, store, fake, provider):
    made = await provisioned(client)
    assert "apps" not in made
    assert fake.asked[0].body == b"{}"
    assert await history(store, "resource") == [("resource", None, made)]
    deleted = (await client.delete(f"/providers/things/resources/{made['id']}")).json()
    assert await history(store, "resource_deletion") == [("resource_deletion", None, deleted)]


async def test_an_unknown_app_is_refused_before_the_provider_is_asked(client, fake, provider, apps):
    response = await client.post("/providers/things/resources", {"apps": ["one", "three"], "config": None})
    assert response.status == 400
    assert response.json() == {
        "code": "validation_error",
        "message": "apps contains 'three', which does not exist",
        "detail": {"field": "apps"},
        "retry": False,
    }
    assert fake.asked == []


@pytest.mark.parametrize("config", ["[]", '"x"', "5"])
async def test_a_config_is_an_object(client, fake, provider, config):
    body = f'{{"config": {config}}}'.encode()
    response = await client.request("POST", "/providers/things/resources", body=body)
    assert (response.status, response.json()["code"]) == (400, "syntax_error")
    assert fake.asked == []


@pytest.mark.parametrize("name", DATABASE_PROVIDERS)
async def test_a_database_that_is_not_here_yet_is_said_to_be_so(client, name):
    response = await client.post(f"/providers/{name}/resources", {"config": None})
    assert response.status == 400
    assert f"`flynn provider add {name} <url>`" in response.json()["message"]
    assert (await client.get(f"/providers/{name}")).status == 404


async def test_unknown_ids_are_bare_404s(client, provider, apps, fake):
    made = await provisioned(client, "one")
    await client.post("/providers", {"name": "other", "url": fake.url})
    for method, path in [
        ("GET", "/providers/nothing"),
        ("GET", "/providers/nothing/resources"),
        ("POST", "/providers/nothing/resources"),
        ("GET", f"/providers/nothing/resources/{made['id']}"),
        ("GET", f"/providers/other/resources/{made['id']}"),
        ("GET", f"/providers/things/resources/{UNKNOWN}"),
        ("GET", "/providers/things/resources/not-an-id"),
        ("PUT", "/providers/things/resources/not-an-id"),
        ("DELETE", f"/providers/other/resources/{made['id']}"),
        ("DELETE", f"/providers/things/resources/{UNKNOWN}"),
        ("PUT", f"/providers/things/resources/{made['id']}/apps/three"),
        ("PUT", f"/providers/things/resources/{UNKNOWN}/apps/one"),
        ("DELETE", f"/providers/things/resources/{made['id']}/apps/two"),
        ("GET", "/apps/three/resources"),
        ("DELETE", "/providers/nothing"),
    ]:
        response = await client.request(method, path, {"external_id": "x", "config": None})
        assert (response.status, response.body) == (404, b""), path
    assert [asked.method for asked in fake.asked] == ["POST"]


async def test_what_somebody_else_made_is_registered_under_the_given_id(client, store, provider, apps):
    """[TestPutResource]"""
    one, _ = apps
    path = f"/providers/things/resources/{UNKNOWN}"
    told = {"external_id": "/foo/bar", "env": {"FOO": "BAR"}, "apps": ["one"], "provider": "ignored", "id": "ignored"}
    response = await client.put(path, told)
    made = response.json()
    assert (made["id"], made["provider"], made["env"]) == (UNKNOWN, provider["id"], {"FOO": "BAR"})
    assert made["apps"] == [one.id]
    assert (await client.get(path)).json() == made
    assert (await client.put(path, told)).json() == made  # told twice
    assert await history(store, "resource") == [("resource", one.id, made)]
    changed = await client.put(path, told | {"env": {}})
    assert (changed.status, changed.json()["code"]) == (409, "object_exists")
    taken = await client.put(path.replace("1", "2"), told)
    assert (taken.status, taken.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"env": {}}, "external_id must not be blank"),
        ({"external_id": "x", "env": {"": "y"}}, "env must not have an empty name or one with `=`"),
        ({"external_id": "x", "apps": ["three"]}, "apps contains 'three', which does not exist"),
    ],
)
async def test_what_cannot_be_a_resource_is_refused(client, provider, body, message):
    response = await client.put(f"/providers/things/resources/{UNKNOWN}", body)
    assert (response.status, response.json()["message"]) == (400, message)


async def test_apps_share_a_resource_and_leave_it_again(client, store, provider, apps):
    """[TestAddResourceApp, TestDeleteResourceApp, TestDeleteResourceAppThenAdd]"""
    one, two = apps
    made, other = await provisioned(client), await provisioned(client, "one")
    path = f"/providers/things/resources/{made['id']}/apps"
    assert (await client.put(f"{path}/{one.id}", None)).json()["apps"] == [one.id]
    shared = (await client.put(f"{path}/two", None)).json()
    assert shared["apps"] == [one.id, two.id]
    assert (await client.put(f"{path}/two", None)).json() == shared  # said twice
    assert (await client.delete(f"{path}/one")).json()["apps"] == [two.id]
    alone = (await client.delete(f"{path}/{two.id}")).json()
    assert "apps" not in alone
    assert (await client.delete(f"{path}/two")).status == 404
    assert (await client.put(f"{path}/one", None)).json()["apps"] == [one.id]
    assert (await client.get(f"/providers/things/resources/{other['id']}")).json() == other  # Flynn unlinks it, too
    assert [(kind, app) for kind, app, _ in await history(store, "resource", "resource_app_deletion")] == [
        ("resource", None),
        ("resource", one.id),
        ("resource", one.id),
        ("resource", two.id),
        ("resource_app_deletion", one.id),
        ("resource_app_deletion", two.id),
        ("resource", one.id),
    ]


async def test_resources_are_listed_newest_first_for_everybody_concerned(client, provider, apps):
    """[TestResourceLists, TestAppResourceListWithDeletedAppResource]"""
    _, two = apps
    for path in ("/resources", "/providers/things/resources", "/apps/one/resources"):
        assert (await client.get(path)).body == b"[]"
    shared, own = await provisioned(client, "one", "two"), await provisioned(client, "one")
    for path in ("/resources", "/providers/things/resources", f"/providers/{provider['id']}/resources"):
        assert (await client.get(path)).json() == [own, shared]
    assert (await client.get("/apps/one/resources")).json() == [own, shared]
    assert (await client.get(f"/apps/{two.id}/resources")).json() == [shared]
    await client.delete(f"/providers/things/resources/{shared['id']}/apps/one")
    assert (await client.get("/apps/one/resources")).json() == [own]
    [left] = (await client.get("/apps/two/resources")).json()
    assert (left["id"], left["apps"]) == (shared["id"], [two.id])


async def test_deleting_gives_a_resource_back_and_tells_what_it_was(client, store, fake, provider, apps):
    one, two = apps
    made = await provisioned(client, "one", "two")
    path = f"/providers/things/resources/{made['id']}"
    assert (await client.delete(path)).json() == made
    assert (fake.asked[-1].method, fake.asked[-1].external_id) == ("DELETE", "/things/1")
    assert fake.resources == {}
    assert (await client.get(path)).status == 404
    assert (await client.get("/apps/one/resources")).body == b"[]"
    assert await history(store, "resource_deletion") == [
        ("resource_deletion", one.id, made),
        ("resource_deletion", two.id, made),
    ]


async def test_a_provider_that_fails_is_quoted_and_nothing_is_stored(client, store, fake, provider, apps):
    fake.status, fake.body = 500, b'{"code": "unknown_error", "message": "out of disk"}'
    response = await client.post("/providers/things/resources", {"apps": ["one"], "config": None})
    assert response.status == 412
    assert response.json() == {
        "code": "precondition_failed",
        "message": f"asking provider 'things' at {fake.url} for a resource: it answered with status 500: out of disk; "
        "its own log should say more",
        "retry": False,
    }
    assert (await client.get("/resources")).body == b"[]"
    assert await store.read(queries.provisionings) == []


async def test_a_resource_that_is_not_given_back_is_kept(client, fake, provider, apps):
    made = await provisioned(client, "one")
    fake.status = 503
    response = await client.delete(f"/providers/things/resources/{made['id']}")
    assert response.status == 412
    assert "to remove '/things/1': it answered with status 503" in response.json()["message"]
    assert (await client.get("/apps/one/resources")).json() == [made]


async def test_a_provider_that_is_gone_for_good_holds_nothing_fast(client, store, fake, provider, apps):
    made = await provisioned(client, "one")
    fake.status = 503
    path = f"/providers/things/resources/{made['id']}"
    refused = (await client.delete(path)).json()["message"]
    assert refused.endswith(f"; if it is gone for good: `flynn resource remove --forget things {made['id']}`")
    held = await client.delete("/providers/things")
    assert (held.status, held.json()["message"]) == (409, f"provider things still has resource {made['id']}")
    assert (await client.delete(f"{path}?forget=true")).json() == made
    assert len(fake.asked) == 2
    assert (await client.delete("/providers/things")).json() == provider
    assert (await client.get("/providers/things")).status == 404
    assert await history(store, "provider_deletion") == [("provider_deletion", None, provider)]
    assert (await client.post("/providers", {"name": "things", "url": fake.url})).status == 200
