"""The whole process in memory: every part real but the engine, whose jobs are tasks that listen on loopback.

All of 127.0.0.0/8 is this machine, so the jobs' network is a piece of it and health checks, DNS and
requests go over real sockets.
"""

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import trio

from flynn_aio import appliance
from flynn_aio.bootstrap import cluster_key, prepare_files
from flynn_aio.config import load
from flynn_aio.engine import exits, open_fake_engine
from flynn_aio.receive import Stack
from flynn_aio.settings import Settings

from ..receive.conftest import FakeBuilder
from ..support.git import Client, eventually
from ..support.http_client import HTTPClient
from ..support.log_server import log_server

SUBNET = IPv4Network("127.101.0.0/24")
DOMAIN = "flynn.localhost"


async def web(process):
    """Answer every request with the greeting of the environment, until a signal comes."""
    env = process.spec.env

    async def answer(stream):
        async with stream:
            while await stream.receive_some(65536):
                body = f"{env.get('GREETING', 'hello')} from {env['FLYNN_JOB_ID']}".encode()
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    await process.write(b"listening\n")
    await trio.serve_tcp(answer, int(env["PORT"]), host=env["EXTERNAL_IP"])


@dataclass
class World:
    """A running appliance and those who use it."""

    settings: Settings
    engine: object
    ready: appliance.Ready
    api: HTTPClient
    said: list[str]
    host: str = f"hello.{DOMAIN}"

    async def dial(self):
        return await trio.open_tcp_stream("127.0.0.1", self.ready.http_port)

    async def ask(self, host: str | None = None):
        """GET / of the app over plain HTTP; the status and the body."""
        visitor = HTTPClient(self.dial, key=None)
        try:
            return await visitor.get("/", headers={"host": host or self.host})
        finally:
            visitor.close()

    async def answers(self, text: str):
        async def check():
            return text in (await self.ask()).body.decode()

        await eventually(check)

    async def jobs(self, state: str = "up"):
        found = (await self.api.get("/apps/hello/jobs")).json()
        return {job["id"] for job in found if job["state"] == state and job.get("type") == "web"}

    async def deploy(self, **env: str):
        """What `flynn env set` does, up to the end of the deployment."""
        release = (await self.api.get("/apps/hello/release")).json()
        changed = release | {"env": release.get("env", {}) | env}
        del changed["id"]
        new = (await self.api.post("/releases", changed)).json()
        deployment = (await self.api.post("/apps/hello/deploy", {"id": new["id"]})).json()

        async def finished():
            found = (await self.api.get(f"/deployments/{deployment['id']}")).json()
            return found if "finished_at" in found else None

        return await eventually(finished, within_s=20)


@asynccontextmanager
async def running(settings: Settings, engine):
    """Have an appliance over an engine that outlives it, as Podman's containers do."""

    @asynccontextmanager
    async def open_engine(_):
        yield engine

    said = []

    async def say(line):
        assert not line.startswith("warning"), line
        said.append(line)

    stop, opened = trio.Event(), trio.Event()
    found = []

    async def ready(doors):
        found.append(doors)
        opened.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(appliance.run, settings, stop, say=say, ready=ready, open_engine=open_engine))
        await opened.wait()
        world = World(settings, engine, found[0], api=None, said=said)
        world.api = HTTPClient(world.dial, key=cluster_key(settings))
        world.api.headers = lambda headers, own=world.api.headers: own(headers) | {"host": f"controller.{DOMAIN}"}
        yield world
        world.api.close()
        stop.set()


@pytest.fixture
def settings(tmp_path, clock):
    flags = {
        "appliance.data_dir": str(tmp_path / "data"),
        "appliance.domain": DOMAIN,
        "discoverd.dns_port": 0,
        "router.http_port": 0,
        "router.https_port": 0,
        "scheduler.kill_s": 1.0,
        "build.ca_bundle": "",
    }
    loaded = load(environ={}, flags=flags)
    engine = replace(loaded.engine, subnet=SUBNET)  # Podman could not have it, so as a setting it is refused
    return replace(loaded, engine=engine, discoverd=replace(loaded.discoverd, address=engine.gateway))


@pytest.fixture
async def engine(settings):
    settings.engine.log_dir.mkdir(parents=True)
    async with open_fake_engine(subnet=SUBNET, log_dir=settings.engine.log_dir) as fake:
        yield fake.script(FakeBuilder(), type="slugbuilder").script(web, type="web")


