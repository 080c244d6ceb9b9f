"""Deployments while somebody else changes what they are about."""

import pytest
import trio

from flynn_aio.engine import exits
from flynn_aio.errors import ValidationError
from flynn_aio.model import DeploymentStatus, JobState, Strategy
from flynn_aio.store import changes, queries

from ..support.build import make_release
from .world import PRINTER

BUSY = "Cannot create deploy, there is already one in progress for this app."


async def running(world, count=2, **app):
    """Have an app whose printers run, and a release to deploy."""
    app, old = await world.app(**app)
    await world.scale(app, old, printer=count)
    await world.wait_up(app, count)
    return app, old, await make_release(world.store, app, PRINTER, COLOUR="blue")


def hold(world, release):
    """Keep the jobs of a release from serving until the returned function is called."""
    world.sick = lambda placed: placed.job.release == release.id

    def let_go():
        world.sick = lambda placed: False

    return let_go


async def starting(world, app, release, count):
    async def seen():
        found = [job for job in await world.jobs(app, JobState.STARTING) if job.release == release.id]
        return len(found) == count

    await world.wait(seen)


async def nudge(world, app):
    """Let the stand-in for discoverd look again: it does after each change."""
    await world.store.transact(lambda tx: changes.update_app(tx, app.id, meta={"nudge": "1"}))


async def complete(world, deployment):
    ended, error = await world.wait_deployed(deployment)
    assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")


async def test_of_twenty_deployments_at_once_one_is_made(autojump_clock, world):
    async with world.scheduler():
        app, _, new = await running(world)
        made, refused = [], []

        async def one():
            try:
                made.append(await world.deploy(app, new))
            except ValidationError as exc:
                refused.append(exc.message)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one)
        assert (len(made), refused) == (1, [BUSY] * 19)
        await complete(world, made[0])


async def test_the_same_release_again_is_complete_at_once_and_moves_nothing(autojump_clock, world):
    async with world.scheduler():
        app, old, _ = await running(world)
        before = await world.up(app)
        again = await world.deploy(app, old)
        assert again.status is DeploymentStatus.COMPLETE
        assert again.finished_at
        assert await world.wait_up(app, 2) == before
        assert [event["status"] for event in await world.events("deployment")] == ["complete"]


async def test_a_strategy_changed_meanwhile_is_for_the_next_deployment(autojump_clock, world):
    async with world.scheduler():
        app, _, new = await running(world, strategy=Strategy.ONE_BY_ONE)
        before = len(await world.events("job"))
        deployment = await world.deploy(app, new)
        await world.store.transact(lambda tx: changes.update_app(tx, app.id, strategy=Strategy.ALL_AT_ONCE))
        await complete(world, deployment)
        states = [event["state"] for event in (await world.events("job"))[before:]]
        assert [state for state in states if state in ("up", "down")] == ["up", "down", "up", "down"]


@pytest.mark.parametrize("strategy", [Strategy.ALL_AT_ONCE, Strategy.ONE_BY_ONE])
async def test_a_release_that_was_scaled_up_beforehand_must_serve_before_the_old_one_goes(
    autojump_clock, world, strategy
):
    async with world.scheduler():
        app, old, new = await running(world, strategy=strategy)
        let_go = hold(world, new)
        await world.scale(app, new, printer=2)
        await starting(world, app, new, 2)
        deployment = await world.deploy(app, new)
        await trio.sleep(30)
        assert {job.release for job in await world.up(app)} == {old.id}
        let_go()
        await nudge(world, app)
        await complete(world, deployment)
        assert {job.release for job in await world.wait_up(app, 2)} == {new.id}


async def test_scaling_the_old_release_meanwhile_changes_nothing_of_the_end(autojump_clock, world):
    async with world.scheduler():
        app, old, new = await running(world)
        let_go = hold(world, new)
        deployment = await world.deploy(app, new)
        await starting(world, app, new, 2)
        await world.scale(app, old, printer=4)
        let_go()
        await nudge(world, app)
        await complete(world, deployment)
        assert {job.release for job in await world.wait_up(app, 2)} == {new.id}


@pytest.mark.parametrize("count", [0, 5])
async def test_the_new_release_scaled_meanwhile_has_at_least_what_it_needs(autojump_clock, world, count):
    async with world.scheduler():
        app, _, new = await running(world)
        let_go = hold(world, new)
        deployment = await world.deploy(app, new)
        await starting(world, app, new, 2)
        await world.scale(app, new, printer=count)
        let_go()
        await nudge(world, app)
        await complete(world, deployment)
        assert {job.release for job in await world.wait_up(app, max(count, 2))} == {new.id}


async def test_a_job_killed_meanwhile_is_one_of_the_forgiven_failures(autojump_clock, world):
    async with world.scheduler():
        app, _, new = await running(world)
        let_go = hold(world, new)
        deployment = await world.deploy(app, new)
        await starting(world, app, new, 2)
        for job in await world.jobs(app, JobState.STARTING, JobState.UP):
            await world.kill(job)
        let_go()
        await complete(world, deployment)
        assert {job.release for job in await world.wait_up(app, 2)} == {new.id}


@pytest.mark.parametrize("which", ["old", "new"])
async def test_a_formation_deleted_meanwhile_does_not_stop_the_deployment(autojump_clock, world, which):
    async with world.scheduler():
        app, old, new = await running(world)
        let_go = hold(world, new)
        deployment = await world.deploy(app, new)
        await starting(world, app, new, 2)
        gone = old if which == "old" else new
        await world.store.transact(lambda tx: changes.delete_formation(tx, app.id, gone.id))
        let_go()
        await nudge(world, app)
        await complete(world, deployment)
        assert {job.release for job in await world.wait_up(app, 2)} == {new.id}


