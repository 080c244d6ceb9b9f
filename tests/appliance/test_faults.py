"""What an appliance on real Podman makes of the deaths around it: the wanted jobs run, once each, and nothing leaks."""

import os
import random
import shutil
import signal
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import trio

from flynn_aio.clock import SystemClock
from flynn_aio.engine import shut_down
from flynn_aio.model import Time
from flynn_aio.receive import Stack

from ..support.images import ensure_test_image
from .inside import inside, load_settings
from .person import SERVE
from .traces import nothing_leaked, pid_of, podman, service_pid, traces

pytestmark = pytest.mark.podman

SEED = int(os.environ.get("FAULT_SEED", "20261124"))
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "4"))


@pytest.fixture(scope="session")
def image() -> str:
    return ensure_test_image()


@pytest.fixture
async def settings(monkeypatch):
    """An appliance of this test's own, and at the end an end to all of it."""

    async def ensure(*_) -> None:
        """No stack: nothing is pushed here."""

    monkeypatch.setattr(Stack, "ensure", ensure)
    place = Path(tempfile.mkdtemp(prefix="flynn-aio-test-"))
    found = load_settings(place / "data", "100.106.0.0/26")
    try:
        yield found
    finally:
        with trio.CancelScope(shield=True):
            await shut_down(found.engine, kill_s=0)
            shutil.rmtree(place)


async def test_whatever_kills_a_job_another_takes_its_place_and_nothing_of_it_stays(settings, image):
    before = await traces(settings)
    async with inside(settings, image) as one:
        release = await one.create()
        await one.scale(release, 2)
        jobs = await one.wait_up(2)

        async def taken_away(job: str) -> None:
            await podman("rm", "--force", "--time=0", settings.engine.prefix + job)

        async def killed(job: str) -> None:
            os.kill(await pid_of(settings, job), signal.SIGKILL)

        async def without_conmon(job: str) -> None:
            os.kill(await pid_of(settings, job, "ConmonPid"), signal.SIGKILL)

        async def without_conmon_and_killed(job: str) -> None:
            pids = [await pid_of(settings, job, which) for which in ("ConmonPid", "Pid")]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

        for end in (taken_away, killed, without_conmon, without_conmon_and_killed):
            job, other = sorted(jobs)
            await end(job)
            jobs = await one.wait_up(2, without={job})
            assert other in jobs, end
            await nothing_leaked(settings, before, jobs)
        assert (await one.ask()).status == 200


async def test_a_service_that_dies_at_any_moment_costs_nothing(settings, image):
    """Inside create and start above all, which take 0.1 to 0.2 s."""
    rng, told = random.Random(SEED), list[str]()
    before = await traces(settings)
    async with inside(settings, image) as one:
        old = await one.create()
        await one.set_release(old)
        await one.scale(old, 2)
        await one.wait_up(2)
        for end in (signal.SIGKILL,) * ROUNDS + (signal.SIGTERM,):
            pause_s = round(rng.uniform(0, 0.25), 3)
            told.append(f"{end.name} after {pause_s} s")
            new = await one.release(env={"GREETING": f"number {len(told)}"})
            deployment = await one.deploy(new)
            await trio.sleep(pause_s)
            os.kill(service_pid(settings), end)
            try:
                assert (await one.ask()).status == 200
                assert (await one.finished(deployment))["status"] == "complete"
                await nothing_leaked(settings, before, await one.wait_up(2, release=new))
            except BaseException as exc:
                exc.add_note(f"FAULT_SEED={SEED}: {', '.join(told)}")
                raise