async def test_a_stop_is_heard_while_the_stack_is_being_made(settings, engine, monkeypatch):
    """It takes minutes on a first start; whoever says Ctrl-C then does not wait for it."""
    making, stop = trio.Event(), trio.Event()

    async def ensure(*_):
        making.set()
        await trio.sleep_forever()

    monkeypatch.setattr(Stack, "ensure", ensure)

    @asynccontextmanager
    async def open_engine(_):
        yield engine

    async def never(_):
        raise AssertionError("it was not ready")

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            run = partial(appliance.run, settings, stop, say=never, ready=never, open_engine=open_engine)
            nursery.start_soon(run)
            await making.wait()
            stop.set()


async def pushed(world: World, tmp_path: Path, **files: str):
    """Push a repository; the client and what git said."""
    client = Client(
        tmp_path / "tree", f"http://user:{cluster_key(world.settings)}@git.{DOMAIN}:{world.ready.http_port}/hello.git"
    )
    if not client.tree.exists():
        await client.start()
    await client.commit(requirements__txt="", Procfile="web: serve", **files)
    return client, await client.push()


async def test_from_a_push_to_a_drain_and_back(settings, engine, tmp_path):
    async with running(settings, engine) as world:
        assert (await world.ask()).status == 404
        assert (await world.api.post("/apps", {"name": "hello"})).status == 200
        await world.answers("Service Unavailable")  # a moment later: the router follows the events of routes
        _, said = await pushed(world, tmp_path)
        assert said.code == 0, said.text
        assert "=====> Application deployed" in said.text
        await world.answers("hello from host0-")

        finished = await world.deploy(GREETING="bonjour")
        assert finished["status"] == "complete"
        await world.answers("bonjour")

        [before] = await eventually(lambda: _alone(world))  # the old one goes after the deployment is complete
        engine.crash(before.partition("-")[2])
        await eventually(lambda: _differs(world, {before}))
        await world.answers("bonjour")
        jobs = await world.jobs()

    async with running(settings, engine) as world:  # the jobs went on; the same ids are adopted
        assert await world.jobs() == jobs
        await world.answers("bonjour")


async def test_a_start_says_which_apps_are_not_up_yet(settings, engine, tmp_path):
    async def slow(process):
        await trio.sleep(1)
        await web(process)

    async with running(settings, engine) as world:
        await world.api.post("/apps", {"name": "hello"})
        await pushed(world, tmp_path)
        [job] = await world.jobs()
    async with running(settings, engine) as world:
        assert world.said == []
    engine.script(slow, type="web").lose(job.partition("-")[2])  # as `flynn-aio down` does
    async with running(settings, engine) as world:
        assert world.said == ["not up yet: hello; to see how far they are, type: flynn-aio status"]
        await world.answers("hello from host0-")


async def _alone(world):
    now = await world.jobs()
    return now if len(now) == 1 else None


async def _differs(world, jobs):
    now = await world.jobs()
    return now and now != jobs


async def test_a_release_that_does_not_come_up_leaves_the_old_one_serving(settings, engine, tmp_path):
    async with running(settings, engine) as world:
        await world.api.post("/apps", {"name": "hello"})
        client, said = await pushed(world, tmp_path)
        assert said.code == 0, said.text
        engine.script(exits(7, prints=b"cannot find my database\n"), type="web")
        refused = await pushed(world, tmp_path, broken="yes")
        assert refused[1].code != 0
        for part in ("web job failed to start", "cannot find my database"):
            assert part in refused[1].text
        engine.script(web, type="web")
        await world.answers("hello from host0-")
        assert (await client.remote_refs())["refs/heads/master"] != (await client.git("rev-parse", "HEAD")).text.strip()


async def test_a_crash_in_the_middle_of_anything_is_only_a_start(settings, engine, tmp_path):
    """Cut the appliance off without any drain, again and again, and let the next one go on."""
    async with running(settings, engine) as world:
        await world.api.post("/apps", {"name": "hello"})
        await pushed(world, tmp_path)
    for number in range(5):
        with trio.CancelScope() as crash:
            async with running(settings, engine) as world:
                await world.answers("from host0-")
                release = (await world.api.get("/apps/hello/release")).json()
                changed = release | {"env": {"GREETING": f"number {number}"}}
                del changed["id"]
                new = (await world.api.post("/releases", changed)).json()
                await world.api.post("/apps/hello/deploy", {"id": new["id"]})
                await trio.sleep(0.02 * number)
                crash.cancel()
                await trio.lowlevel.checkpoint()
        async with running(settings, engine) as world:
            await world.answers(f"number {number}")

            async def settled(world=world):
                return len(await world.jobs()) == 1 and len(await engine.jobs()) == 1

            await eventually(settled, within_s=20)


