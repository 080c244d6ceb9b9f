"""The way of a database, told with our own `flynn` over the whole process in memory.

A provider runs as an app of the cluster, under its name of discoverd. It hands out databases whose tools are in its own
image, as Flynn's do; they run as jobs of the app that uses the database.
"""

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

import flynn_aio
from flynn_aio.bootstrap import cluster_key
from flynn_aio.engine import FakeEngine, open_fake_engine

from ..receive.conftest import FakeBuilder
from ..support.provider import FakeProvider
from .test_in_memory import DOMAIN, SUBNET, World, running, settings

__all__ = ["settings"]

SOURCE = str(Path(flynn_aio.__file__).parents[1])
IMAGE = "localhost/test/provider:1"
VARIABLES = {
    "FLYNN_POSTGRES": "things",
    "PGHOST": "leader.things-web.discoverd",
    "PGUSER": "u",
    "PGPASSWORD": "p",
    "PGDATABASE": "d",
    "DATABASE_URL": "postgres://u:p@leader.things-web.discoverd:5432/d",
}


@dataclass
class Tools:
    """What is in the provider's image: the provider itself, and the tools of its databases. `data` is all they hold."""

    provider: FakeProvider
    data: bytes = b"PGDMP\x00\xff" * 50_000

    async def __call__(self, process):
        match process.spec.args:
            case ("serve",):
                serve = partial(trio.serve_tcp, self.provider.serve, int(process.spec.env["PORT"]))
                await serve(host=process.spec.env["EXTERNAL_IP"])
            case ("psql", *_):
                assert process.spec.env["PGHOST"] == VARIABLES["PGHOST"]
                await process.write(b"connected as " + process.spec.env["PGUSER"].encode() + b"\n")
                return 3
            case ("pg_dump", *_):
                await process.write(self.data)
            case ("pg_restore", *_):
                self.data = b""
                while piece := await process.read():
                    self.data += piece
            case other:
                raise AssertionError(other)
        return 0


@pytest.fixture
async def tools():
    return Tools(FakeProvider(env=VARIABLES))


@pytest.fixture
async def engine(settings, tools):
    settings.engine.log_dir.mkdir(parents=True)
    async with open_fake_engine(subnet=SUBNET, log_dir=settings.engine.log_dir) as fake:
        yield fake.script(FakeBuilder(), type="slugbuilder").script(tools, image=IMAGE)


@dataclass
class Person:
    """Somebody who knows the cluster, and types commands."""

    world: World
    home: Path

    def __post_init__(self) -> None:
        url = f"http://controller.{DOMAIN}:{self.world.ready.http_port}"
        key = cluster_key(self.world.settings)
        (self.home / ".flynnrc").write_text(f'[[cluster]]\nName = "c"\nKey = "{key}"\nControllerURL = "{url}"\n')

    async def flynn(self, line: str, *, stdin: bytes = b"", code: int = 0) -> tuple[bytes, str]:
        """Type a command that is to end with this exit code; return what it printed, and what it said."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLYNN", "GIT_"))}
        done = await trio.run_process(
            [sys.executable, "-m", "flynn_aio.cli.main", *line.split()],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=self.home,
            env=kept | {"HOME": str(self.home), "PYTHONPATH": SOURCE},
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout, done.stderr.decode()


@pytest.fixture
async def person(settings, engine: FakeEngine, tmp_path):
    """A person in a running cluster with the apps `shop` and `things`, the latter serving as a provider."""
    async with running(settings, engine) as world:
        (tmp_path / "home").mkdir()
        one = Person(world, tmp_path / "home")
        for app in ("shop", "things"):
            await one.flynn(f"create {app}")
        app = (await world.api.get("/apps/things")).json()["id"]
        artifact = (await world.api.post("/artifacts", {"type": "flynn", "uri": f"image:{IMAGE}"})).json()
        service = {"name": "things-web", "create": True, "check": {"type": "tcp"}}
        web = {"args": ["serve"], "ports": [{"port": 8080, "proto": "tcp", "service": service}]}
        wanted = {"app_id": app, "artifacts": [artifact["id"]], "processes": {"web": web}}
        release = (await world.api.post("/releases", wanted)).json()
        assert (await world.api.put("/apps/things/release", {"id": release["id"]})).status == 200
        await one.flynn("-a things scale web=1")
        yield one


async def test_a_database_from_its_making_to_its_end(person, tools):
    provider = tools.provider
    assert "there are no providers" in (await person.flynn("provider"))[1]
    _, said = await person.flynn("-a shop resource add postgres", code=1)
    assert "there is no provider 'postgres' here yet" in said
    await person.flynn("provider add postgres http://things-web.discoverd/things")

    _, said = await person.flynn("-a shop resource add postgres")
    assert said.startswith("Created resource ")
    assert provider.asked[0].headers["host"] == "things-web.discoverd"
    printed, _ = await person.flynn("-a shop env get DATABASE_URL")
    assert printed.decode().strip() == VARIABLES["DATABASE_URL"]

    assert await person.flynn("-a shop pg psql -- -l", code=3) == (b"connected as u\n", "")
    dumped, _ = await person.flynn("-a shop pg dump")
    assert dumped == tools.data
    tools.data = b"lost"
    await person.flynn("-a shop pg restore", stdin=dumped)
    assert tools.data == dumped
    jobs = (await person.world.api.get("/apps/shop/jobs")).json()
    assert len(jobs) == 3  # the tools ran as jobs of the app that uses the database

    _, said = await person.flynn("-a shop resource remove postgres")
    assert said.startswith("Deleted resource ")
    assert await person.flynn("-a shop env") == (b"", "")
    await person.flynn("-a shop resource add postgres")
    _, said = await person.flynn("-a shop delete -y -r=")
    assert said == "Deleted shop (removed 1 routes, deleted 3 releases, deprovisioned 1 resources)\n"
    assert [(asked.method, asked.target) for asked in provider.asked] == [
        ("POST", "/things"),
        ("DELETE", "/things?id=%2Fthings%2F1"),
        ("POST", "/things"),
        ("DELETE", "/things?id=%2Fthings%2F3"),
    ]
    assert provider.resources == {}


async def test_an_app_outlives_a_provider_that_fails_and_goes_when_it_is_well_again(person, tools):
    await person.flynn("provider add postgres http://things-web.discoverd/things")
    await person.flynn("-a shop resource add postgres")
    await person.flynn("-a things scale web=0")
    _, said = await person.flynn("-a shop delete -y -r=", code=1)
    assert "nobody answers for things-web.discoverd in this cluster just now" in said
    assert b"postgres" in (await person.flynn("-a shop resource"))[0]
    await person.flynn("-a things scale web=1")
    _, said = await person.flynn("-a shop delete -y -r=")
    assert said == "Deleted shop (removed 1 routes, deleted 1 releases, deprovisioned 1 resources)\n"
    assert tools.provider.resources == {}
