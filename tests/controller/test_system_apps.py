"""The apps that are this process: what they show, and what cannot be done to them."""

import pytest

from flynn_aio.model import SYSTEM_APPS

from ..support.build import keep_system_apps

PART = "controller is a part of flynn-aio itself and cannot be"


@pytest.fixture
async def client(stage):
    await stage.store.transact(keep_system_apps)
    return stage.client()


async def with_env(client, app, **env):
    """Send what `flynn env set` sends, and return the last answer."""
    release = (await client.get(f"/apps/{app}/release")).json()
    changed = release | {"env": release.get("env", {}) | env}
    del changed["id"]
    answer = await client.post("/releases", changed)
    if answer.status != 200:
        return answer
    return await client.post(f"/apps/{app}/deploy", {"id": answer.json()["id"]})


async def test_apps_lists_system_apps_such_as_router(client):
    """TestApp: `flynn apps` lists `router`."""
    found = {app["name"]: app["meta"] for app in (await client.get("/apps")).json()}
    assert found["router"] == {"gc.max_inactive_slug_releases": "10", "flynn-system-app": "true"} | {
        "flynn-system-critical": "true"
    }


async def test_what_cluster_backup_of_the_stock_client_asks_for_is_there(client):
    for name in ("discoverd", "flannel", "controller"):
        app = (await client.get(f"/apps/{name}")).json()
        release = (await client.get(f"/apps/{app['id']}/release")).json()
        formation = (await client.get(f"/apps/{app['id']}/formations/{release['id']}")).json()
        assert set(formation["processes"].values()) == {1}
        assert (await client.get(f"/apps/{name}/jobs")).json() == []


async def test_active_formations_include_system_apps(client):
    found = (await client.get("/formations?active=true")).json()
    assert {one["app"]["name"] for one in found} == SYSTEM_APPS.keys()


async def test_the_domain_is_in_the_environment_of_the_controller_and_its_keys_are_not(client):
    env = (await client.get("/apps/controller/release")).json()["env"]
    assert env == {"DEFAULT_ROUTE_DOMAIN": "flynn.test", "CA_CERT": "CA"}
    assert "secret" not in (await client.get("/apps/router/release")).body.decode()


@pytest.mark.parametrize(
    ("app", "name", "advice"),
    [
        ("controller", "DEFAULT_ROUTE_DOMAIN", "type: flynn cluster migrate-domain DOMAIN"),
        ("controller", "AUTH_KEY", "type: flynn-aio key add, list or remove"),
        ("router", "TLSCERT", "it follows the cluster's domain"),
        ("blobstore", "BACKEND", "nothing reads it"),
    ],
)
async def test_a_variable_that_would_have_no_effect_is_refused(client, app, name, advice):
    before = (await client.get(f"/apps/{app}/releases")).json()
    refused = await with_env(client, app, **{name: "x"})
    assert refused.status == 400
    assert refused.json()["message"].startswith(f"env {name} of {app} cannot be changed here: ")
    assert advice in refused.json()["message"]
    assert (await client.get(f"/apps/{app}/releases")).json() == before  # it is not even kept
    assert '"x"' not in (await client.get("/events?object_types=release")).body.decode()


async def test_a_key_for_builds_is_set_on_gitreceive_at_once(client):
    """TestPrivateSSHKeyClone sets it there; the next build gets it."""
    deployed = (await with_env(client, "gitreceive", SSH_CLIENT_HOSTS="example.com ssh-rsa AAAA")).json()
    assert deployed["status"] == "complete"
    release = (await client.get("/apps/gitreceive/release")).json()
    assert release["env"] == {"SSH_CLIENT_HOSTS": "example.com ssh-rsa AAAA"}
    assert [one["release"] for one in (await client.get("/apps/gitreceive/formations")).json()] == [release["id"]]


async def test_limits_of_a_system_app_are_refused(client):
    release = (await client.get("/apps/controller/release")).json()
    release["processes"]["web"]["resources"]["memory"] = {"limit": 2**26}
    del release["id"]
    answer = await client.post("/releases", release)
    assert answer.status == 400
    assert "only its environment can be changed" in answer.json()["message"]


async def test_a_release_of_another_app_is_no_release_of_a_system_app(client):
    app = (await client.post("/apps", {"name": "hello"})).json()
    artifacts = (await client.get("/apps/controller/release")).json()["artifacts"]
    new = (await client.post("/releases", {"app_id": app["id"], "artifacts": artifacts, "env": {"A": "b"}})).json()
    for answer in (
        await client.post("/apps/controller/deploy", {"id": new["id"]}),
        await client.put("/apps/controller/release", {"id": new["id"]}),
    ):
        assert answer.status == 400
        assert "only its environment can be changed" in answer.json()["message"]


async def test_a_system_app_is_neither_scaled_nor_deleted(client):
    release = (await client.get("/apps/controller/release")).json()["id"]
    wanted = {"state": "pending", "new_processes": {"web": 0}}
    scaled = await client.put(f"/apps/controller/scale/{release}", wanted)
    put = await client.put(f"/apps/controller/formations/{release}", {"processes": {"web": 2}})
    dropped = await client.delete(f"/apps/controller/formations/{release}")
    for answer in (scaled, put, dropped):
        assert (answer.status, answer.json()["message"]) == (
            400,
            f"{PART} scaled: there is always one of each of its processes",
        )
    deleted = await client.delete("/apps/controller")
    assert (deleted.status, deleted.json()["message"]) == (400, f"{PART} deleted")
    await client.post("/providers", {"name": "things", "url": "http://127.0.0.1:1/"})
    resource = {"external_id": "/x", "apps": ["controller"]}
    await client.put("/providers/things/resources/11111111-2222-4333-8444-555555555555", resource)
    deleted = await client.delete("/apps/controller")  # the provider is not asked
    assert (deleted.status, deleted.json()["message"]) == (400, f"{PART} deleted")


async def test_system_app_is_told_by_the_meta_flag_true_only(client):
    """TestSystemApp: no default route for one, and one for every other value of the flag."""
    for value, routes in (("true", 0), ("false", 1)):
        app = (await client.post("/apps", {"name": f"is-{value}", "meta": {"flynn-system-app": value}})).json()
        assert len((await client.get(f"/apps/{app['id']}/routes")).json()) == routes
        assert (await client.delete(f"/apps/{app['id']}")).status == 200  # a user's own one is nobody's part
