"""The whole loop: real rows and events, an engine in memory, minutes that pass at once."""

from datetime import timedelta

import trio

from flynn_aio.clock import SystemClock
from flynn_aio.engine import OOM_TEXT, JobSpec, exits, ignore_sigterm, open_fake_engine
from flynn_aio.model import AppID, JobID, JobState
from flynn_aio.settings import StoreSettings
from flynn_aio.store import changes, open_store

from .world import World

DOWN, UP, PENDING = JobState.DOWN, JobState.UP, JobState.PENDING

# Scaling


async def test_a_scaled_type_starts_and_its_request_completes_after_the_jobs(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=2)
        await world.wait_up(app, 2)
    states = [event["state"] for event in await world.events("job", "scale_request")]
    assert states == ["pending", "pending", "pending", "starting", "starting", "up", "up", "complete"]


async def test_a_request_that_changes_nothing_completes(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=0)
        await world.wait(lambda: world.completed(1))
        await world.scale(app, release, printer=1)
        await world.wait_up(app, 1)
        await world.scale(app, release, printer=1)
        await world.wait(lambda: world.completed(3))


async def test_scaling_down_stops_the_newest_and_completes_when_they_are_down(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=3)
        oldest, *newer = await world.wait_up(app, 3)
        await world.scale(app, release, printer=1)
        assert await world.wait_up(app, 1) == [oldest]
        await world.wait(lambda: world.completed(2))
        assert {job.uuid for job in await world.jobs(app, DOWN)} == {job.uuid for job in newer}
    states = [event["state"] for event in await world.events("job", "scale_request")]
    assert states[-5:] == ["stopping", "stopping", "down", "down", "complete"]
    assert set(world.drained) == {job.uuid for job in newer}
    assert [job.id for job in await world.engine.jobs()] == [oldest.uuid]


async def test_a_job_that_is_drained_for_too_long_is_stopped_all_the_same(autojump_clock, world):
    app, release = await world.app()
    world.engine.script(ignore_sigterm)
    world.drains = 60
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await world.wait_up(app, 1)
        await world.scale(app, release, printer=0)
        began = trio.current_time()
        await world.wait_up(app, 0)
        assert trio.current_time() - began == 10 + 30  # drain_s, then kill_s
    assert world.drained == []


