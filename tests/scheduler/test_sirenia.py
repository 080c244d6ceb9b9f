"""A database on one host: its deployments from wish to end, and what is told of them."""

import pytest
import trio

from flynn_aio.model import DeploymentStatus, JobState, ProcessType, Strategy
from flynn_aio.scheduler import sirenia
from flynn_aio.store import queries

from ..support.build import make_release
from .builders import release

DATABASE = {"postgres": ProcessType(args=["postgres"]), "api": ProcessType(args=["api"])}
NAMED = {sirenia.PROCESS_ENV: "postgres"}


async def running(world, counts=None, types=None, env=None, timeout=None):
    """Have a database that runs beside its API, and the release to deploy."""
    app, _ = await world.app(DATABASE, strategy=Strategy.SIRENIA, timeout=timeout)
    old = await make_release(world.store, app, DATABASE, **(NAMED if env is None else env))
    await world.deploy(app, old)  # nothing runs yet
    counts = counts or {"postgres": 1, "api": 1}
    await world.scale(app, old, **counts)
    await world.wait_up(app, sum(counts.values()))
    return app, old, await make_release(world.store, app, types or DATABASE, COLOUR="blue")


async def told(world, deployment, old, new):
    """Return the events of a deployment: status, or the release and state of a job."""
    turns = {old.id: "old", new.id: "new"}
    events = [event for event in await world.events("deployment") if event["deployment"] == deployment.id]
    assert {event.get("job_type", "postgres") for event in events} == {"postgres"}
    return [
        f"{turns[event['release']]} {event['job_state']}" if event["status"] == "running" else event["status"]
        for event in events
    ]


async def test_a_database_stops_before_the_next_one_starts_and_each_move_is_told(autojump_clock, world):
    async with world.scheduler():
        app, old, new = await running(world)
        before = len(await world.events("job"))
        deployment = await world.deploy(app, new)
        ended, error = await world.wait_deployed(deployment)
        assert (ended.status, error) == (DeploymentStatus.COMPLETE, "")
        assert {job.release for job in await world.wait_up(app, 2)} == {new.id}
        moves = [(one["type"], one["state"]) for one in (await world.events("job"))[before:]]
        assert [move for move in moves if move[1] in ("up", "down")] == [
            ("postgres", "down"), ("postgres", "up"), ("api", "up"), ("api", "down"),
        ]  # fmt: skip
    assert await told(world, deployment, old, new) == [
        "pending", "old stopping", "old down", "new starting", "new up", "complete",
    ]  # fmt: skip


async def test_while_it_moves_a_deployment_is_running(autojump_clock, world):
    async with world.scheduler():
        app, _, new = await running(world)
        world.drains = 5.0
        deployment = await world.deploy(app, new)

        async def stopping():
            found = await world.store.read(lambda db: queries.deployment(db, deployment.id))
            return found.status is DeploymentStatus.RUNNING and await world.has(app, JobState.STOPPING)

        await world.wait(stopping)
        await world.wait_deployed(deployment)


async def test_members_of_a_cluster_are_restarted_one_after_the_other(autojump_clock, world):
    async with world.scheduler():
        app, old, new = await running(world, {"postgres": 2, "api": 0})
        deployment = await world.deploy(app, new)
        await world.wait_deployed(deployment)
    turn = ["old stopping", "old down", "new starting", "new up"]
    assert await told(world, deployment, old, new) == ["pending", *turn, *turn, "complete"]


async def test_a_database_that_does_not_come_up_is_not_rolled_back(autojump_clock, world):
    async with world.scheduler():
        app, old, new = await running(world, timeout=20)
        world.sick = lambda placed: placed.job.release == new.id and placed.job.type == "postgres"
        deployment = await world.deploy(app, new)
        ended, error = await world.wait_deployed(deployment)
        assert ended.status is DeploymentStatus.FAILED
        assert error.startswith("postgres job failed to start: 0 of 1 up after 20 s\n")
        assert "nothing was rolled back" in error
        assert "keeps serving" not in error
        assert await world.processes(app, old.id) == {"postgres": 0, "api": 1}
        assert await world.processes(app, new.id) == {"postgres": 1}
        assert (await world.store.read(lambda db: queries.app(db, app.id))).release == old.id
    events = await told(world, deployment, old, new)
    assert events == ["pending", "old stopping", "old down", "new starting", "failed"]


async def test_a_database_that_is_scaled_to_nothing_stays_so(autojump_clock, world):
    async with world.scheduler():
        app, old, new = await running(world, {"postgres": 0, "api": 2})
        deployment = await world.deploy(app, new)
        await world.wait_deployed(deployment)
        assert {(job.type, job.release) for job in await world.wait_up(app, 2)} == {("api", new.id)}
    assert await told(world, deployment, old, new) == ["pending", "complete"]


@pytest.mark.parametrize(
    ("types", "env", "error"),
    [
        (DATABASE, {}, "unable to determine sirenia process type"),
        ({"api": ProcessType()}, NAMED, "sirenia process type not present in new release"),
    ],
)
async def test_what_has_no_database_is_refused_and_nothing_moves(autojump_clock, world, types, env, error):
    async with world.scheduler():
        app, old, new = await running(world, types=types, env=env)
        before = await world.up(app)
        ended, said = await world.wait_deployed(await world.deploy(app, new))
        assert (ended.status, said) == (DeploymentStatus.FAILED, error)
        assert await world.wait_up(app, 2) == before
        assert await world.processes(app, old.id) == {"postgres": 1, "api": 1}


async def test_a_database_that_somebody_has_started_already_is_no_clean_state(autojump_clock, world):
    async with world.scheduler():
        app, _, new = await running(world)
        await world.scale(app, new, postgres=1)
        await world.wait_up(app, 3)
        ended, said = await world.wait_deployed(await world.deploy(app, new))
        assert (ended.status, said) == (DeploymentStatus.FAILED, "sirenia cluster in unexpected state")
        await world.wait_up(app, 3)


@pytest.mark.parametrize("pause", [0.1, 0.3, 1.0])
async def test_a_restart_in_the_middle_tells_nothing_twice(autojump_clock, world, pause):
    async with world.scheduler():
        app, old, new = await running(world)
    deployment = await world.deploy(app, new)
    for _ in range(100):
        async with world.scheduler():
            await trio.sleep(pause)
        found = await world.store.read(lambda db: queries.deployment(db, deployment.id))
        if found.finished_at:
            break
    assert await told(world, deployment, old, new) == [
        "pending", "old stopping", "old down", "new starting", "new up", "complete",
    ]  # fmt: skip


def test_the_old_release_says_which_type_the_database_is_and_else_the_new_one():
    plain = release("new")
    named = type(plain)(env=NAMED)
    other = type(plain)(env={sirenia.PROCESS_ENV: "mariadb"})
    assert sirenia.database_type(named, other) == "postgres"
    assert sirenia.database_type(plain, other) == "mariadb"
    assert sirenia.database_type(None, plain) == ""
