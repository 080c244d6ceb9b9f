"""Changes somebody makes to an app while it is asked: deploys, scales, kills; and what was told of them meanwhile."""

import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import trio

from flynn_aio.bootstrap import cluster_key
from flynn_aio.config import load

from ..appliance import Appliance
from ..http_client import HTTPClient
from .http1 import Doors
from .outcome import Failure

FINISHED_S = 120.0
POLL_S = 0.05
BEFORE_S, AFTER_S = 2.0, 0.5
"""What happened so long before and after a failure explains it."""
STRATEGIES = ("all-at-once", "one-by-one", "in-batches", "one-down-one-up")
SHOWN = 10


@dataclass(slots=True)
class Changes:
    """Makes changes to one app, each when the one before is complete.

    Attributes:
        api: the controller's.
        count: how many jobs there are to be. At least two, so that one serves while another is killed.
        made: when, and what.
    """

    api: HTTPClient
    app: str
    count: int = 2
    made: list[tuple[float, str]] = field(default_factory=list)

    async def round(self) -> None:
        """Make one change of each sort."""
        for strategy in STRATEGIES:
            await self.deploy(strategy)
            await self.kill()
        await self.scale(self.count + 1)
        await self.kill()
        await self.scale(self.count - 1)

    async def some(self, number: int) -> None:
        """Make so many changes in a random order."""
        for _ in range(number):
            await random.choice(self._choices())()

    def _choices(self) -> Sequence[Callable[[], Awaitable[None]]]:
        to = self.count + 1 if self.count < 4 else 2
        return (lambda: self.deploy(random.choice(STRATEGIES)), self.kill, lambda: self.scale(to))

    async def deploy(self, strategy: str) -> None:
        """Change the app's environment, and wait for the end of the deployment."""
        self._note(f"deploy {strategy}")
        await self._ask("POST", f"/apps/{self.app}", {"strategy": strategy})
        release = await self._ask("GET", f"/apps/{self.app}/release")
        changed = release | {"env": release.get("env", {}) | {"CHANGE": str(len(self.made))}}
        del changed["id"]
        new = await self._ask("POST", "/releases", changed)
        deployment = await self._ask("POST", f"/apps/{self.app}/deploy", {"id": new["id"]})

        async def is_finished() -> bool:
            found = await self._ask("GET", f"/deployments/{deployment['id']}")
            assert found["status"] != "failed", found
            return "finished_at" in found

        await self._until(is_finished)

    async def scale(self, count: int) -> None:
        """Have so many jobs, and wait until they are there."""
        self._note(f"scale to {count}")
        self.count = count
        release = await self._ask("GET", f"/apps/{self.app}/release")
        await self._ask(
            "PUT", f"/apps/{self.app}/scale/{release['id']}", {"state": "pending", "new_processes": {"web": count}}
        )
        await self.settled()

    async def kill(self) -> None:
        """Stop one job of several as `flynn kill` does, and wait until another has taken its place."""
        await self.settled()
        victim = random.choice(sorted(await self.up()))
        self._note(f"kill {victim}")
        await self._ask("DELETE", f"/apps/{self.app}/jobs/{victim}")

        async def is_replaced() -> bool:
            return victim not in (now := await self.up()) and len(now) == self.count

        await self._until(is_replaced)

    async def settled(self) -> None:
        """Wait until as many jobs of the newest release are up as there are to be."""

        async def is_settled() -> bool:
            return len(await self.up()) == self.count

        await self._until(is_settled)

    async def up(self) -> set[str]:
        release = await self._ask("GET", f"/apps/{self.app}/release")
        jobs = await self._ask("GET", f"/apps/{self.app}/jobs")
        return {job["id"] for job in jobs if job["state"] == "up" and job["release"] == release["id"]}

    def _note(self, what: str) -> None:
        self.made.append((time.time(), what))

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        response = await self.api.request(method, path, body)
        assert response.status == 200, (method, path, response)
        return response.json() if response.body else None

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it is true, without asking so often that asking is a load of its own."""
        with trio.fail_after(FINISHED_S):
            while True:
                if await condition():
                    return
                await trio.sleep(POLL_S)

    async def explain(self, failures: Sequence[Failure]) -> str:
        """Return the failures as a person reads them, among what happened around them, by time."""
        if not failures:
            return ""
        path = f"/events?app_id={self.app}&object_types=job,deployment,scale_request"
        told = [(_seconds(event["created_at"]), _line(event)) for event in await self._ask("GET", path)]
        shown = sorted(failures, key=lambda each: each.ended)[:SHOWN]
        lines = [(each.ended, f"LOST {each}") for each in shown]
        around = [
            (at, what)
            for at, what in [*told, *self.made]
            if any(each.began - BEFORE_S <= at <= each.ended + AFTER_S for each in shown)
        ]
        said = [f"{len(failures)} requests were lost; the first {len(shown)} of them, and what happened around them:"]
        return "\n".join([*said, *(f"{_clock(at)} {what}" for at, what in sorted(lines + around))])


def doors_of(appliance: Appliance, app: str) -> Doors:
    """Return where an app of a running appliance answers."""
    state, ca_file = appliance.state, appliance.data_dir / "keys" / "ca.pem"
    return Doors(f"{app}.{appliance.domain}", state["http_port"], state["https_port"], str(ca_file))


@contextmanager
def open_changes(appliance: Appliance, app: str) -> Iterator[Changes]:
    """Have the means to change an app of a running appliance."""
    key = cluster_key(load(file=None, environ=appliance.environ))
    api = HTTPClient(partial(trio.open_tcp_stream, "127.0.0.1", appliance.state["http_port"]), key=key)
    own = api.headers
    api.headers = lambda headers: own(headers) | {"host": f"controller.{appliance.domain}"}  # type: ignore[method-assign]
    try:
        yield Changes(api, app)
    finally:
        api.close()


def _line(event: Any) -> str:
    data = event["data"]
    what = data.get("state") or data.get("status") or ""
    who = data.get("id") or data.get("uuid") or event["object_id"]
    return f"{event['object_type']} {who} {what}"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3]
