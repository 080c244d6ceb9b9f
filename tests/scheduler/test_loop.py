"""The whole loop: real rows and events, an engine in memory, minutes that pass at once."""

import logging
from datetime import timedelta
from itertools import pairwise

import pytest
import trio

from flynn_aio.clock import SystemClock
from flynn_aio.engine import OOM_TEXT, Behaviour, JobSpec, exits, fails_to_start, ignore_sigterm, open_fake_engine
from flynn_aio.errors import Conflict, EngineError, Unavailable
from flynn_aio.model import AppID, DeploymentStatus, JobID, JobState, ProcessType, Strategy
from flynn_aio.settings import StoreSettings
from flynn_aio.store import changes, open_store, queries

from ..support.build import make_release, web_process
from .world import PRINTER, World

DOWN, UP, STOPPING, PENDING = JobState.DOWN, JobState.UP, JobState.STOPPING, JobState.PENDING


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
        await world.wait(lambda: _completed(world, 1))
        await world.scale(app, release, printer=1)
        await world.wait_up(app, 1)
        await world.scale(app, release, printer=1)
        await world.wait(lambda: _completed(world, 3))


async def _completed(world, count):
    return [event["state"] for event in await world.events("scale_request")].count("complete") == count


async def test_scaling_down_stops_the_newest_and_completes_when_they_are_down(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=3)
        oldest, *newer = await world.wait_up(app, 3)
        await world.scale(app, release, printer=1)
        assert await world.wait_up(app, 1) == [oldest]
        await world.wait(lambda: _completed(world, 2))
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
        await world.wait(lambda: _is(world, app, blocked=1, down=1))
        await world.scale(app, release, {"printer": {}}, printer=1)
        [second] = await world.wait_up(app, 1)
        assert second != first


async def _is(world, app, **counts):
    return await world.counts(app) == counts


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
        await world.wait(lambda: _has(world, app, PENDING))
        [waiting] = await world.jobs(app, PENDING)
        assert waiting.run_at == world.clock.now() + timedelta(seconds=10)
        assert waiting.id == ""
        [job] = await world.wait_up(app, 1, without=job)
        assert [restarts for restarts, _ in ends] == [0, 1, 2, 3, 4, 5]
        assert (job.restarts, trio.current_time() - ends[-1][1]) == (6, 10)
        assert {one.exit_status for one in await world.jobs(app, DOWN)} == {1}


async def _has(world, app, state):
    return bool(await world.jobs(app, state))


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
        await world.wait(lambda: _is(world, app, up=1, stopping=1), 1)
        [after] = await world.wait_up(app, 1, without=job)
        assert after.uuid != job.uuid
        assert (after.restarts, (await world.jobs(app, DOWN))[0].exit_status) == (None, 0)


