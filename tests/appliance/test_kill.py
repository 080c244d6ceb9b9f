"""kill -9 of a whole appliance on real Podman, at moments nobody chose: the next start has exactly what was wanted.

The moments come from a seed. Another one: ``KILL_SEED=7 KILL_ROUNDS=50 pytest tests/appliance/test_kill.py``.
"""

import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from ..support.appliance import Appliance
from ..support.images import ensure_test_image
from .inside import load_settings
from .person import Person, until
from .traces import nothing_leaked, podman, traces

pytestmark = [pytest.mark.podman, pytest.mark.slow]

SUBNET = "100.106.0.64/26"
SEED = int(os.environ.get("KILL_SEED", "20261124"))
ROUNDS = int(os.environ.get("KILL_ROUNDS", "8"))
STRATEGIES = ("all-at-once", "one-by-one", "in-batches", "one-down-one-up")


@pytest.fixture
def appliance():
    place = Path(tempfile.mkdtemp(prefix="flynn-aio-test-"))
    one = Appliance(place, subnet=SUBNET)
    try:
        one.up()
        yield one
    finally:
        one.down()
        assert one.traces() == []
        shutil.rmtree(place)


@dataclass
class Wish:
    """What was acknowledged so far."""

    release: str
    web: int
    meta: str = ""


class Story:
    """An app, what is wanted of it, and the moments at which the appliance dies."""

    def __init__(self, appliance: Appliance, image: str, rng: random.Random) -> None:
        self.appliance = appliance
        self.settings = load_settings(appliance.data_dir, SUBNET)
        self.rng = rng
        self.person = Person(self.settings, appliance.ports[0], image)
        self.told: list[str] = []
        self.ended: list[str] = []

    async def begin(self) -> None:
        release = await self.person.create()
        await self.person.set_release(release)
        await self.person.scale(release, 2)
        await self.person.wait_up(2)
        self.wish = Wish(release, 2)

    async def kill(self, within_s: float) -> None:
        """Die a little later, and start again."""
        pause_s = round(self.rng.uniform(0, within_s), 3)
        self.told.append(f"killed after {pause_s} s")
        await trio.sleep(pause_s)
        self.person.api.close()
        await trio.to_thread.run_sync(self.appliance.kill)
        await trio.to_thread.run_sync(self.appliance.up)

    async def containers(self) -> dict[str, str]:
        """Return the container of each job that runs."""
        prefix = self.settings.engine.prefix
        rows = await podman("ps", "--no-trunc", "--filter", f"name={prefix}", "--format", "{{.Names}} {{.ID}}")
        return {name.removeprefix(prefix): id for name, id in (row.split() for row in rows.splitlines())}

    async def scale(self) -> None:
        wanted = self.rng.choice([count for count in range(1, 5) if count != self.wish.web])
        before = await self.containers()
        await self.person.scale(self.wish.release, wanted)
        self.wish.web = wanted
        await self.kill(0.6)
        after = await self.settled()
        kept = before.keys() & after.keys()
        assert len(kept) == min(len(before), wanted)
        assert {job: before[job] for job in kept} == {job: after[job] for job in kept}

    async def deploy(self, strategy: str) -> None:
        self.told.append(strategy)
        await self.person.call("POST", "/apps/hello", {"strategy": strategy})
        new = await self.person.release(env={"GREETING": f"number {len(self.told)}"})
        deployment = await self.person.deploy(new)
        await self.kill(1.5)
        assert (await self.person.finished(deployment))["status"] == "complete"
        self.wish.release = new
        await self.settled()

    async def stop(self) -> None:
        before = await self.containers()
        job = self.rng.choice(sorted(before))
        await self.person.call("DELETE", f"/apps/hello/jobs/host0-{job}")
        await self.kill(0.4)
        after = await self.settled(without=job)
        assert before.keys() - {job} <= after.keys()

    async def change(self) -> None:
        self.wish.meta = f"{len(self.told)}"
        await self.person.call("POST", "/apps/hello", {"meta": {"told": self.wish.meta}})
        before = await self.containers()
        await self.kill(0.0)
        assert await self.settled() == before

    async def one_off(self) -> None:
        script = "printf 'hello '; until [ -e /tmp/go ]; do sleep 0.1; done; echo world; exit 7"
        body = {"release": self.wish.release, "args": ["sh", "-c", script], "release_env": True}
        job = (await self.person.call("POST", "/apps/hello/jobs", body))["uuid"]
        before = await self.containers()
        await self.kill(1.0)
        assert (await self.containers()).get(job) == before[job]
        await podman("exec", self.settings.engine.prefix + job, "touch", "/tmp/go")

        async def ended() -> object:
            row = await self.person.call("GET", f"/apps/hello/jobs/host0-{job}")
            return row if row["state"] == "down" else None

        assert (await until(ended))["exit_status"] == 7
        self.ended.append(job)
        log = await trio.to_thread.run_sync(self.appliance.flynn, "-a", "hello", "log", "-r", "-j", f"host0-{job}")
        assert log.stdout == "hello world\n"  # TestUpdateLogs

        async def gone() -> bool:
            return job not in await self.containers()

        await until(gone)
        await self.settled()

    async def settled(self, without: str = "") -> dict[str, str]:
        """Wait until there is what was wanted, and return the containers; nothing else may run."""
        jobs = await self.person.wait_up(self.wish.web, release=self.wish.release, without={without})
        app = await self.person.call("GET", "/apps/hello")
        assert (app["release"], app["meta"].get("told", "")) == (self.wish.release, self.wish.meta)

        async def alone() -> object:
            found = await self.containers()
            return found if found.keys() == jobs else None

        return await until(alone)


async def test_after_a_kill_at_any_moment_there_is_what_was_wanted_once(appliance):
    story = Story(appliance, ensure_test_image(), random.Random(SEED))
    before = await traces(story.settings)
    try:
        await story.begin()
        deployments = [partial(story.deploy, strategy) for strategy in STRATEGIES]
        acts = [*deployments, story.scale, story.stop, story.change, story.one_off]
        for number in range(ROUNDS):
            if number % len(acts) == 0:
                story.rng.shuffle(acts)
            act = acts[number % len(acts)]
            story.told.append(getattr(act, "__name__", "deploy"))
            await act()
            assert (await story.person.ask()).status == 200
        await nothing_leaked(story.settings, before, await story.containers(), lingering=story.ended)
    except BaseException as exc:
        exc.add_note(f"KILL_SEED={SEED}: {', '.join(story.told)}")
        raise
    finally:
        story.person.api.close()
