"""The image service over its own door, and the life of what it keeps."""

import base64
import gzip
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass

import h11
import pytest
import trio

from flynn_aio.errors import NotFound
from flynn_aio.images import janitor
from flynn_aio.images.janitor import sweep_layers
from flynn_aio.model import LAYER_TYPE
from flynn_aio.store import changes, key_hash

from ..support.git import eventually
from ..support.http_client import HTTPClient
from ..support.layers import digest, layer_tar
from .conftest import KEY

SHARED = layer_tar({"shared.txt": b"shared"})
OWN = layer_tar({"own.txt": b"own"})
OTHER = layer_tar({"other.txt": b"other"})


@pytest.fixture
async def stage(open_stage):
    """A controller with the janitor of its layers at work."""
    async with open_stage() as stage, trio.open_nursery() as nursery:
        nursery.start_soon(sweep_layers, stage.layers, stage.store, stage.engine)
        yield stage
        nursery.cancel_scope.cancel()


@pytest.fixture
def images(stage):
    stage.clients.append(HTTPClient(stage.controller.dial("images"), key=KEY))
    return stage.clients[-1]


@pytest.fixture
def layer_dir(tmp_path):
    return tmp_path / "layers"


def manifest(*layers, **env):
    return {
        "_type": "application/vnd.flynn.image.manifest.v1+json",
        "entrypoints": {"_default": {"env": env, "cwd": "/", "args": ["serve"]}},
        "rootfs": [{"platform": {"architecture": "amd64", "os": "linux"}, "layers": [{"id": one} for one in layers]}],
    }


async def pushed(images, *tars, **env):
    for tar in tars:
        assert (await images.post(f"/layer/{digest(tar)}", tar)).status == 200
    response = await images.post("/artifact", manifest(*map(digest, tars), **env))
    assert response.status == 200, response
    return response.json()


async def test_a_layer_goes_in_once_and_is_found(images):
    id = digest(OWN)
    before = await images.get(f"/layer/{id}")
    assert (before.status, before.body) == (404, b"")
    created = await images.post(f"/layer/{id}", OWN)
    assert created.status == 200
    assert list(created.json()) == ["id", "type", "length", "hashes", "meta"]
    assert created.json() | {"hashes": None} == {
        "id": id,
        "type": LAYER_TYPE,
        "length": len(OWN),
        "hashes": None,
        "meta": {"tar.layer_id": id},
    }
    assert (await images.get(f"/layer/{id}")).json() == created.json()


@pytest.mark.parametrize("layer", ["x", "..", "A" * 64, "%2e%2e%2fslugs"])
async def test_what_cannot_be_a_layer_is_not_one(images, layer):
    assert (await images.get(f"/layer/{layer}")).status == 404
    refused = await images.post(f"/layer/{layer}", OWN)
    assert (refused.status, refused.json()["code"]) == (400, "validation_error")


async def test_a_wrong_digest_is_said_and_nothing_stays(images, layer_dir):
    refused = await images.post(f"/layer/{'0' * 64}", OWN)
    assert refused.status == 400
    assert "SHA256 mismatch" in refused.json()["message"]
    assert os.listdir(layer_dir) == []


async def test_a_layer_longer_than_any_body_is_streamed(open_stage, settings, layer_dir):
    big = layer_tar({"big": os.urandom(3 * 1024 * 1024)})
    async with open_stage() as stage:
        client = HTTPClient(stage.controller.dial("images"), key=KEY)
        stage.clients.append(client)
        assert len(big) > settings.max_body_bytes
        assert (await client.post(f"/layer/{digest(big)}", big)).json()["length"] == len(big)


async def test_a_refusal_is_read_by_who_sends_it_all_first(open_stage, tmp_path):
    """Through a socket pair whose buffers hold a fraction of it."""
    async with open_stage(max_layer_bytes=1_000_000) as stage:
        client = HTTPClient(stage.controller.dial("images"), key=KEY)
        stage.clients.append(client)
        for layer, why in (("x", "must be the SHA-256 of a tar"), ("0" * 64, "is not a tar archive")):
            refused = await client.post(f"/layer/{layer}", b"x" * 900_000)
            assert (refused.status, why in refused.json()["message"]) == (400, True)
        big = await client.post(f"/layer/{'0' * 64}", bytes(1_900_000))
        assert "is larger than the 1000000 bytes" in big.json()["message"]
        assert os.listdir(tmp_path / "layers") == []
        async with await stage.controller.dial("images")() as stream:
            head = h11.Request(
                method="POST",
                target=f"/layer/{'0' * 64}",
                headers=[*client.headers({"host": "images"}).items(), ("content-length", "9000000")],
            )
            with pytest.raises(trio.BrokenResourceError):  # nobody listens for ever
                await stream.send_all(h11.Connection(h11.CLIENT).send(head) + bytes(9_000_000))


