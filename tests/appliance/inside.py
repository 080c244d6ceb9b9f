"""An appliance inside the test's own process, on real Podman: quick to start, cut off and start again.

Its clock and its constants can be a test's own. What a kill -9 does to a whole process is seen in `test_kill.py`.
"""

import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from flynn_aio import appliance
from flynn_aio.bootstrap import cluster_key
from flynn_aio.clock import Clock
from flynn_aio.config import load
from flynn_aio.engine import Engine, open_engine
from flynn_aio.engine.service import service_paths
from flynn_aio.engine.sweep import CGROUP_ROOT, find_keepers
from flynn_aio.settings import Settings

from ..support.http_client import HTTPClient

DOMAIN = "flynn.localhost"
WAIT_S = 30.0
SERVE = 'cd $(mktemp -d) && echo "$GREETING from $FLYNN_JOB_ID" > index.html && exec httpd -f -p $PORT'


def load_settings(data_dir: Path, subnet: str, **more: Any) -> Settings:
    """Return the settings of an appliance of this directory, with free ports."""
    flags = {
        "appliance.data_dir": str(data_dir),
        "appliance.domain": DOMAIN,
        "engine.subnet": subnet,
        "router.http_port": 0,
        "router.https_port": 0,
        "build.ca_bundle": "",
    }
    return load(environ={}, flags=flags | more)


@dataclass
class Inside:
    """A running appliance and those who use it."""

    settings: Settings
    engine: Engine
    ready: appliance.Ready
    api: HTTPClient
    image: str

    async def dial(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.ready.http_port)

    async def ask(self, app: str = "hello") -> Any:
        """GET / of an app; the answer."""
        visitor = HTTPClient(self.dial, key=None)
        try:
            return await visitor.get("/", headers={"host": f"{app}.{DOMAIN}"})
        finally:
            visitor.close()

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Call the API and return the JSON of its answer, which must be 200."""
        answer = await self.api.request(method, path, body)
        assert answer.status == 200, answer
        return answer.json() if answer.body else None

    async def create(self, app: str = "hello", *, script: str = SERVE, **process: Any) -> str:
        """Create an app of one process type, `web`; return its release's id."""
        await self.call("POST", "/apps", {"name": app})
        return await self.release(app, script=script, **process)

    async def release(
        self, app: str = "hello", *, script: str = SERVE, env: dict[str, str] | None = None, **process: Any
    ) -> str:
        """Make a release of an app; return its id."""
        uri = f"image:{self.image}"
        app_id = (await self.call("GET", f"/apps/{app}"))["id"]
        artifact = await self.call("POST", "/artifacts", {"type": "flynn", "uri": uri})
        name = f"{app}-web"
        port = {"port": 8080, "proto": "tcp", "service": {"name": name, "create": True, "check": {"type": "tcp"}}}
        web = {"args": ["sh", "-c", script], "ports": [port], "service": name} | process
        made = await self.call(
            "POST",
            "/releases",
            {
                "app_id": app_id,
                "artifacts": [artifact["id"]],
                "env": env or {"GREETING": "hello"},
                "processes": {"web": web},
            },
        )
        return str(made["id"])

    async def set_release(self, release: str, app: str = "hello") -> None:
        await self.call("PUT", f"/apps/{app}/release", {"id": release})

    async def scale(self, release: str, web: int, app: str = "hello") -> None:
        await self.call("PUT", f"/apps/{app}/formations/{release}", {"processes": {"web": web}})

    async def deploy(self, release: str, app: str = "hello") -> str:
        return str((await self.call("POST", f"/apps/{app}/deploy", {"id": release}))["id"])

    async def finished(self, deployment: str) -> Any:
        """Wait for the end of a deployment, and return it."""

        async def look() -> Any:
            found = await self.call("GET", f"/deployments/{deployment}")
            return found if "finished_at" in found else None

        return await until(look)

    async def jobs(self, app: str = "hello", *states: str) -> list[Any]:
        found = await self.call("GET", f"/apps/{app}/jobs")
        return [
            job for job in found if job["state"] in (states or ("pending", "blocked", "starting", "up", "stopping"))
        ]

    async def wait_up(
        self, count: int, app: str = "hello", *, release: str = "", without: set[str] = frozenset()
    ) -> set[str]:
        """Wait until exactly so many jobs live, all up, in rows and in Podman; return their bare ids."""

        async def look() -> Any:
            jobs = await self.jobs(app)
            ids = {job["uuid"] for job in jobs}
            up = all(job["state"] == "up" and job["release"] == (release or job["release"]) for job in jobs)
            return [ids] if up and len(jobs) == count and not ids & without else None

        [ids] = await until(look)
        return ids


