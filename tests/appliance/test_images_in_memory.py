"""An image from its push to its first answer, through the router and all parts in memory, and after a crash."""

import trio

from flynn_aio.bootstrap import cluster_key

from ..support.git import eventually
from ..support.http_client import HTTPClient
from ..support.layers import digest, layer_tar
from .test_in_memory import DOMAIN, engine, running, settings, web

__all__ = ["engine", "settings"]

LAYERS = [layer_tar({name: name.encode() * 100_000}) for name in ("low", "high")]


def image_service(world):
    client = HTTPClient(world.dial, key=cluster_key(world.settings))
    own = client.headers
    client.headers = lambda headers: own(headers) | {"host": f"images.{DOMAIN}"}
    return client


async def push(world, images):
    for tar in LAYERS:
        if (await images.get(f"/layer/{digest(tar)}")).status == 404:
            assert (await images.post(f"/layer/{digest(tar)}", tar)).status == 200
    manifest = {
        "_type": "application/vnd.flynn.image.manifest.v1+json",
        "entrypoints": {"_default": {"args": ["serve"], "env": {"GREETING": "salut"}, "cwd": "/www"}},
        "rootfs": [{"layers": [{"id": digest(tar)} for tar in LAYERS]}],
    }
    artifact = (await images.post("/artifact", manifest)).json()
    app = (await world.api.post("/apps", {"name": "hello"})).json()
    service = {"name": "hello-web", "create": True}
    process = {"args": ["serve"], "ports": [{"port": 8080, "proto": "tcp", "service": service}]}
    body = {"app_id": app["id"], "artifacts": [artifact["id"]], "processes": {"web": process}}
    release = (await world.api.post("/releases", body)).json()
    assert (await world.api.post("/apps/hello/deploy", {"id": release["id"]})).status == 200
    wanted = {"processes": {"web": 1}}
    assert (await world.api.put(f"/apps/hello/formations/{release['id']}", wanted)).status == 200
    return artifact


async def test_an_image_serves_and_goes_with_its_app(settings, engine):
    engine.script(web, type="web")
    layer_dir = trio.Path(settings.images.layer_dir)

    async def holds(*tars):
        return {path.name for path in await layer_dir.iterdir()} == set(map(digest, tars))

    async with running(settings, engine) as world:
        images = image_service(world)
        await push(world, images)
        await world.answers("salut from host0-")
        [spec] = engine.started
        assert (spec.layers, spec.workdir) == (tuple(map(digest, LAYERS)), "/www")
        images.close()
    (settings.images.layer_dir / ".new-0011").mkdir()  # as an upload leaves it that a crash cut off

    async with running(settings, engine) as world:
        await world.answers("salut from host0-")
        await eventually(lambda: holds(*LAYERS))
        assert (await world.api.delete("/apps/hello")).status == 200
        await eventually(holds)
        images = image_service(world)
        await push(world, images)  # and again, under the same name
        await world.answers("salut from host0-")
        images.close()
