"""Artifacts and releases over the wire."""

from dataclasses import replace

import pytest

GIB = 1024**3
DEFAULTS = {
    "memory": {"request": GIB, "limit": GIB},
    "temp_disk": {"request": 104857600, "limit": 104857600},
    "cpu": {"request": 1000, "limit": 1000},
    "max_fd": {"request": 10000, "limit": 10000},
}
UNKNOWN = "6e3e3d3f-1f4e-4f4c-9a67-6a1f4a1a7c11"


@pytest.fixture
async def app(client):
    return (await client.post("/apps", {"name": "hello"})).json()


@pytest.fixture
async def artifact(client):
    return (await client.post("/artifacts", {"type": "flynn", "uri": "image:localhost/test/app:1"})).json()


async def release_of(client, app, **fields):
    response = await client.post("/releases", {"app_id": app["id"], **fields})
    assert response.status == 200, response
    return response.json()


async def test_an_artifact_is_created_once(client, artifact):
    assert list(artifact) == ["id", "type", "uri", "created_at"]
    again = (await client.post("/artifacts", {"type": "flynn", "uri": "image:localhost/test/app:1"})).json()
    assert again == artifact
    assert (await client.get(f"/artifacts/{artifact['id']}")).json() == artifact
    assert (await client.get("/artifacts")).json() == [artifact]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"uri": "image:x"}, "type Enum error. The data must be equal to one of these values [docker file flynn]."),
        ({"type": "flynn"}, "uri Value must be a valid URI, according to RFC3986."),
        ({"type": "flynn", "uri": "no scheme"}, "uri Value must be a valid URI, according to RFC3986."),
        ({"type": "flynn", "uri": "http://[x"}, "uri Value must be a valid URI, according to RFC3986."),
        (
            {"type": "docker", "uri": "http://example.com/x"},
            "type docker artifacts are not supported any more: push the image with `flynn docker push`",
        ),
        ({"type": "flynn", "uri": "http://example.com/x"}, "size must be greater than zero"),
        (
            {"type": "flynn", "uri": "http://example.com/x", "size": 3},
            "manifest failed to download from http://example.com/x: verify: no hashes provided",
        ),
        ({"type": "flynn", "uri": "http://example.com/x", "size": -1}, "size must be greater than zero"),
        ({"type": "flynn", "uri": "slug:none"}, "uri names the slug 'none', which does not exist"),
        ({"type": "flynn", "uri": "slug:"}, "uri names the slug '', which does not exist"),
        ({"type": "flynn", "uri": "slug:.."}, "uri names the slug '..', which does not exist"),
        ({"type": "flynn", "uri": "slug:../slugs"}, "uri names the slug '../slugs', which does not exist"),
        ({"type": "flynn", "uri": "slug:/etc"}, "uri names the slug '/etc', which does not exist"),
        ({"type": "flynn", "uri": "image:x", "id": "x"}, "id must be a UUID"),
    ],
)
async def test_an_artifact_that_cannot_be_is_refused(client, body, message):
    response = await client.post("/artifacts", body)
    assert (response.status, response.json()["code"], response.json()["message"]) == (400, "validation_error", message)


async def test_a_slug_that_exists_can_be_an_artifact(client, settings):
    (settings.slug_dir / "7f3a").mkdir()
    assert (await client.post("/artifacts", {"type": "flynn", "uri": "slug:7f3a"})).status == 200


async def test_a_manifest_makes_an_artifact_of_any_uri(client):
    body = {"type": "flynn", "uri": "https://example.com/x", "manifest": {"_type": "x"}, "meta": {"blobstore": "true"}}
    created = (await client.post("/artifacts", body)).json()
    assert created["manifest"] == {"_type": "x"}


