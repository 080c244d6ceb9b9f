"""Somebody who uses an appliance, over HTTP only."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

import trio

from flynn_aio.bootstrap import cluster_key
from flynn_aio.settings import Settings

from ..support.http_client import HTTPClient

DOMAIN = "flynn.localhost"
WAIT_S = 30.0
SERVE = 'cd $(mktemp -d) && echo "$GREETING from $FLYNN_JOB_ID" > index.html && exec httpd -f -p $PORT'
LIVE = ("pending", "blocked", "starting", "up", "stopping")


class Person:
    """Has apps made of a small image, so nothing is built.

    Args:
        http_port: where its router listens.
    """

    def __init__(self, settings: Settings, http_port: int, image: str) -> None:
        self._port = http_port
        self._image = image
        self.api = HTTPClient(self.dial, key=cluster_key(settings))
        own = self.api.headers
        self.api.headers = lambda headers: own(headers) | {"host": f"controller.{DOMAIN}"}  # type: ignore[method-assign]

    async def dial(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self._port)

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
        uri = f"image:{self._image}"
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
        return [job for job in found if job["state"] in (states or LIVE)]

    async def wait_up(
        self, count: int, app: str = "hello", *, release: str = "", without: Collection[str] = ()
    ) -> set[str]:
        """Wait until exactly so many jobs live, all up, in rows and in Podman; return their bare ids."""

        async def look() -> Any:
            jobs = [job for job in await self.jobs(app) if job.get("type") == "web"]
            ids = {job["uuid"] for job in jobs}
            up = all(job["state"] == "up" and job["release"] == (release or job["release"]) for job in jobs)
            return [ids] if up and len(jobs) == count and not ids.intersection(without) else None

        [ids] = await until(look)
        return ids


async def until(look: Callable[[], Awaitable[Any]], *, within_s: float = WAIT_S) -> Any:
    """Look again and again; return the first answer that is true."""
    deadline = trio.current_time() + within_s
    while not (found := await look()):
        assert trio.current_time() < deadline, f"not within {within_s} s"
        await trio.sleep(0.05)
    return found