async def test_a_service_that_hangs_delays_a_deployment_and_fails_none(settings, image, monkeypatch):
    """Noticing takes 20 s as it ships; here half a second, which the calls in flight outlive as well."""
    for name in ("PING_EVERY_S", "PING_TIMEOUT_S", "TERMINATE_S"):
        monkeypatch.setattr(f"flynn_aio.engine.service.{name}", 0.3)
    before = await traces(settings)
    async with inside(settings, image) as one:
        old = await one.create()
        await one.set_release(old)
        await one.scale(old, 2)
        await one.wait_up(2)
        hung = service_pid(settings)
        new = await one.release(env={"GREETING": "bonjour"})
        deployment = await one.deploy(new)
        await trio.sleep(0.08)
        os.kill(hung, signal.SIGSTOP)
        for _ in range(10):
            assert (await one.ask()).status == 200
            await trio.sleep(0.05)
        assert (await one.finished(deployment))["status"] == "complete"
        jobs = await one.wait_up(2, release=new)
        assert service_pid(settings) != hung
        await nothing_leaked(settings, before, jobs)


async def test_a_locked_database_refuses_changes_and_loses_none(settings, image):
    settings = replace(settings, store=replace(settings.store, busy_timeout_s=1.0))
    before = await traces(settings)
    async with inside(settings, image) as one:
        release = await one.create()
        await one.scale(release, 2)
        first, second = await one.wait_up(2)
        answers = []

        async def scale(count: int) -> None:
            path = f"/apps/hello/formations/{release}"
            began = trio.current_time()
            answer = await one.api.request("PUT", path, {"processes": {"web": count}})
            answers.append((answer.status, trio.current_time() - began < 2, answer.body))

        with closing(sqlite3.connect(settings.store.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            os.kill(await pid_of(settings, first), signal.SIGKILL)
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(scale, 9)
                for _ in range(8):
                    await trio.sleep(0.25)
                    assert (await one.ask()).status == 200
            assert len(await one.jobs()) == 2  # what is known can be read
            other.execute("ROLLBACK")
        assert [answer[:2] for answer in answers] == [(503, True)] * 5
        assert all(b"another program holds it open" in body for _, _, body in answers), answers
        jobs = await one.wait_up(2, without={first})
        assert second in jobs
        await scale(3)
        assert answers[-1][0] == 200
    async with inside(settings, image) as one:
        jobs = await one.wait_up(3)
        await nothing_leaked(settings, before, jobs)


class Jumping(SystemClock):
    """The machine's clock, set forward or back by somebody."""

    ahead = timedelta(0)

    def now(self) -> Time:
        return Time.of(super().now() + self.ahead)


async def test_a_clock_that_is_set_ends_no_job_and_fails_no_deployment(settings, image):
    before, clock = await traces(settings), Jumping()
    async with inside(settings, image, clock=clock) as one:
        old = await one.create()
        await one.set_release(old)
        await one.scale(old, 2)
        await one.wait_up(2)
        for hours in (2, -3):
            new = await one.release(script=f"sleep 1; {SERVE}")
            deployment = await one.deploy(new)
            await trio.sleep(0.5)
            clock.ahead += timedelta(hours=hours)
            assert (await one.finished(deployment))["status"] == "complete"
            job, other = sorted(await one.wait_up(2, release=new))
            os.kill(await pid_of(settings, job), signal.SIGKILL)
            jobs = await one.wait_up(2, without={job})
            assert other in jobs
        await nothing_leaked(settings, before, jobs)


async def test_an_address_that_is_used_again_at_once_is_reached_at_once(settings, image):
    """Four jobs and five addresses: a new job has that of the one before. Stale ARP would cost 8 s and more."""
    settings = replace(settings, engine=replace(settings.engine, subnet=IPv4Network("100.106.0.128/29")))
    settings = replace(settings, discoverd=replace(settings.discoverd, address=settings.engine.gateway))
    async with inside(settings, image) as one:
        release = await one.create()
        await one.scale(release, 4)
        jobs = await one.wait_up(4)
        for _ in range(6):
            job, *others = sorted(jobs)
            await one.call("DELETE", f"/apps/hello/jobs/host0-{job}")
            began = trio.current_time()
            jobs = await one.wait_up(4, without={job})
            assert trio.current_time() - began < 5
            assert jobs.issuperset(others)
            unheard = set(jobs)
            with trio.fail_after(5):
                while unheard:
                    unheard.discard((await one.ask()).body.decode().split("host0-")[1].strip())