async def test_a_release_gets_defaults_and_ignores_what_is_not_the_clients(client, app, artifact):
    created = await release_of(
        client,
        app,
        artifacts=[artifact["id"]],
        env={"A": "1", "B": None},
        meta={"git": "true"},
        created_at="2001-01-01T00:00:00Z",
        processes={"web": {"args": ["serve"], "ports": [{"port": 8080, "proto": "tcp"}]}},
    )
    assert list(created) == ["id", "app_id", "artifacts", "env", "meta", "processes", "created_at", "artifact"]
    assert created["env"] == {"A": "1", "B": ""}
    assert created["processes"]["web"] == {
        "args": ["serve"],
        "ports": [{"port": 8080, "proto": "tcp"}],
        "resources": DEFAULTS,
    }
    assert not created["created_at"].startswith("2001")
    for path in (f"/releases/{created['id']}", f"/releases/{created['id'].replace('-', '')}"):
        assert (await client.get(path)).json() == created | {"artifact": artifact["id"]}


async def test_a_release_can_be_posted_back_as_it_was_read(client, app, artifact):
    """The CLI edits releases this way: everything it read, without the id."""
    first = await release_of(client, app, artifacts=[artifact["id"]], processes={"web": {"args": ["a"]}})
    read = (await client.get(f"/releases/{first['id']}")).json()
    del read["id"]
    second = await release_of(client, app, **{name: value for name, value in read.items() if name != "app_id"})
    assert second["id"] != first["id"]
    assert second["processes"] == first["processes"]
    assert second["artifacts"] == first["artifacts"]


async def test_the_legacy_artifact_stands_for_the_list(client, app, artifact):
    created = await release_of(client, app, artifact=artifact["id"])
    assert created["artifacts"] == [artifact["id"]]


async def test_a_given_id_is_kept_and_taken_only_once(client, app):
    assert (await release_of(client, app, id=UNKNOWN))["id"] == UNKNOWN
    response = await client.post("/releases", {"app_id": app["id"], "id": UNKNOWN})
    assert (response.status, response.json()["code"]) == (409, "object_exists")


@pytest.mark.parametrize(
    ("sent", "args"),
    [
        ({"cmd": ["b"]}, ["b"]),
        ({"entrypoint": ["a"], "cmd": ["b"]}, ["a", "b"]),
        ({"args": ["x"], "cmd": ["b"]}, ["x", "b"]),
        ({"args": ["x"], "entrypoint": ["a"]}, ["a"]),
    ],
)
async def test_what_args_once_were_is_folded_into_them_once(client, app, sent, args):
    created = await release_of(client, app, processes={"web": sent})
    assert created["processes"]["web"]["args"] == args
    assert {"cmd", "entrypoint"}.isdisjoint(created["processes"]["web"])


async def test_data_becomes_a_volume(client, app):
    created = await release_of(
        client, app, processes={"db": {"data": True}, "own": {"data": True, "volumes": [{"path": "/x"}]}}
    )
    assert created["processes"]["db"]["volumes"] == [{"path": "/data"}]
    assert created["processes"]["own"]["volumes"] == [{"path": "/x"}]
    assert "data" not in created["processes"]["db"]


async def test_nulls_are_zero_values_and_unknown_resources_stay(client, app):
    created = await release_of(
        client,
        app,
        env=None,
        meta=None,
        artifacts=None,
        processes={
            "web": None,
            "job": {"resources": {"memory": {"request": None, "limit": 8 << 20}, "zebras": {"limit": 3}}},
        },
    )
    assert "env" not in created
    resources = created["processes"]["job"]["resources"]
    assert resources["memory"] == {"request": 8 << 20, "limit": 8 << 20}
    assert resources["zebras"] == {"request": None, "limit": 3}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"app_id": ""}, "app_id"),
        ({"app_id": "hello"}, "app_id"),
        ({"app_id": UNKNOWN}, "app_id"),
        ({"id": "x"}, "id"),
        ({"artifacts": [UNKNOWN]}, "artifacts"),
        ({"artifacts": [""]}, "artifacts"),
        ({"env": {"": "v"}}, "env"),
        ({"processes": {"": {}}}, "processes"),
        ({"processes": {"web": {"ports": [{"port": -1}]}}}, "processes.web.ports"),
        ({"processes": {"web": {"ports": [{"proto": "icmp"}]}}}, "processes.web.ports"),
    ],
)
async def test_a_release_that_cannot_be_is_refused(client, app, fields, field):
    response = await client.post("/releases", {"app_id": app["id"], **fields})
    assert (response.status, response.json()["code"]) == (400, "validation_error"), response
    assert response.json()["detail"] == {"field": field}