async def test_a_volume_outlives_jobs_and_appliances_and_is_seen_to(settings, engine, tmp_path):
    """Through every part at once: release, deployment, volume, decommission, deletion."""

    async def diary(process):
        files = process.files.get("/data", {})
        files["diary"] = files.get("diary", b"") + process.spec.env["FLYNN_JOB_ID"].encode() + b"\n"
        return await web(process)

    def written(job):
        return engine._jobs[job.partition("-")[2]].process.files["/data"]["diary"].decode().split()

    async def next_alone(world, before):
        async def alone():
            now = await world.jobs()
            return now if len(now) == 1 and before not in now else None

        [job] = await eventually(alone, within_s=20)
        return job

    engine.script(diary, type="web")
    async with running(settings, engine) as world:
        await world.api.post("/apps", {"name": "hello"})
        await pushed(world, tmp_path)
        release = (await world.api.get("/apps/hello/release")).json()
        del release["id"]
        release["processes"]["web"]["volumes"] = [{"path": "/data"}]
        new = (await world.api.post("/releases", release)).json()
        [before] = await world.jobs()
        await world.api.post("/apps/hello/deploy", {"id": new["id"]})
        first = await next_alone(world, before)
        [volume] = (await world.api.get("/apps/hello/volumes")).json()
        assert (volume["job"], volume["path"]) == (first.partition("-")[2], "/data")
        assert (volume["state"], volume["release"]) == ("created", new["id"])
        engine.crash(first.partition("-")[2])
        second = await next_alone(world, first)
    engine.crash(second.partition("-")[2])  # while nobody looked
    async with running(settings, engine) as world:
        third = await next_alone(world, second)
        assert written(third) == [first, second, third]
        assert await engine.volumes() == {volume["id"]}
        path = f"/apps/hello/volumes/{volume['id']}/decommission"
        assert (await world.api.put(path, {"id": volume["id"]})).status == 200
        await world.api.delete(f"/apps/hello/jobs/{third}")
        fourth = await next_alone(world, third)
        assert written(fourth) == [fourth]
        assert len(await engine.volumes()) == 2
        await world.api.delete("/apps/hello")

        async def swept():
            return not await engine.volumes() and not await engine.jobs()

        await eventually(swept, within_s=20)
        assert {one["state"] for one in (await world.api.get("/volumes")).json()} == {"destroyed"}


async def test_the_lines_of_a_job_arrive_at_a_sink_in_order(settings, engine, tmp_path):
    async def flynn(world, *argv):
        """Run our client as a process of its own."""
        (tmp_path / "flynnrc").write_text(
            f'default = "one"\n\n[[cluster]]\n  Name = "one"\n  Key = "{cluster_key(settings)}"\n'
            f'  ControllerURL = "http://controller.{DOMAIN}:{world.ready.http_port}"\n\n'
        )
        done = await trio.run_process(
            [sys.executable, "-m", "flynn_aio.cli.main", *argv],
            env={"FLYNNRC": str(tmp_path / "flynnrc"), "PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)},
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )
        return done.stdout.decode()

    async with log_server() as server, running(settings, engine) as world:
        assert (await world.api.post("/apps", {"name": "hello"})).status == 200
        said = await flynn(
            world, "cluster", "log-sink", "add", "syslog", f"syslog://127.0.0.1:{server.port}", "[{{.ID}}]"
        )
        sink_id = said.removeprefix("Created sink ").removesuffix(".\n")
        assert f"{sink_id}  syslog  " in await flynn(world, "cluster", "log-sink")
        await pushed(world, tmp_path)
        await world.answers("hello from host0-")
        [job] = await world.jobs()
        await server.has(f"[{job}] listening")
        assert f" host0 hello web.{job} ID1 - ".encode() in server.messages[-1]

        lines = [f"line {number}" for number in range(1000)]
        for begin in range(0, 1000, 100):
            await engine.print(
                job.partition("-")[2], "".join(f"{one}\n" for one in lines[begin : begin + 100]).encode()
            )
        await server.has(*(f"[{job}] {one}" for one in lines))

        assert await flynn(world, "cluster", "log-sink", "remove", sink_id) == f"Deleted sink {sink_id}.\n"
        await eventually(lambda: _has_nobody(server))
        await engine.print(job.partition("-")[2], b"not for you\n")
        await trio.sleep(0.2)
        assert server.texts[-1] == f"[{job}] line 999"


async def _has_nobody(server):
    return server.connections == 0


async def test_files_of_keys_are_not_for_everybody(settings):
    settings.data_dir.mkdir()
    prepare_files(settings)
    assert os.stat(settings.data_dir / "keys" / "cluster.key").st_mode & 0o077 == 0
