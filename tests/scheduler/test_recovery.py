"""Our own crashes, and the outages of the engine and the disk: no job notices."""

import logging
from datetime import timedelta

import pytest
import trio

from flynn_aio.engine import Behaviour, JobSpec
from flynn_aio.errors import Conflict, Unavailable
from flynn_aio.model import DeploymentStatus, JobID, JobState, Strategy
from flynn_aio.store import changes

from ..support.build import make_release
from .world import PRINTER

DOWN = JobState.DOWN


async def test_after_a_crash_of_ours_the_same_jobs_go_on(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=3)
        before = await world.wait_up(app, 3)
    async with world.scheduler():
        await trio.sleep(60)
        assert await world.up(app) == before
    assert len(world.engine.started) == 3
    assert world.engine.stopped == []


async def test_jobs_that_are_taken_away_again_and_again_are_back_at_once(autojump_clock, world):
    """`flynn-aio down` takes every container; the next `up` owes the apps no pause for it."""
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
    for _ in range(20):
        world.engine.lose(job.uuid)
        began = trio.current_time()
        async with world.scheduler():
            [job] = await world.wait_up(app, 1)
        assert trio.current_time() - began < 1


async def test_what_happened_while_we_were_gone_is_noticed(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=3)
        crashed, vanished, running = await world.wait_up(app, 3)
    world.engine.crash(crashed.uuid, 7)
    world.engine.lose(vanished.uuid)
    async with world.scheduler():
        after = await world.wait_up(app, 3)
        assert running in after
        assert sorted(job.restarts or 0 for job in after if job != running) == [0, 1]  # being taken away is no crash
    ended = {job.uuid: job.exit_status for job in await world.jobs(app, DOWN)}
    assert ended == {crashed.uuid: 7, vanished.uuid: None}


async def test_a_start_cut_off_by_our_crash_is_taken_up_with_the_same_id(autojump_clock, world):
    app, release = await world.app()
    world.engine.script(Behaviour(start_s=5))
    await world.scale(app, release, printer=1)
    async with world.scheduler():
        await trio.sleep(1)
        [job] = await world.jobs(app, JobState.STARTING)
    async with world.scheduler():
        [after] = await world.wait_up(app, 1)
        assert after.uuid == job.uuid
    assert await world.job_events() == ["pending", "starting", "up"]


async def test_a_stop_cut_off_by_our_crash_is_finished(autojump_clock, world):
    app, release = await world.app()
    world.drains = 5
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await world.wait_up(app, 1)
        await world.scale(app, release, printer=0)
        await trio.sleep(1)
        assert await world.counts(app) == {"stopping": 1}
    async with world.scheduler():
        await world.wait(lambda: world.is_at(app, down=1))


@pytest.mark.parametrize("crash_after_s", [0.05, 0.5, 3.0, 6.5, 9.0])
async def test_a_deployment_goes_on_after_a_crash_of_ours(autojump_clock, world, crash_after_s):
    app, old = await world.app(strategy=Strategy.ONE_BY_ONE)
    world.engine.script(Behaviour(start_s=2))
    async with world.scheduler():
        await world.scale(app, old, printer=3)
        await world.wait_up(app, 3)
        new = await make_release(world.store, app, PRINTER, COLOUR="blue")
        deployment = await world.deploy(app, new)
        await trio.sleep(crash_after_s)
    async with world.scheduler():
        ended, error = await world.wait_deployed(deployment)
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")
        jobs = await world.wait_up(app, 3)
        assert {job.release for job in jobs} == {new.id}
    new_jobs = [job for job in await world.jobs(app) if job.release == new.id]
    assert len(new_jobs) == 3  # none was started twice


async def test_our_absence_is_not_held_against_a_deployment(autojump_clock, world):
    app, old = await world.app(timeout=30)
    world.engine.script(Behaviour(start_s=5))
    async with world.scheduler():
        await world.scale(app, old, printer=1)
        await world.wait_up(app, 1)
        new = await make_release(world.store, app, PRINTER, COLOUR="blue")
        deployment = await world.deploy(app, new)
        await trio.sleep(1)
    await trio.sleep(3600)
    async with world.scheduler():
        ended, error = await world.wait_deployed(deployment)
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")


async def test_an_engine_that_does_not_answer_costs_no_job(autojump_clock, world, caplog):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=2)
        before = await world.wait_up(app, 2)
        with caplog.at_level(logging.WARNING), world.engine.outage():
            world.engine.crash(before[0].uuid)
            await trio.sleep(120)
            assert await world.up(app) == before  # nothing is concluded from silence
        after = await world.wait_up(app, 2, without=before[0])
        assert before[1] in after
    assert caplog.text.count("the engine does not answer") == 1


@pytest.mark.parametrize("hung_s", [60, 600])
async def test_a_hung_engine_fails_no_deployment(autojump_clock, world, hung_s):
    """Podman hangs and all that runs is still known: only no new job can be started."""
    app, old = await world.app(timeout=30)
    async with world.scheduler():
        await world.scale(app, old, printer=2)
        before = await world.wait_up(app, 2)
        with world.engine.hang():
            deployment = await world.deploy(app, await make_release(world.store, app, PRINTER, COLOUR="blue"))
            await trio.sleep(hung_s)
            assert await world.up(app) == before
        ended, error = await world.wait_deployed(deployment)
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")


