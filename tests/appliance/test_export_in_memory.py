"""An app that is exported, deleted and imported under another name, with the real `flynn` and every part in memory."""

import os
import sys

import pytest
import trio

from flynn_aio.bootstrap import cluster_key

from ..support.git import eventually
from .test_images_in_memory import image_service, push
from .test_in_memory import DOMAIN, engine, pushed, running, settings, web

__all__ = ["engine", "settings"]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


async def flynn(world, home, *argv, stdin=b"", well=True):
    """Run the real command as a process of its own; return its output."""
    url = f"http://%s.{DOMAIN}:{world.ready.http_port}"
    (home / ".flynnrc").write_text(
        f'default = "one"\n\n[[cluster]]\n  Name = "one"\n  Key = "{cluster_key(world.settings)}"\n'
        f'  ControllerURL = "{url % "controller"}"\n  GitURL = "{url % "git"}"\n  ImageURL = "{url % "images"}"\n'
    )
    done = await trio.run_process(
        [sys.executable, "-m", "flynn_aio.cli.main", *argv],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd=home,
        env={**os.environ, "HOME": str(home), "FLYNNRC": str(home / ".flynnrc")},
    )
    assert (done.returncode == 0) == well, done.stderr.decode()
    return done


async def test_a_pushed_app_moves_to_another_name(settings, engine, tmp_path, home):
    async with running(settings, engine) as world:
        assert (await world.api.post("/apps", {"name": "hello"})).status == 200
        _, said = await pushed(world, tmp_path)
        assert said.code == 0, said.text
        assert (await world.deploy(GREETING="bonjour"))["status"] == "complete"
        await world.answers("bonjour")
        before = (await world.api.get("/apps/hello/release")).json()

        exported = await flynn(world, home, "-a", "hello", "export")
        assert (await world.api.delete("/apps/hello")).status == 200
        done = await flynn(world, home, "import", "-n", "copy", "-r", stdin=exported.stdout)
        assert done.stdout == b"Imported copy (added 2 routes, provisioned 0 resources)\n"
        await world.answers("bonjour")  # by the route of old
        world.host = f"copy.{DOMAIN}"
        await world.answers("bonjour")  # and its own

        after = (await world.api.get("/apps/copy/release")).json()
        assert after["meta"] == before["meta"]
        assert after["processes"]["web"]["service"] == "copy-web"
        assert after["artifacts"][0] == before["artifacts"][0]  # the runner
        artifact = (await world.api.get(f"/artifacts/{after['artifacts'][1]}")).json()
        slug = settings.build.slug_dir / artifact["uri"].removeprefix("slug:")
        assert await trio.Path(slug / "Procfile").read_text() == "web: serve"

        refused = await flynn(world, home, "import", stdin=exported.stdout[:-3000], well=False)
        assert refused.stderr.startswith(b"error reading export tar: ")
        apps = {app["name"] for app in (await world.api.get("/apps")).json()}
        assert "hello" not in apps
        hosts = [spec.id for spec in engine.started if spec.type == "web"]
        assert len(hosts) == len(set(hosts))


async def test_an_image_moves_and_comes_back_after_its_layers_vanished(settings, engine, home):
    engine.script(web, type="web")
    layer_dir = trio.Path(settings.images.layer_dir)
    async with running(settings, engine) as world:
        images = image_service(world)
        artifact = await push(world, images)
        await world.answers("salut")
        await flynn(world, home, "-a", "hello", "export", "-f", "hello.tar")
        assert (await world.api.delete("/apps/hello")).status == 200

        async def empty():
            return not [path async for path in aiter_of(layer_dir)]

        await eventually(empty)
        done = await flynn(world, home, "import", "-f", "hello.tar")
        assert done.stdout == b"Imported hello (added 1 routes, provisioned 0 resources)\n"
        await world.answers("salut")
        assert {path.name async for path in aiter_of(layer_dir)} == layers_of(artifact)
        images.close()


async def aiter_of(directory):
    for path in await directory.iterdir():
        yield path


def layers_of(artifact):
    return {layer["id"] for layer in artifact["manifest"]["rootfs"][0]["layers"]}
