"""Actions that fail, are tried again, or are no longer wanted, inside the whole loop."""

from itertools import pairwise

import pytest
import trio

from flynn_aio.engine import Behaviour, JobSpec, fails_to_start
from flynn_aio.errors import EngineError
from flynn_aio.model import JobState
from flynn_aio.scheduler import executor

DOWN = JobState.DOWN


async def test_a_start_that_cannot_succeed_tells_why_and_is_tried_with_back_off(autojump_clock, world):
    app, release = await world.app()
    world.engine.script(fails_to_start('exec: "x": executable file not found in $PATH'))
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await trio.sleep(1)
        assert await world.counts(app) == {"down": 6, "pending": 1}
        ended = await world.jobs(app, DOWN)
        assert {job.host_error for job in ended} == {'exec: "x": executable file not found in $PATH'}
        assert [job.restarts or 0 for job in ended] == [0, 1, 2, 3, 4, 5]
        await trio.sleep(10)
        assert await world.counts(app) == {"down": 7, "pending": 1}


async def test_an_engine_that_fails_for_a_while_is_asked_again_for_the_same_job(autojump_clock, world, monkeypatch):
    app, release = await world.app()
    tries = []
    start = world.engine.start

    async def flaky(spec: JobSpec):
        tries.append(trio.current_time())
        if len(tries) < 4:
            raise EngineError(f"cannot start job {spec.id}: no answer within 60 s")
        return await start(spec)

    monkeypatch.setattr(world.engine, "start", flaky)
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await world.wait_up(app, 1)
    assert [later - earlier for earlier, later in pairwise(tries)] == [0.5, 1.0, 1.5]
    assert await world.job_events() == ["pending", "starting", "up"]


async def test_the_pauses_behind_an_engine_that_fails_grow_by_half_a_second_up_to_thirty(
    autojump_clock, world, monkeypatch
):
    app, release = await world.app()
    tries, enough = [], trio.Event()

    async def broken(spec: JobSpec):
        tries.append(trio.current_time())
        if len(tries) == 64:
            enough.set()
        raise EngineError(f"cannot start job {spec.id}: no answer within 60 s")

    monkeypatch.setattr(world.engine, "start", broken)
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await enough.wait()
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == [pytest.approx(min(0.5 * attempt, 30.0)) for attempt in range(1, 64)]
    assert pauses[-4:] == [30.0] * 4
    assert await world.job_events() == ["pending", "starting"]  # it is one job all the time


async def test_a_start_that_is_being_repeated_ends_when_nobody_wants_it_any_more(autojump_clock, world, monkeypatch):
    app, release = await world.app()

    async def broken(spec: JobSpec):
        raise EngineError(f"cannot start job {spec.id}: no answer within 60 s")

    monkeypatch.setattr(world.engine, "start", broken)
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await trio.sleep(100)
        assert await world.counts(app) == {"starting": 1}
        began = trio.current_time()
        await world.scale(app, release, printer=0)
        await world.wait_up(app, 0)
        assert trio.current_time() - began < 1


async def test_a_job_stopped_in_the_middle_of_its_start_dies_as_soon_as_it_exists(autojump_clock, world):
    app, release = await world.app()
    world.engine.script(Behaviour(start_s=5))
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await trio.sleep(1)
        [job] = await world.jobs(app, JobState.STARTING)
        await world.kill(job)
        await world.scale(app, release, printer=0)
        await world.wait_up(app, 0)
        await trio.sleep(1)
        assert await world.engine.jobs() == []


async def test_a_stop_and_a_removal_are_repeated_until_the_engine_does_as_it_is_told(
    autojump_clock, world, monkeypatch
):
    app, release = await world.app()
    refusals = {"stop": 2, "remove": 3}

    def flaky(name):
        call = getattr(world.engine, name)

        async def refuse(job, **more):
            if refusals[name]:
                refusals[name] -= 1
                raise EngineError(f"cannot {name} job {job}: no answer within 30 s")
            await call(job, **more)

        monkeypatch.setattr(world.engine, name, refuse)

    flaky("stop")
    flaky("remove")
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await world.wait_up(app, 1)
        began = trio.current_time()
        await world.scale(app, release, printer=0)
        await world.wait_up(app, 0)
        assert trio.current_time() - began == 0.5 + 1.0
        await trio.sleep(4)
        assert await world.engine.jobs() == []


async def test_no_more_jobs_are_claimed_than_can_be_started_at_once(autojump_clock, world, monkeypatch):
    monkeypatch.setattr(executor, "PARALLEL_STARTS", 2)
    app, release = await world.app()
    world.engine.script(Behaviour(start_s=10))
    async with world.scheduler():
        await world.scale(app, release, printer=5)
        await trio.sleep(5)
        assert await world.counts(app) == {"starting": 2, "pending": 3}
        await world.scale(app, release, printer=2)
        await world.wait_up(app, 2)
    assert len(world.engine.started) == 2  # the others were never begun


async def test_a_release_that_breaks_our_own_code_fails_its_own_jobs_only(autojump_clock, world, monkeypatch):
    def formation_spec(*, app, **facts):
        if app.name == "broken":
            raise KeyError("a mistake of ours")
        return engine_spec(app=app, **facts)

    engine_spec = executor.formation_spec
    monkeypatch.setattr(executor, "formation_spec", formation_spec)
    app, release = await world.app(name="broken")
    well, its_release = await world.app(name="well")
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await world.wait(lambda: world.has(app, JobState.DOWN))
        await world.scale(well, its_release, printer=1)
        await world.wait_up(well, 1)
    [job, *_] = await world.jobs(app, JobState.DOWN)
    assert "KeyError" in job.host_error


async def test_what_crashed_is_put_away_after_its_replacement_is_started(autojump_clock, world, monkeypatch):
    app, release = await world.app()
    world.engine.script(Behaviour(start_s=0.3))
    removed: list[float] = []
    remove = world.engine.remove

    async def noting(job):
        removed.append(trio.current_time())
        await remove(job)

    monkeypatch.setattr(world.engine, "remove", noting)
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        crashed_at = trio.current_time()
        world.engine.crash(job.uuid)
        await world.wait_up(app, 1, without=job)
        await trio.sleep(1)
        assert [at - crashed_at for at in removed] == [pytest.approx(0.3)]
        world.engine.script(Behaviour(start_s=100))
        [job] = await world.up(app)
        crashed_at = trio.current_time()
        world.engine.crash(job.uuid)
        await trio.sleep(5)
        assert removed[1] - crashed_at == pytest.approx(executor.YIELD_S)  # and no longer