async def test_a_formation_with_tags_waits_for_a_host_that_has_them(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [first] = await world.wait_up(app, 1)
        await world.scale(app, release, {"printer": {"disk": "ssd"}}, printer=1)
        await world.wait(lambda: world.is_at(app, blocked=1, down=1))
        await world.scale(app, release, {"printer": {}}, printer=1)
        [second] = await world.wait_up(app, 1)
        assert second != first


async def test_the_jobs_of_a_deleted_app_are_stopped(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=2)
        await world.wait_up(app, 2)
        await world.store.transact(lambda tx: changes.delete_app(tx, app.id))
        await world.wait(lambda: world.is_at(app, down=2))
        await trio.sleep(1)
        assert await world.engine.jobs() == []


# Jobs that end


async def test_four_crashes_are_replaced_at_once_and_the_sixth_waits(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        ends, job = [], None
        for _ in range(6):
            [job] = await world.wait_up(app, 1, without=job)
            ends.append((job.restarts or 0, trio.current_time()))
            world.engine.crash(job.uuid, 1)
        await world.wait(lambda: world.has(app, PENDING))
        [waiting] = await world.jobs(app, PENDING)
        assert waiting.run_at == world.clock.now() + timedelta(seconds=10)
        assert waiting.id == ""
        [job] = await world.wait_up(app, 1, without=job)
        assert [restarts for restarts, _ in ends] == [0, 1, 2, 3, 4, 5]
        assert (job.restarts, trio.current_time() - ends[-1][1]) == (6, 10)
        assert {one.exit_status for one in await world.jobs(app, DOWN)} == {1}


async def test_a_long_run_is_a_clean_slate(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        job = None
        for _ in range(3):
            [job] = await world.wait_up(app, 1, without=job)
            world.engine.crash(job.uuid)
        [job] = await world.wait_up(app, 1, without=job)
        await trio.sleep(301)
        world.engine.crash(job.uuid)
        [job] = await world.wait_up(app, 1, without=job)
        assert job.restarts == 1


async def test_a_clean_exit_is_replaced_too_and_its_container_put_away(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        world.engine.crash(job.uuid, 0)
        [after] = await world.wait_up(app, 1, without=job)
        await trio.sleep(1)
        assert [status.id for status in await world.engine.jobs()] == [after.uuid]
        [ended] = await world.jobs(app, DOWN)
        assert (ended.exit_status, ended.host_error) == (0, None)


async def test_a_killed_job_is_replaced_at_once(autojump_clock, world):
    app, release = await world.app()
    world.drains = 5
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        await world.kill(job)
        await world.wait(lambda: world.is_at(app, up=1, stopping=1), 1)
        [after] = await world.wait_up(app, 1, without=job)
        assert after.uuid != job.uuid
        assert (after.restarts, (await world.jobs(app, DOWN))[0].exit_status) == (None, 0)


async def test_a_job_out_of_memory_says_so(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        world.engine.run_out_of_memory(job.uuid)
        await world.wait(lambda: world.has(app, DOWN))
        [ended] = await world.jobs(app, DOWN)
        assert ended.host_error == OOM_TEXT


async def test_a_container_that_vanished_is_replaced(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        world.engine.lose(job.uuid)
        [after] = await world.wait_up(app, 1, without=job)
        assert after.uuid != job.uuid
        assert "container is gone" in (await world.jobs(app, DOWN))[0].host_error


async def test_a_job_its_health_check_gave_up_is_killed_without_patience_and_replaced(autojump_clock, world):
    app, release = await world.app()
    world.engine.script(ignore_sigterm)
    world.drains = 60
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        began = trio.current_time()
        world.give_up(job)
        [after] = await world.wait_up(app, 1, without=job)
        assert trio.current_time() - began < 1
        assert after.restarts == 1
        [ended] = await world.jobs(app, DOWN)
        assert (ended.uuid, ended.host_error) == (job.uuid, None)


async def test_a_job_is_up_only_when_it_serves(autojump_clock, world):
    app, release = await world.app()
    world.sick = lambda placed: True
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await trio.sleep(100)
        assert await world.counts(app) == {"starting": 1}
        assert not await world.completed(1)


# Jobs of others


async def test_a_one_off_job_is_recorded_and_put_away_but_never_restarted(autojump_clock, world):
    app, release = await world.app()
    spec = JobSpec(
        id=JobID("7c2d8a2e-0000-4000-8000-000000000001"),
        app=app.id,
        app_name=app.name,
        release=release.id,
        image="any",
        args=("date",),
        meta={"foo": "baz"},
    )
    world.engine.script(exits(3, after_s=20), args=("date",))
    async with world.scheduler():
        await world.engine.start(spec)
        await world.wait(lambda: world.has(app, UP))
        [job] = await world.up(app)
        assert (job.args, job.meta, job.type, job.id) == (["date"], {"foo": "baz"}, "", f"host0-{spec.id}")
        await world.wait(lambda: world.has(app, DOWN))
        assert [job.exit_status for job in await world.jobs(app)] == [3]
        assert len(await world.engine.jobs()) == 1  # for whoever still reads its last words
        await trio.sleep(61)
        assert await world.engine.jobs() == []
    assert await world.job_events() == ["up", "down"]


async def test_a_one_off_job_that_ends_before_anybody_looks_was_up_and_is_down(autojump_clock, world):
    app, release = await world.app()
    world.engine.script(exits(0))
    spec = JobSpec(id=JobID("one"), app=app.id, app_name=app.name, release=release.id, image="any")
    await world.engine.start(spec)
    await trio.sleep(1)
    async with world.scheduler():
        await trio.sleep(1)
    assert await world.job_events() == ["up", "down"]


async def test_a_job_of_no_app_of_ours_leaves_no_trace(autojump_clock, world):
    world.engine.script(exits(0, after_s=1))
    spec = JobSpec(id=JobID("one"), app=AppID("unknown"), app_name="stack", image="any")
    async with world.scheduler():
        await world.engine.start(spec)
        await trio.sleep(120)
        assert await world.engine.jobs() == []
    assert await world.job_events() == []


async def test_a_one_off_job_is_killed_on_request_and_not_replaced(autojump_clock, world):
    app, release = await world.app()
    spec = JobSpec(id=JobID("one"), app=app.id, app_name=app.name, release=release.id, image="any")
    async with world.scheduler():
        await world.engine.start(spec)
        await world.wait(lambda: world.has(app, UP))
        await world.kill((await world.up(app))[0])
        await world.wait(lambda: world.is_at(app, down=1))


async def test_a_one_off_job_ends_with_its_app(autojump_clock, world):
    """Nobody could name it any more: a job is killed by way of its app."""
    app, release = await world.app()
    spec = JobSpec(id=JobID("one"), app=app.id, app_name=app.name, release=release.id, image="any")
    async with world.scheduler():
        await world.engine.start(spec)
        await world.wait(lambda: world.has(app, UP))
        await world.store.transact(lambda tx: changes.delete_app(tx, app.id))
        await world.wait(lambda: world.is_at(app, down=1))


# With real threads and real time


async def test_many_jobs_crash_at_once_and_come_back(tmp_path):
    async with (
        open_store(StoreSettings(path=tmp_path / "flynn.db"), SystemClock()) as store,
        open_fake_engine() as engine,
    ):
        world = World(store, engine, SystemClock())
        app, release = await world.app()
        async with world.scheduler():
            with trio.fail_after(30):
                await world.scale(app, release, printer=30)
                before = await world.wait_up(app, 30)
                for job in before:
                    engine.crash(job.uuid)
                after = await world.wait_up(app, 30, without=before[0])
                assert {job.restarts for job in after} == {1}
                await world.scale(app, release, printer=0)
                await world.wait_up(app, 0)
                seen = engine.bell.version
                while await engine.jobs():
                    await engine.bell.moved_past(seen)
                    seen = engine.bell.version
    assert len(engine.started) == 60