async def test_an_empty_variable_name_is_explained(client, app):
    response = await client.post("/releases", {"app_id": app["id"], "env": {"": "v"}})
    assert response.json()["message"] == 'env you can\'t create an env var with an empty key (tried to set ""="v")'


@pytest.mark.parametrize("env", [{"A": 1}, {"A": ["x"]}, [], "A=1"])
async def test_env_maps_text_to_text(client, app, env):
    response = await client.post("/releases", {"app_id": app["id"], "env": env})
    assert (response.status, response.json()["code"]) == (400, "syntax_error")


async def test_an_app_has_no_release_until_one_is_set(client, app):
    assert (await client.get("/apps/hello/release")).status == 404
    assert (await client.get("/apps/hello/releases")).body == b"[]"
    first, second = await release_of(client, app), await release_of(client, app)
    assert (await client.get("/apps/hello/release")).status == 404
    assert (await client.put("/apps/hello/release", {"id": first["id"]})).json() == first
    assert (await client.get("/apps/hello/release")).json() == first
    assert (await client.get("/apps/hello")).json()["release"] == first["id"]
    assert (await client.get("/apps/hello/releases")).json() == [second, first]
    assert (await client.get("/releases")).json() == [second, first]


@pytest.mark.parametrize("wanted", [UNKNOWN, "x", ""])
async def test_an_unknown_release_cannot_be_made_current(client, app, wanted):
    response = await client.put("/apps/hello/release", {"id": wanted})
    assert (response.status, response.json()["code"]) == (400, "validation_error")
    assert response.json()["message"] == f"could not find release with ID {wanted}"


async def test_a_release_is_deleted_unless_it_is_current(client, app):
    first, second = await release_of(client, app), await release_of(client, app)
    await client.put("/apps/hello/release", {"id": second["id"]})
    response = await client.delete(f"/apps/hello/releases/{second['id']}")
    assert (response.status, response.json()["message"]) == (400, "cannot delete current app release")
    response = await client.delete(f"/apps/hello/releases/{first['id']}")
    assert (response.status, response.body) == (200, b"")
    assert (await client.delete(f"/apps/hello/releases/{first['id']}")).status == 404
    assert (await client.get(f"/releases/{first['id']}")).status == 404
    [event] = (await client.get("/events?object_types=release_deletion")).json()
    assert event["data"] == {
        "release_deletion": {"app": app["id"], "release": first["id"], "remaining_apps": None, "deleted_files": None},
        "error": "",
    }


async def test_what_of_the_host_the_operator_does_not_allow_is_refused(client, app):
    body = {"app_id": app["id"], "processes": {"web": {"host_network": True}}}
    refused = await client.post("/releases", body)
    assert (refused.status, refused.json()["detail"]) == (400, {"field": "processes.web.host_network"})
    assert refused.json()["message"].startswith("processes.web.host_network needs the host's network, which this")


async def test_limits_nothing_can_run_with_are_refused(client, app):
    body = {"app_id": app["id"], "processes": {"web": {"resources": {"memory": {"limit": 4}}}}}
    refused = await client.post("/releases", body)
    assert (refused.status, refused.json()["message"]) == (
        400,
        "processes.web.resources.memory.limit must be at least 6291456 (6MB): with less no process can start",
    )


async def test_what_of_the_host_the_operator_allows_can_be_had(open_stage, settings):
    async with open_stage(replace(settings, host_features=("network",))) as stage:
        client = stage.client()
        app = (await client.post("/apps", {"name": "hello"})).json()
        release = await release_of(client, app, processes={"web": {"host_network": True}})
    assert release["processes"]["web"]["host_network"] is True