async def test_a_locked_database_fails_no_deployment(autojump_clock, world, monkeypatch):
    app, old = await world.app(timeout=30)
    world.engine.script(Behaviour(start_s=10))
    async with world.scheduler():
        await world.scale(app, old, printer=1)
        await world.wait_up(app, 1)
        deployment = await world.deploy(app, await make_release(world.store, app, PRINTER, COLOUR="blue"))
        await trio.sleep(5)
        transact, until = world.store.transact, trio.current_time() + 100

        async def locked(change):
            if trio.current_time() < until:
                await trio.sleep(15)
                raise Unavailable("writing to the database: database is locked")
            return await transact(change)

        monkeypatch.setattr(world.store, "transact", locked)
        ended, error = await world.wait_deployed(deployment)
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")


async def test_a_scheduler_that_starts_during_an_outage_waits_it_out(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        before = await world.wait_up(app, 1)
    with world.engine.outage():
        async with world.scheduler():
            await trio.sleep(10)
            assert await world.up(app) == before
    assert len(world.engine.started) == 1


async def test_a_running_job_without_a_row_is_adopted_when_it_is_wanted_and_else_stopped(autojump_clock, world):
    app, release = await world.app()
    for number in (1, 2):
        await world.engine.start(
            JobSpec(
                id=JobID(f"stray-{number}"),
                app=app.id,
                app_name=app.name,
                release=release.id,
                type="printer",
                formation=True,
                image="any",
                args=("print",),
            )
        )
    await world.scale(app, release, printer=1)
    async with world.scheduler():
        [job] = await world.wait_up(app, 1)
        await trio.sleep(1)
        assert job.uuid == "stray-1"
        assert [status.id for status in await world.engine.jobs()] == ["stray-1"]


async def test_one_app_that_cannot_be_written_does_not_hold_up_the_others(autojump_clock, world, monkeypatch, caplog):
    poisoned, release = await world.app(name="poisoned")
    healthy, other = await world.app(name="healthy")
    complete = changes.complete_scale_request

    def refuse(tx, request):
        if "printer" in str(
            tx.execute("SELECT doc FROM scale_requests WHERE id = ? AND app = ?", (request, poisoned.id))
        ):
            raise Conflict("no")
        complete(tx, request)

    monkeypatch.setattr(changes, "complete_scale_request", refuse)
    async with world.scheduler():
        await world.scale(poisoned, release, printer=0)
        await world.scale(healthy, other, printer=1)
        await world.wait_up(healthy, 1)
    assert "could not be written" in caplog.text


async def test_a_full_disk_is_waited_out(autojump_clock, world, monkeypatch, caplog):
    app, release = await world.app()
    await world.scale(app, release, printer=1)
    transact, until = world.store.transact, trio.current_time() + 10

    async def full(change):
        if trio.current_time() < until:
            raise Unavailable("could not write to the database: database or disk is full")
        return await transact(change)

    monkeypatch.setattr(world.store, "transact", full)
    async with world.scheduler():
        await world.wait_up(app, 1)
    assert "the store cannot be used" in caplog.text


@pytest.mark.parametrize("hours", [2, -2])
async def test_a_clock_that_is_set_fails_no_deployment_and_keeps_no_job_waiting(autojump_clock, world, hours):
    app, old = await world.app(timeout=30)
    world.engine.script(Behaviour(start_s=20))
    async with world.scheduler():
        await world.scale(app, old, printer=1)
        await world.wait_up(app, 1)
        new = await make_release(world.store, app, PRINTER, COLOUR="blue")
        deployment = await world.deploy(app, new)
        await trio.sleep(15)
        world.clock.ahead = timedelta(hours=hours)
        ended, error = await world.wait_deployed(deployment)
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")
        [job] = await world.wait_up(app, 1)
        for _ in range(5):
            world.engine.crash(job.uuid)
            [job] = await world.wait_up(app, 1, without=job)
        world.engine.crash(job.uuid)  # its replacement is given a pause of 10 s
        await world.wait(lambda: world.has(app, JobState.PENDING))
        world.clock.ahead -= timedelta(hours=5)
        began = trio.current_time()
        await world.wait_up(app, 1, without=job)
        assert trio.current_time() - began < 60


async def test_a_deployment_that_never_comes_up_ends_though_the_clock_was_set_back(autojump_clock, world):
    app, old = await world.app(timeout=30)
    async with world.scheduler():
        await world.scale(app, old, printer=1)
        await world.wait_up(app, 1)
        world.sick = lambda placed: placed.job.release != old.id
        deployment = await world.deploy(app, await make_release(world.store, app, PRINTER, COLOUR="blue"))
        await trio.sleep(15)
        world.clock.ahead = timedelta(hours=-2)
        began = trio.current_time()
        ended, _ = await world.wait_deployed(deployment)
        assert ended.status is DeploymentStatus.FAILED
        assert trio.current_time() - began < 65