async def test_a_client_that_goes_in_the_middle_leaves_nothing(stage, layer_dir):
    stream = await stage.controller.dial("images")()
    key = base64.b64encode(f":{KEY}".encode()).decode()
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", "images"), ("Authorization", f"Basic {key}"), ("Content-Length", str(len(OWN)))]
    await stream.send_all(connection.send(h11.Request(method="POST", target=f"/layer/{digest(OWN)}", headers=headers)))
    await stream.send_all(connection.send(h11.Data(data=OWN[:700])))
    await _until(lambda: os.listdir(layer_dir))
    await stream.aclose()
    await _until(lambda: not os.listdir(layer_dir))


async def _until(condition):
    async def check():
        return condition()

    await eventually(check)


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_nothing_goes_without_the_key(stage, key, layer_dir):
    client = HTTPClient(stage.controller.dial("images"), key=key)
    stage.clients.append(client)
    assert (await client.get(f"/layer/{digest(OWN)}")).status == 401
    assert (await client.post(f"/layer/{digest(OWN)}", OWN)).status == 401
    assert os.listdir(layer_dir) == []


async def test_the_doors_have_their_own_tables(images, client):
    assert (await images.get("/apps")).status == 404
    assert (await client.get(f"/layer/{digest(OWN)}")).status == 404


async def test_an_artifact_is_made_of_a_manifest_once(images, client):
    artifact = await pushed(images, SHARED, OWN, A="1")
    assert list(artifact) == [
        "id",
        "type",
        "uri",
        "meta",
        "manifest",
        "hashes",
        "size",
        "layer_url_template",
        "created_at",
    ]
    assert (artifact["type"], artifact["meta"]) == ("flynn", {"blobstore": "true"})
    assert artifact["uri"] == f"http://blobstore.discoverd/tarreceive/images/{artifact['hashes']['sha512_256']}.json"
    assert artifact["layer_url_template"] == "http://blobstore.discoverd/tarreceive/layers/{id}.tar"
    assert artifact["manifest"] == manifest(digest(SHARED), digest(OWN), A="1")
    assert await pushed(images, SHARED, OWN, A="1") == artifact
    assert (await client.get(f"/artifacts/{artifact['id']}")).json() == artifact
    assert (await pushed(images, SHARED, OWN, A="2"))["id"] != artifact["id"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (manifest("f" * 64), f"rootfs names layer '{'f' * 64}', which is not here; push it first"),
        (manifest("../x"), "rootfs names layer '../x', which is no SHA-256 in hex"),
        (manifest(), "rootfs must name at least one layer"),
        ({}, "rootfs must name at least one layer"),
    ],
)
async def test_a_manifest_of_what_is_not_here_is_refused(images, body, message):
    refused = await images.post("/artifact", body)
    assert (refused.status, refused.json()["message"]) == (400, message)


async def test_what_no_image_can_be_made_of_is_told_at_once(stage, images, client):
    stage.engine.torn_layers.add(digest(OWN))
    await images.post(f"/layer/{digest(OWN)}", OWN)
    refused = await images.post("/artifact", manifest(digest(OWN)))
    why = f"rootfs cannot be used: cannot make an image of the layers: layer {digest(OWN)} is torn"
    assert (refused.status, refused.json()["message"]) == (400, why)
    assert (await client.get("/artifacts")).json() == []


async def test_an_engine_that_does_not_answer_does_not_lose_a_push(stage, images):
    with stage.engine.outage("it hangs"):
        assert await pushed(images, OWN)
    assert stage.engine.layered == set()


async def released(client, name, artifact):
    app = (await client.post("/apps", {"name": name})).json()
    body = {"app_id": app["id"], "artifacts": [artifact["id"]], "processes": {"app": {"args": ["serve"]}}}
    release = (await client.post("/releases", body)).json()
    assert (await client.put(f"/apps/{name}/release", {"id": release["id"]})).status == 200
    return release


async def deletion(client, name):
    [event] = (await client.get(f"/events?object_types=release_deletion&app_id={name}")).json()
    return event["data"]["release_deletion"]


async def test_a_deleted_release_takes_along_what_only_it_had(images, client, layer_dir):
    one, two = await pushed(images, SHARED, OWN), await pushed(images, SHARED, OTHER)
    first, second = await released(client, "one", one), await released(client, "two", two)
    assert (await client.delete(f"/apps/one/releases/{first['id']}")).status == 400  # it is current
    newer = {"app_id": first["app_id"], "artifacts": [two["id"]]}
    newer = (await client.post("/releases", newer)).json()
    await client.put("/apps/one/release", {"id": newer["id"]})

    assert (await client.delete(f"/apps/one/releases/{first['id']}")).status == 200
    own = f"http://blobstore.discoverd/tarreceive/layers/{digest(OWN)}.tar"
    assert (await deletion(client, "one"))["deleted_files"] == [one["uri"], own]
    assert (await client.get(f"/artifacts/{one['id']}")).status == 404
    await _until(lambda: sorted(os.listdir(layer_dir)) == sorted(map(digest, (SHARED, OTHER))))
    assert (await client.get(f"/artifacts/{two['id']}")).status == 200
    assert (await images.get(f"/layer/{digest(OWN)}")).status == 404

    again = await pushed(images, SHARED, OWN)  # what is gone can come again
    assert (again["uri"], again["id"] != one["id"]) == (one["uri"], True)
    assert second