async def test_an_old_formation_deleted_meanwhile_is_back_after_a_failure(autojump_clock, world):
    async with world.scheduler():
        app, old, new = await running(world, timeout=20)
        hold(world, new)
        deployment = await world.deploy(app, new)
        await starting(world, app, new, 2)
        await world.store.transact(lambda tx: changes.delete_formation(tx, app.id, old.id))
        ended, _ = await world.wait_deployed(deployment)
        assert ended.status is DeploymentStatus.FAILED
        assert await world.processes(app, old.id) == {"printer": 2}
        assert {job.release for job in await world.wait_up(app, 2)} == {old.id}


async def test_the_old_release_cannot_be_deleted_and_without_the_new_one_the_old_goes_on(autojump_clock, world):
    async with world.scheduler():
        app, old, new = await running(world)
        hold(world, new)
        deployment = await world.deploy(app, new)
        await starting(world, app, new, 2)
        with pytest.raises(ValidationError, match="cannot delete"):
            await world.store.transact(lambda tx: changes.delete_release(tx, app.id, old.id))
        await world.store.transact(lambda tx: changes.delete_release(tx, app.id, new.id))
        ended, error = await world.wait_deployed(deployment)
        assert ended.status is DeploymentStatus.FAILED
        assert "was deleted during its deployment" in error
        assert {job.release for job in await world.wait_up(app, 2)} == {old.id}


async def test_deleting_the_app_ends_its_deployment_and_its_jobs(autojump_clock, world):
    async with world.scheduler():
        app, _, new = await running(world)
        hold(world, new)
        await world.deploy(app, new)
        await starting(world, app, new, 2)
        await world.store.transact(lambda tx: changes.delete_app(tx, app.id))

        async def all_down():
            return {job.state for job in await world.jobs(app)} == {JobState.DOWN}

        await world.wait(all_down)
        told = [(event["status"], event.get("error", "")) for event in await world.events("deployment")]
        assert told == [("pending", ""), ("failed", "app hello was deleted")]


async def test_tags_of_the_old_formation_are_those_of_the_new_one_and_survive_a_rollback(autojump_clock, world):
    tags = {"printer": {"disk": "ssd"}}
    app, old = await world.app(timeout=20)
    new = await make_release(world.store, app, PRINTER, COLOUR="blue")
    await world.scale(app, old, tags=tags, printer=1)
    async with world.scheduler():
        deployment = await world.deploy(app, new)
        assert deployment.tags == tags

        async def copied():
            found = await world.store.read(lambda db: queries.find_formation(db, app.id, new.id))
            return found and found.tags == tags

        await world.wait(copied)
        await world.store.transact(lambda tx: changes.create_scale_request(tx, app.id, old.id, None, {"printer": {}}))
        ended, error = await world.wait_deployed(deployment)  # no host has the tags
        assert ended.status is DeploymentStatus.FAILED
        assert "no host has the tags" in error
        restored = await world.store.read(lambda db: queries.formation(db, app.id, old.id))
        assert (restored.processes, restored.tags) == ({"printer": 1}, tags)


@pytest.mark.parametrize("strategy", [s for s in Strategy if s not in (Strategy.SIRENIA, Strategy.DISCOVERD_META)])
async def test_a_deployment_goes_on_after_every_restart(autojump_clock, world, strategy):
    async with world.scheduler():
        app, old, new = await running(world, count=3, strategy=strategy)
    deployment = await world.deploy(app, new)

    async def over():
        found = await world.store.read(lambda db: queries.deployment(db, deployment.id))
        return found.finished_at is not None

    for _ in range(100):
        if await over():
            break
        async with world.scheduler():
            await trio.sleep(0.3)
    await complete(world, deployment)
    async with world.scheduler():
        jobs = await world.wait_up(app, 3)
    assert {job.release for job in jobs} == {new.id}
    assert not any((await world.processes(app, old.id)).values())


async def test_a_rollback_that_is_interrupted_is_whole_or_not_begun(autojump_clock, world):
    async with world.scheduler():
        app, old, new = await running(world, strategy=Strategy.ONE_DOWN_ONE_UP)
    world.engine.script(exits(1), args=("print",))
    deployment = await world.deploy(app, new)
    for _ in range(100):
        async with world.scheduler():
            await trio.sleep(0.2)
        found = await world.store.read(lambda db: queries.deployment(db, deployment.id))
        restored = await world.processes(app, old.id) == {"printer": 2}
        gone = await world.processes(app, new.id) is None
        if found.finished_at:
            break
    assert (found.status, restored, gone) == (DeploymentStatus.FAILED, True, True)


async def test_a_release_without_an_image_is_refused_before_anything_moves(autojump_clock, world):
    async with world.scheduler():
        app, _, new = await running(world)
        bare = await world.store.transact(
            lambda tx: changes.create_release(tx, type(new)(app_id=app.id, processes=new.processes))
        )
        with pytest.raises(ValidationError, match="^release is not deployable$"):
            await world.deploy(app, bare)
        empty = await world.store.transact(lambda tx: changes.create_release(tx, type(new)(app_id=app.id)))
        await complete(world, await world.deploy(app, empty))  # nothing of it is to run: the old one just goes
        await world.wait_up(app, 0)