async def until(look: Callable[[], Awaitable[Any]], *, within_s: float = WAIT_S) -> Any:
    """Look again and again; return the first answer that is true."""
    deadline = trio.current_time() + within_s
    while not (found := await look()):
        assert trio.current_time() < deadline, f"not within {within_s} s"
        await trio.sleep(0.05)
    return found


@asynccontextmanager
async def inside(settings: Settings, image: str, *, clock: Clock | None = None) -> AsyncIterator[Inside]:
    """Have the appliance run while the block runs. Its jobs and Podman's service go on behind it."""
    settings.data_dir.mkdir(exist_ok=True)
    stop, opened = trio.Event(), trio.Event()
    found: list[appliance.Ready] = []
    engines: list[Engine] = []

    @asynccontextmanager
    async def open_one(wanted):
        async with open_engine(wanted, clock) as engine:
            engines.append(engine)
            yield engine

    async def say(line: str) -> None:
        assert not line.startswith("warning"), line

    async def ready(doors: appliance.Ready) -> None:
        found.append(doors)
        opened.set()

    async with trio.open_nursery() as nursery:
        run = partial(appliance.run, settings, stop, say=say, ready=ready, open_engine=open_one, clock=clock)
        nursery.start_soon(run)
        with trio.fail_after(WAIT_S):
            await opened.wait()
        one = Inside(settings, engines[0], found[0], api=None, image=image)  # type: ignore[arg-type]
        one.api = HTTPClient(one.dial, key=cluster_key(settings))
        own = one.api.headers
        one.api.headers = lambda headers: own(headers) | {"host": f"controller.{DOMAIN}"}  # type: ignore[method-assign]
        try:
            yield one
        finally:
            one.api.close()
            stop.set()


def service_pid(settings: Settings) -> int:
    return int(service_paths(settings.engine).pid.read_text())


async def podman(*words: str) -> str:
    """Ask Podman's own command."""
    return (await trio.run_process(["podman", *words], capture_stdout=True, capture_stderr=True)).stdout.decode()


async def pid_of(settings: Settings, job: str, which: str = "Pid") -> int:
    """Return the pid of a job's main process, or of its `ConmonPid`."""
    return int(await podman("inspect", "--format", f"{{{{.State.{which}}}}}", settings.engine.prefix + job))


@dataclass(frozen=True)
class Traces:
    """What there is on this machine on account of jobs.

    Attributes:
        containers, conmons: of this appliance, by job and by container.
        links: what is plugged into its bridge.
        spaces, groups: network namespaces without a process, and control groups without a container: anybody's.
    """

    containers: frozenset[str]
    conmons: frozenset[str]
    links: int
    spaces: frozenset[str]
    groups: frozenset[str]


async def traces(settings: Settings) -> Traces:
    prefix, bridge = settings.engine.prefix, Path("/sys/class/net") / settings.engine.network / "brif"
    spaces, groups = await trio.to_thread.run_sync(_idle_spaces), await trio.to_thread.run_sync(_groups)
    rows = (await podman("ps", "-a", "--external", "--no-trunc", "--format", "{{.ID}} {{.Names}}")).splitlines()
    known = dict(row.split(" ", 1) for row in rows)
    return Traces(
        containers=frozenset(name.removeprefix(prefix) for name in known.values() if name.startswith(prefix)),
        conmons=frozenset(keeper.container for keeper in find_keepers(prefix)),
        links=len(os.listdir(bridge)) if bridge.exists() else 0,
        spaces=spaces,
        groups=groups - known.keys(),
    )


async def nothing_leaked(settings: Settings, before: Traces, jobs: Collection[str]) -> None:
    """Wait until there are these jobs, each with what it needs, and beside them no more than there was."""

    async def look() -> bool:
        nonlocal now
        try:
            now = await traces(settings)
        except subprocess.CalledProcessError:  # `podman ps` stumbles over a container that goes meanwhile
            return False
        whole = now.containers == set(jobs) and len(now.conmons) == now.links == len(jobs)
        return whole and now.spaces <= before.spaces and now.groups <= before.groups

    now = before
    try:
        await until(look)
    except AssertionError:
        raise AssertionError(f"{jobs} run, and there are {now}; before there were {before}") from None


def _idle_spaces() -> frozenset[str]:
    named = {path.stat().st_ino: path.name for path in Path("/run/netns").glob("netns-*")}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            named.pop((process / "ns/net").stat().st_ino, None)
    return frozenset(named.values())


def _groups() -> frozenset[str]:
    """Return the containers that have control groups."""
    found = [*CGROUP_ROOT.glob("*/libpod_parent/libpod-*"), *CGROUP_ROOT.glob("libpod_parent/libpod-*")]
    return frozenset(group.name.removesuffix(".scope").rpartition("-")[2] for group in found)