async def test_deleted_apps_take_their_layers_along_but_not_shared_ones(images, client, layer_dir):
    await released(client, "one", await pushed(images, SHARED, OWN))
    await released(client, "two", await pushed(images, SHARED, OTHER))
    assert (await client.delete("/apps/one")).status == 200
    await _until(lambda: sorted(os.listdir(layer_dir)) == sorted(map(digest, (SHARED, OTHER))))
    assert (await client.delete("/apps/two")).status == 200
    await _until(lambda: os.listdir(layer_dir) == [])
    await released(client, "three", await pushed(images, SHARED, OWN))


async def test_a_system_image_is_never_deleted(client):
    body = {"type": "flynn", "uri": "image:localhost/stack", "meta": {"flynn.system-image": "true"}}
    artifact = (await client.post("/artifacts", body)).json()
    await released(client, "one", artifact)
    await client.delete("/apps/one")
    assert (await client.get(f"/artifacts/{artifact['id']}")).status == 200


async def test_an_image_of_layers_goes_with_its_last_release_and_job(stage, images, client, layer_dir, monkeypatch):
    monkeypatch.setattr(janitor, "SOON_S", 0.05)
    artifact = await pushed(images, SHARED, OWN)
    assert stage.engine.layered == {(digest(SHARED), digest(OWN))}  # before anything is started
    release = await released(client, "one", artifact)
    assert (await client.post("/apps/one/jobs", {"release": release["id"], "args": ["true"]})).status == 200
    [job] = stage.engine.started
    assert job.layers == (digest(SHARED), digest(OWN))
    assert stage.engine.layered == {(digest(SHARED), digest(OWN))}
    await client.delete("/apps/one")
    await _until(lambda: not os.listdir(layer_dir))
    assert stage.engine.layered
    await stage.engine.remove(job.id)
    await _until(lambda: not stage.engine.layered)


async def test_a_layer_comes_out_as_it_went_in(open_stage):
    big = layer_tar({"big": os.urandom(3 * 1024 * 1024)})
    async with open_stage() as stage:
        client = HTTPClient(stage.controller.dial("images"), key=KEY)
        stage.clients.append(client)
        await client.post(f"/layer/{digest(big)}", gzip.compress(big, 1))
        found = await client.get(f"/layer/{digest(big)}/tar")
        assert (found.status, found.content_type, found.body == big) == (200, "application/tar", True)
        assert found.headers["content-length"] == str(len(big))  # so that whoever writes a tar of it need not keep it


async def test_a_layer_that_is_swept_while_it_is_sent_is_sent_whole(stage, layer_dir):
    await stage.layers.receive(digest(OWN), pieces(OWN))
    async with stage.layers.open_tar(digest(OWN)) as tar:
        (layer_dir / digest(OWN)).rename(layer_dir / ".old-1")
        assert b"".join([piece async for piece in tar]) == OWN
    with pytest.raises(NotFound):
        async with stage.layers.open_tar(digest(OWN)):
            pass


async def pieces(data):
    yield data
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("layer", ["0" * 64, "x", "..", "%2e%2e%2fslugs"])
async def test_a_layer_that_is_not_there_has_no_tar(images, layer):
    found = await images.get(f"/layer/{layer}/tar")
    assert (found.status, found.body) == (404, b"")


@pytest.mark.parametrize(("method", "path"), [("GET", f"/layer/{'0' * 64}/tar"), ("GET", "/slug/x"), ("POST", "/slug")])
async def test_layers_and_slugs_are_for_those_with_the_key(stage, method, path):
    stranger = HTTPClient(stage.controller.dial("images"), key="wrong")
    stage.clients.append(stranger)
    asked = stranger.get(path) if method == "GET" else stranger.post(path, b"x")
    assert (await asked).status == 401


@dataclass
class EndlessSlug:
    """A slug that is always there, and has no end."""

    async def is_there(self, slug):
        await trio.lowlevel.checkpoint()
        return True

    @asynccontextmanager
    async def open_tar(self, slug):
        async def pieces():
            while True:
                yield b"x" * 1000
                await trio.lowlevel.checkpoint()

        yield pieces()


async def test_a_slug_whose_key_is_removed_in_the_middle_does_not_end_as_if_it_were_whole(open_stage):
    async with open_stage(slugs=EndlessSlug()) as stage:
        await stage.store.transact(lambda tx: changes.add_key(tx, "other", key_hash("other")))
        other = HTTPClient(stage.controller.dial("images"), key="other")
        async with other.stream("/slug/s1", accept="application/gzip") as tar:
            assert await tar.piece()
            assert (await stage.client().delete("/keys/other")).status == 200
            with pytest.raises(h11.RemoteProtocolError, match="without sending complete message body"):
                while await tar.piece():
                    pass
