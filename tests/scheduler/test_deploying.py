"""Deployments from wish to end, with the whole loop."""

import errno
import itertools
from datetime import timedelta

import pytest
import trio

from flynn_aio.engine import Behaviour, exits, fails_to_start
from flynn_aio.model import DeploymentStatus, JobState, ProcessType, Strategy
from flynn_aio.store import changes, queries

from ..support.build import make_release, web_process
from .world import PRINTER

DOWN = JobState.DOWN


async def order_of(world, strategy, count, **extra):
    """Deploy; return the ups of the new release and the downs of the old one in their order."""
    app, old = await world.app(strategy=strategy)
    async with world.scheduler():
        await world.scale(app, old, printer=count)
        await world.wait_up(app, count)
        before = len(await world.events("job"))
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
    assert [event["status"] for event in await world.events("deployment")] == ["pending", "complete"]
    told = [(event["state"], event["release"]) for event in (await world.events("job"))[before:]]
    assert {one for one in told if one[0] in ("up", "down")} == {("up", new.id), ("down", old.id)}
    return [state for state, _ in told if state in ("up", "down")]


@pytest.mark.parametrize(
    ("strategy", "count", "order"),
    [
        (Strategy.ALL_AT_ONCE, 2, "up up down down"),
        (Strategy.ONE_BY_ONE, 2, "up down up down"),
        (Strategy.ONE_DOWN_ONE_UP, 2, "down up down up"),
        (Strategy.IN_BATCHES, 3, "up down up down up down"),  # one host: batches of one
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
        assert [event["status"] for event in await world.events("deployment")] == ["pending", "failed"]
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
    failure = ended.failure
    assert (failure.error, failure.phase, failure.exit_status, failure.job_type) == (error, "start", 1, "printer")
    assert failure.serving.processes == {"printer": 1}
    assert [step.step for step in ended.steps] == ["up printer=1"]
    downs = [job for job in await world.jobs(app, DOWN) if job.release != before[0].release and job.exit_status == 1]
    assert len(downs) == 6  # five were tolerated


async def test_a_release_that_never_serves_is_rolled_back_with_what_it_waited_for(autojump_clock, world):
    world.tails = {}
    async with world.scheduler():
        app, old, _, before, ended, error = await deployed(world, sick=True, timeout=45)
        assert ended.status is DeploymentStatus.FAILED
        assert ended.finished_at - ended.created_at >= timedelta(seconds=45)
        assert error.startswith(
            "printer job failed to start: 0 of 1 up after 45 s\nit runs, but has not become healthy"
        )
        assert "connection refused on 100.100." in error
        assert f"\nrelease {old.id} keeps serving\n" in error
        assert "\nto allow more time: flynn -a hello deployment timeout 90" in error
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


async def test_a_log_that_cannot_be_read_keeps_no_deployment_from_ending(autojump_clock, world, monkeypatch):
    async def tail(job, lines):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(world, "tail", tail)
    async with world.scheduler():
        *_, error = await deployed(world, sick=True, timeout=5)
    assert "keeps serving" in error


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


async def test_each_step_forgives_five_failures_of_its_own(autojump_clock, world):
    world.drains = 1.0  # no two steps in one moment
    app, old = await world.app(strategy=Strategy.ONE_BY_ONE)
    async with world.scheduler():
        await world.scale(app, old, printer=2)
        await world.wait_up(app, 2)
        new = await make_release(world.store, app, PRINTER, COLOUR="blue")
        deployment = None
        for wanted in (1, 2):
            world.engine.script(fails_to_start("not yet"))
            deployment = deployment or await world.deploy(app, new)

            async def five_more(wanted=wanted):
                failed = [job for job in await world.jobs(app, DOWN) if job.host_error == "not yet"]
                return len(failed) == 5 * wanted

            await world.wait(five_more)
            world.engine.script(Behaviour())

            async def next_step(wanted=wanted):
                return len([job for job in await world.up(app) if job.release == new.id]) == wanted

            await world.wait(next_step)
        ended, error = await world.wait_deployed(deployment)
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")


async def test_each_step_has_the_whole_time(autojump_clock, world):
    app, old = await world.app(strategy=Strategy.ONE_BY_ONE, timeout=20)
    async with world.scheduler():
        await world.scale(app, old, printer=3)
        await world.wait_up(app, 3)
        new = await make_release(world.store, app, PRINTER, COLOUR="blue")
        began = {}

        def slow(placed):
            if placed.job.release != new.id:
                return False
            return trio.current_time() < began.setdefault(placed.job.uuid, trio.current_time()) + 15

        world.sick = slow
        deployment = await world.deploy(app, new)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look_every_second, world, app)
            ended, error = await world.wait_deployed(deployment)
            nursery.cancel_scope.cancel()
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")
        assert ended.finished_at - ended.created_at >= timedelta(seconds=45)


async def look_every_second(world, app):
    """Let the stand-in for discoverd look again: it does after each change."""
    for number in itertools.count():
        await trio.sleep(1)
        await world.store.transact(lambda tx, n=number: changes.update_app(tx, app.id, meta={"look": str(n)}))


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
