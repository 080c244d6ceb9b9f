"""Apps over the wire."""

import re

import pytest
from trio.testing import wait_all_tasks_blocked

from flynn_aio.model import as_uuid, encode
from flynn_aio.store import queries

from ..support.build import make_app, make_release

GC = {"gc.max_inactive_slug_releases": "10"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z")


async def test_create_fills_in_what_the_client_leaves_out_in_the_order_of_the_wire(client):
    response = await client.post("/apps", {"name": "hello", "meta": None})
    app = response.json()
    assert list(app) == ["id", "name", "meta", "strategy", "deploy_timeout", "created_at", "updated_at"]
    assert as_uuid(app["id"]) == app["id"]
    assert (app["name"], app["meta"], app["strategy"], app["deploy_timeout"]) == ("hello", GC, "all-at-once", 120)
    assert app["created_at"] == app["updated_at"]
    assert TIME.fullmatch(app["created_at"])
    assert b": " not in response.body
    routes = (await client.get("/apps/hello/routes")).json()
    assert [(route["domain"], route["service"], route["drain_backends"]) for route in routes] == [
        ("hello.flynn.test", "hello-web", True)
    ]


async def test_without_a_name_an_app_gets_one(client):
    app = (await client.post("/apps", {})).json()
    assert re.fullmatch(r"[a-z]+-[a-z]+-[a-z]+", app["name"])


async def test_an_app_is_found_by_name_and_by_id_with_or_without_hyphens(client):
    app = (await client.post("/apps", {"name": "hello"})).json()
    for reference in ("hello", app["id"], app["id"].replace("-", "")):
        assert (await client.get(f"/apps/{reference}")).json() == app


async def test_apps_are_listed_newest_first_and_an_empty_list_is_a_list(client):
    assert (await client.get("/apps")).body == b"[]"
    for name in ("one", "two", "three"):
        await client.post("/apps", {"name": name})
    assert [app["name"] for app in (await client.get("/apps")).json()] == ["three", "two", "one"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Upper"}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"id": "not-a-uuid"}, "id"),
        ({"strategy": "sideways"}, "strategy"),
        ({"deploy_timeout": -1}, "deploy_timeout"),
        ({"deploy_timeout": 2**31}, "deploy_timeout"),
    ],
)
async def test_an_app_that_cannot_be_is_refused(client, body, field):
    response = await client.post("/apps", body)
    assert (response.status, response.json()["code"]) == (400, "validation_error")
    assert response.json()["detail"] == {"field": field}
    assert response.json()["message"].startswith(f"{field} ")
    assert (await client.get("/apps")).json() == []


async def test_a_name_is_taken_until_its_app_is_deleted(client):
    await client.post("/apps", {"name": "hello"})
    response = await client.post("/apps", {"name": "hello"})
    assert response.status == 409
    assert response.body == b'{"code":"object_exists","message":"application \\"hello\\" already exists","retry":false}'
    deleted = await client.delete("/apps/hello")
    assert (deleted.status, deleted.body) == (200, b"")
    assert (await client.post("/apps", {"name": "hello"})).status == 200


async def test_an_update_changes_only_what_may_change(client):
    app = (await client.post("/apps", {"name": "hello"})).json()
    response = await client.post(
        "/apps/hello",
        {
            "id": "hello",
            "name": "other",
            "meta": None,
            "deploy_timeout": 7,
            "strategy": "one-by-one",
            "protected": True,
        },
    )
    changed = response.json()
    assert changed == app | {"deploy_timeout": 7, "strategy": "one-by-one", "updated_at": changed["updated_at"]}
    assert (await client.get("/apps/hello")).json() == changed