async def test_a_job_out_of_memory_says_so(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        world.engine.run_out_of_memory(job.uuid)
        await world.wait(lambda: _has(world, app, DOWN))
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
        assert not await _completed(world, 1)


# Starts that fail


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
        await world.wait(lambda: _has(world, app, UP))
        [job] = await world.up(app)
        assert (job.args, job.meta, job.type, job.id) == (["date"], {"foo": "baz"}, "", f"host0-{spec.id}")
        await world.wait(lambda: _has(world, app, DOWN))
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
        await world.wait(lambda: _has(world, app, UP))
        await world.kill((await world.up(app))[0])
        await world.wait(lambda: _is(world, app, down=1))


# Deployments


async def order_of(world, strategy, count, **extra):
    """Deploy; return the ups and downs in their order and how it ended."""
    app, old = await world.app(strategy=strategy)
    async with world.scheduler():
        await world.scale(app, old, printer=count)
        await world.wait_up(app, count)
        before = len(await world.job_events())
        new = await make_release(world.store, app, PRINTER, COLOUR="blue")
        if extra:
            await world.store.transact(lambda tx: changes.update_app(tx, app.id, **extra))
        ended, error = await world.wait_deployed(await world.deploy(app, new))
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")
        jobs = await world.wait_up(app, count)
        assert {job.release for job in jobs} == {new.id}
        assert await world.processes(app, new.id) == {"printer": count}
        assert not any((await world.processes(app, old.id)).values())
        assert (await world.store.read(lambda db: queries.app(db, app.id))).release == new.id
    return [state for state in (await world.job_events())[before:] if state in ("up", "down")]


@pytest.mark.parametrize(
    ("strategy", "count", "order"),
    [
        (Strategy.ALL_AT_ONCE, 2, "up up down down"),
        (Strategy.ONE_BY_ONE, 2, "up down up down"),
        (Strategy.ONE_DOWN_ONE_UP, 2, "down up down up"),
        (Strategy.IN_BATCHES, 3, "up down up down up down"),
    ],
)
async def test_a_deployment_exchanges_the_jobs_in_the_order_of_its_strategy(
    autojump_clock, world, strategy, count, order
):
    assert await order_of(world, strategy, count) == order.split()


async def test_batches_are_as_large_as_the_app_says(autojump_clock, world):
    seen = await order_of(world, Strategy.IN_BATCHES, 8, meta={"flynn-deploy-batch-size": "4"})
    assert seen == [*["up"] * 4, *["down"] * 4] * 2


async def deployed(world, *, count=1, behaviour=None, sick=False, timeout=None, processes=PRINTER):
    """Deploy a second release whose jobs go as told; return everything worth looking at."""
    app, old = await world.app(processes, timeout=timeout)
    await world.scale(app, old, **dict.fromkeys(processes, count))
    before = await world.wait_up(app, count * len(processes))
    changed = {kind: ProcessType(args=["new", kind]) for kind in processes}
    new = await make_release(world.store, app, changed, COLOUR="blue")
    if behaviour is not None:
        world.engine.script(behaviour, args=("new", "printer"))
    if sick:
        world.sick = lambda placed: placed.job.release == new.id
    await trio.sleep(0.123456)  # real moments are no whole seconds
    deployment = await world.deploy(app, new)
    ended, error = await world.wait_deployed(deployment)
    return app, old, new, before, ended, error


async def test_a_release_that_cannot_start_is_rolled_back_and_says_why(autojump_clock, world):
    text = 'exec: "this-is-gonna-fail": executable file not found in $PATH'
    async with world.scheduler():
        app, old, new, before, ended, error = await deployed(world, count=2, behaviour=fails_to_start(text))
        assert ended.status is DeploymentStatus.FAILED
        assert error == f"printer job failed to start: {text}"
        assert await world.processes(app, old.id) == {"printer": 2}
        assert await world.processes(app, new.id) is None
        assert await world.wait_up(app, 2) == before  # nobody was disturbed
        assert (await world.store.read(lambda db: queries.app(db, app.id))).release == old.id
        again = await world.deploy(app, new)
        assert again.status is DeploymentStatus.PENDING
        await world.wait_deployed(again)


async def test_a_release_whose_jobs_exit_is_rolled_back(autojump_clock, world):
    async with world.scheduler():
        app, _, _, before, ended, error = await deployed(world, behaviour=exits(1, after_s=0.1), sick=True)
        assert (ended.status, error) == (
            DeploymentStatus.FAILED,
            "printer job failed to start: got down job event",
        )
        assert await world.wait_up(app, 1) == before
    downs = [job for job in await world.jobs(app, DOWN) if job.release != before[0].release and job.exit_status == 1]
    assert len(downs) == 6  # five were tolerated


async def test_a_release_that_never_serves_is_rolled_back_with_what_it_waited_for(autojump_clock, world):
    world.tails = {}
    async with world.scheduler():
        app, old, _, before, ended, error = await deployed(world, sick=True, timeout=45)
        assert ended.status is DeploymentStatus.FAILED
        assert ended.finished_at - ended.created_at >= timedelta(seconds=45)
        assert error.startswith("printer job failed to start: 0 of 1 up after 45 s; job host0-")
        assert "connection refused on 100.100." in error
        assert f"release {old.id} keeps serving" in error
        assert "`flynn -a hello deployment timeout 90`" in error
        assert await world.wait_up(app, 1) == before


async def test_the_last_lines_of_the_job_end_the_error_of_a_deployment_that_ran_out_of_time(
    autojump_clock, world, monkeypatch
):
    async def tail(job, lines):
        return ["Traceback", "ImportError: no module named x"]

    monkeypatch.setattr(world, "tail", tail)
    async with world.scheduler():
        *_, error = await deployed(world, sick=True, timeout=5)
    assert error.endswith(":\n    Traceback\n    ImportError: no module named x")


async def test_five_failures_are_forgiven(autojump_clock, world):
    app, old = await world.app()
    async with world.scheduler():
        await world.scale(app, old, printer=1)
        await world.wait_up(app, 1)
        world.engine.script(fails_to_start("not yet"))
        new = await make_release(world.store, app, PRINTER, COLOUR="blue")
        deployment = await world.deploy(app, new)

        async def five():
            if len(await world.jobs(app, DOWN)) == 5:
                world.engine.script(Behaviour())
                return True
            return False

        await world.wait(five)
        ended, error = await world.wait_deployed(deployment)
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")


async def test_only_types_that_run_and_that_the_new_release_has_are_deployed(autojump_clock, world):
    app, old = await world.app({"web": web_process("hello-web"), "gone": ProcessType(), "idle": ProcessType()})
    async with world.scheduler():
        await world.scale(app, old, web=1, gone=1, idle=0)
        await world.wait_up(app, 2)
        types = {"web": web_process("hello-web"), "idle": ProcessType(), "added": ProcessType()}
        new = await make_release(world.store, app, types, COLOUR="blue")
        await world.wait_deployed(await world.deploy(app, new))
        [job] = await world.wait_up(app, 1)
        assert (job.type, job.release) == ("web", new.id)


async def test_a_strategy_for_databases_fails_with_a_way_out(autojump_clock, world):
    app, old = await world.app(strategy=Strategy.SIRENIA)
    async with world.scheduler():
        await world.scale(app, old, printer=1)
        before = await world.wait_up(app, 1)
        new = await make_release(world.store, app, PRINTER, COLOUR="blue")
        ended, error = await world.wait_deployed(await world.deploy(app, new))
        assert ended.status is DeploymentStatus.FAILED
        assert "all-at-once" in error
        assert await world.wait_up(app, 1) == before


async def test_the_jobs_of_a_deleted_app_are_stopped(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=2)
        await world.wait_up(app, 2)
        await world.store.transact(lambda tx: changes.delete_app(tx, app.id))
        await world.wait(lambda: _is(world, app, down=2))
        await trio.sleep(1)
        assert await world.engine.jobs() == []


# Our own crashes, and the engine's


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
        assert {job.restarts for job in after if job != running} == {1}
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
        await world.wait(lambda: _is(world, app, down=1))


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
