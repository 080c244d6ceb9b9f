"""What a pass reads: the apps of which there is news, and at times everything; with a hint lost it takes longer."""

import random
from dataclasses import replace

import pytest
import trio

from flynn_aio.engine import RunState
from flynn_aio.errors import Conflict
from flynn_aio.model import JobState
from flynn_aio.scheduler.plan import plan
from flynn_aio.scheduler.step import Observed
from flynn_aio.store import changes, queries

from ..support.build import make_release
from .world import PRINTER, SETTINGS

NEVER = replace(SETTINGS, resync_s=1e9)
"""Nothing is looked at for want of news: what is missed stays missed."""


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Return the apps whose rows are read for planning, as they are."""
    apps: list[str] = []
    original = queries.desired_by_app

    def noting(db, some):
        apps.extend(some)
        return original(db, some)

    monkeypatch.setattr(queries, "desired_by_app", noting)
    return apps


async def running(world, count: int):
    """Have so many apps, each with one job up."""
    apps = [await world.app(name=f"app-{number}") for number in range(count)]
    for app, release in apps:
        await world.scale(app, release, printer=1)
    for app, _ in apps:
        await world.wait_up(app, 1)
    await trio.sleep(1)
    return [app for app, _ in apps], [release for _, release in apps]


async def test_a_pass_without_news_reads_nothing_until_everything_is_looked_at_again(autojump_clock, world, read):
    async with world.scheduler():
        apps, _ = await running(world, 30)
        await trio.sleep(2 * SETTINGS.resync_s)
        read.clear()
        for _ in range(10):
            world.engine.bell.ring()
            await world.store.transact(lambda tx: changes.set_cluster_value(tx, "of", "no app"))
            await trio.sleep(0.5)
        assert read == []
        await trio.sleep(SETTINGS.resync_s)
        assert sorted(read) == sorted(app.id for app in apps)


@pytest.mark.parametrize("count", [2, 40])
async def test_a_change_of_one_app_reads_that_app_however_many_there_are(autojump_clock, world, read, count):
    async with world.scheduler(NEVER):
        apps, releases = await running(world, count)
        read.clear()
        await world.scale(apps[0], releases[0], printer=2)
        jobs = await world.wait_up(apps[0], 2)
        await trio.sleep(1)
        world.engine.crash(jobs[0].uuid)
        await world.wait_up(apps[0], 2, without=jobs[0])
        world.give_up(jobs[1])
        await world.wait_up(apps[0], 2, without=jobs[1])
        await trio.sleep(60)
    assert {*read} == {apps[0].id}
    assert len(read) <= 50


async def test_a_pause_that_is_over_is_news_of_its_app_alone(autojump_clock, world, read):
    async with world.scheduler(NEVER):
        [app, _], _ = await running(world, 2)
        for _ in range(6):
            [job] = await world.wait_up(app, 1)
            world.engine.crash(job.uuid)
            await trio.sleep(0.5)
        assert await world.has(app, JobState.PENDING)
        read.clear()
        await world.wait_up(app, 1, without=job)
    assert {*read} == {app.id}


async def test_a_lost_hint_costs_a_delay(autojump_clock, world, monkeypatch):
    app, release = await world.app()
    async with world.scheduler():
        await trio.sleep(1)
        monkeypatch.setattr(world.store, "touched_since", lambda version: {})
        await world.scale(app, release, printer=1)
        began = trio.current_time()
        with trio.fail_after(2 * SETTINGS.resync_s):
            await world.wait_up(app, 1)
        assert trio.current_time() - began > 1


async def test_who_fell_too_far_behind_reads_everything(autojump_clock, world, monkeypatch):
    app, release = await world.app()
    async with world.scheduler(NEVER):
        await trio.sleep(1)
        monkeypatch.setattr(world.store, "touched_since", lambda version: None)
        await world.scale(app, release, printer=1)
        with trio.fail_after(10):
            await world.wait_up(app, 1)


async def test_after_an_outage_everything_is_read(autojump_clock, world, read):
    async with world.scheduler(NEVER):
        apps, _ = await running(world, 3)
        with world.engine.outage():
            world.engine.bell.ring()
            await trio.sleep(5)
            read.clear()
        await trio.sleep(5)
    assert {*read} == {app.id for app in apps}


async def test_what_was_refused_is_tried_again_with_the_next_pass(autojump_clock, world, monkeypatch):
    app, release = await world.app()
    complete = changes.complete_scale_request

    def refuse(tx, request):
        raise Conflict("no")

    monkeypatch.setattr(changes, "complete_scale_request", refuse)
    async with world.scheduler(NEVER):
        await world.scale(app, release, printer=0)
        await trio.sleep(60)
        assert not await world.completed(1)
        monkeypatch.setattr(changes, "complete_scale_request", complete)
        world.engine.bell.ring()
        await world.wait(lambda: world.completed(1), 10)


@pytest.mark.parametrize("seed", range(6))
async def test_without_ever_looking_at_everything_again_nothing_is_left_to_do(autojump_clock, world, seed):
    """Random wishes and accidents of some apps at once; then a plan of everything at once finds all in order."""
    chance = random.Random(seed)
    async with world.scheduler(NEVER):
        apps, releases = await running(world, 5)
        current = dict(zip([app.id for app in apps], releases, strict=True))
        for _ in range(60):
            app = chance.choice(apps)
            running_now = {each.id for each in await world.engine.jobs() if each.state is RunState.RUNNING}
            up = [job for job in await world.up(app) if job.uuid in running_now]
            match chance.randrange(7):
                case 0 | 1:
                    await world.scale(app, current[app.id], printer=chance.randrange(4))
                case 2 if not await world.store.read(lambda db, app=app: queries.unfinished_deployment(db, app.id)):
                    current[app.id] = await make_release(world.store, app, PRINTER, NUMBER=str(chance.random()))
                    await world.deploy(app, current[app.id])
                case 3 if up:
                    await world.kill(chance.choice(up))
                case 4 if up:
                    world.engine.crash(chance.choice(up).uuid, 1)
                case 5 if up:
                    world.engine.lose(chance.choice(up).uuid)
                case 6 if up:
                    world.give_up(chance.choice(up))
            await trio.sleep(chance.choice([0, 0, 0.01, 1, 40]))
        await trio.sleep(600)
        desired = await world.store.read(queries.desired)
        statuses = {status.id: status for status in await world.engine.jobs()}
        seen = world.services.snapshot.value
        observed = Observed(statuses=statuses, up=seen.up, dead=seen.dead, steady_since=world.clock.now())
        step = plan(desired, observed, world.clock.now(), world.clock.new_id)
    assert (step.writes, step.actions, desired.deployments) == ((), (), ())
    assert desired.formations