async def test_meta_is_replaced_as_a_whole_and_can_be_cleared(client):
    app = (await client.post("/apps", {"name": "hello"})).json()
    changed = await client.post("/apps/hello", {"id": "hello", "meta": {"flynn-deploy-batch-size": "2"}})
    assert changed.json()["meta"] == {"flynn-deploy-batch-size": "2"}
    cleared = await client.post(f"/apps/{app['id']}/meta", app | {"meta": {}})
    assert cleared.json()["meta"] == {}
    assert b'"meta":{}' in cleared.body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"color": "red"}, 'Additional properties aren\'t allowed, found "color" as one of its keys'),
        ({"meta": {"a": 1}}, "meta Value must be one of these types: [string]. Got integer"),
        ({"meta": []}, "meta Value must be one of these types: [object]. Got array"),
        ({"deploy_timeout": "5"}, "deploy_timeout Value must be one of these types: [integer]. Got string"),
        ({"deploy_timeout": True}, "deploy_timeout Value must be one of these types: [integer]. Got boolean"),
        ({"deploy_timeout": 0}, "deploy_timeout must be a number of seconds, at least 1"),
        (
            {"strategy": ""},
            "strategy Enum error. The data must be equal to one of these values "
            "[all-at-once one-by-one one-down-one-up in-batches sirenia discoverd-meta].",
        ),
    ],
)
async def test_an_update_that_cannot_be_is_refused(client, body, message):
    app = (await client.post("/apps", {"name": "hello"})).json()
    response = await client.post("/apps/hello", body)
    assert (response.status, response.json()["code"]) == (400, "validation_error")
    assert response.json()["message"] == message
    assert (await client.get("/apps/hello")).json() == app


async def test_deleting_an_app_takes_its_logs_along(stage, client, store, tmp_path):
    app = await make_app(store)
    release = await make_release(store, app)
    job = (await client.post("/apps/hello/jobs", {"release": release.id})).json()
    await stage.engine.print(job["uuid"], b"words\n")
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert (await client.delete("/apps/hello")).status == 200
    await wait_all_tasks_blocked()
    assert list((tmp_path / "logs").iterdir()) == []
    assert (await client.get("/apps/hello")).status == 404
    assert (await client.delete("/apps/hello")).status == 404
    [event] = (await client.get("/events?object_types=app_deletion")).json()
    assert event["object_id"] == app.id
    assert event["data"]["error"] == ""
    assert [route["domain"] for route in event["data"]["app_deletion"]["deleted_routes"]] == ["hello.flynn.test"]


async def test_collecting_old_releases_is_answered_at_once_and_told_by_an_event(client):
    app = (await client.post("/apps", {"name": "hello"})).json()
    answer = await client.post("/apps/hello/gc", None)
    assert (answer.status, answer.body) == (200, b"")
    [event] = (await client.get(f"/events?app_id={app['id']}&object_types=app_garbage_collection")).json()
    assert event["object_id"] == app["id"]
    assert event["data"] == {"app_garbage_collection": {"app_id": app["id"], "deleted_releases": []}, "error": ""}
    assert (await client.post("/apps/nobody/gc", None)).status == 404


async def test_create_app_default_gc(client):
    """TestCreateAppDefaultGC: ten unless said otherwise; other meta is kept."""
    for given, kept in (
        (None, GC),
        ({"a": "b"}, GC | {"a": "b"}),
        ({"gc.max_inactive_slug_releases": "false"}, {"gc.max_inactive_slug_releases": "false"}),
        ({"gc.max_inactive_slug_releases": "3"}, {"gc.max_inactive_slug_releases": "3"}),
    ):
        app = (await client.post("/apps", {"meta": given})).json()
        assert app["meta"] == kept


async def test_the_list_is_what_one_app_after_the_other_would_be(stage, client):
    """It is put together from stored text; a change of what an app shows must change that text as well."""
    assert (await client.get("/apps")).body == b"[]"
    for number in range(3):
        await client.post("/apps", {"name": f"app-{number}", "meta": {"text": 'ä"\\', "empty": ""}})
    await client.post("/apps/app-1", {"strategy": "one-by-one", "deploy_timeout": 7, "meta": None})
    await client.delete("/apps/app-0")
    response = await client.get("/apps")
    assert response.content_type == "application/json"
    assert response.body == encode(await stage.store.read(queries.apps))
    assert [app["name"] for app in response.json()] == ["app-2", "app-1"]
