"""Volumes: which one a job is given, when it waits for one, and what becomes of them in the end."""

from datetime import timedelta

import pytest
import trio
from msgspec.structs import replace

from flynn_aio.engine import JobSpec, RunState
from flynn_aio.model import DeploymentStatus, JobID, JobState, ProcessType, Strategy, VolumeID, VolumeReq, VolumeState
from flynn_aio.scheduler.plan import plan
from flynn_aio.scheduler.step import AddVolume, Doing, PutJob, RemoveVolume, StartJob, Step, StopJob
from flynn_aio.store import changes, queries

from ..support.build import make_release
from .builders import (
    APP,
    EARLIER,
    NOW,
    desired,
    exited,
    formation,
    job,
    new_ids,
    observed,
    placed,
    serving,
    status,
    volume,
)

PENDING, STARTING, UP, STOPPING, DOWN = (
    JobState.PENDING,
    JobState.STARTING,
    JobState.UP,
    JobState.STOPPING,
    JobState.DOWN,
)
UUID = "00000000-0000-4000-8000-0000000000d1"
STORE = {"web": ProcessType(args=["web"], volumes=[VolumeReq(path="/data")])}
KEPT = {"web": ProcessType(args=["web"], volumes=[VolumeReq(path="/data", keep=True)])}
TWO = {"web": ProcessType(volumes=[VolumeReq(path="/a"), VolumeReq(path="/b", delete_on_stop=True)])}


def step_of(*jobs, volumes=(), types=STORE, statuses=(), count=None, **more) -> Step:
    ids = new_ids()
    wanted = formation(types=types, web=len(jobs) if count is None else count)
    return plan(
        desired(*jobs, formations=[wanted], volumes=volumes), observed(*statuses, **more), NOW, lambda: next(ids)
    )


def given(step: Step) -> dict[str, list[str]]:
    """Return which job is given which volumes."""
    return {write.job.uuid: write.job.volumes for write in step.writes if isinstance(write, PutJob)}


def added(step: Step):
    return [write.volume for write in step.writes if isinstance(write, AddVolume)]


def started(step: Step):
    return {action.job: [one.id for one in action.volumes] for action in step.actions if isinstance(action, StartJob)}


def test_a_first_job_gets_new_volumes_before_it_is_started():
    step = step_of(placed(job("a", PENDING)), types=TWO)
    assert added(step) == [
        volume("new-1", job="a", path="/a", state=VolumeState.PENDING, created_at=None),
        volume("new-2", job="a", path="/b", state=VolumeState.PENDING, created_at=None, delete_on_stop=True),
    ]
    assert given(step) == {"a": ["new-1", "new-2"]}
    assert step.writes.index(AddVolume(added(step)[1])) < len(step.writes) - 1  # the job's row speaks of them
    assert step.actions == ()


def test_a_job_that_has_what_it_wants_is_started_with_it():
    has = volume("v", job="a", state=VolumeState.PENDING)
    step = step_of(placed(job("a", PENDING, volumes=["v"])), volumes=[has])
    [start] = step.actions
    assert (start.volumes, step.writes) == ((has,), ())


def test_a_replacement_gets_the_volume_its_predecessor_left_the_oldest_first():
    step = step_of(placed(job("a", PENDING)), volumes=[volume("v1"), volume("v2")])
    assert (added(step), given(step), step.actions) == ([], {"a": ["v1"]}, ())


@pytest.mark.parametrize(
    "other",
    [
        volume("v", of="new"),
        volume("v", kind="worker"),
        volume("v", path="/other"),
        volume("v", decommissioned_at=EARLIER),
        volume("v", job="b"),
        replace(volume("v"), app="another"),
    ],
)
def test_a_volume_of_another_place_or_job_and_a_decommissioned_one_is_not_taken(other):
    step = step_of(placed(job("a", PENDING)), volumes=[other])
    assert given(step) == {"a": ["new-1"]}


def test_a_kept_volume_is_for_every_release_and_another_only_for_its_own():
    rows = [placed(job("a", PENDING))]
    kept, other = volume("k", of="before", keep=True), volume("o")
    assert given(step_of(*rows, volumes=[other, kept], types=KEPT)) == {"a": ["k"]}
    assert given(step_of(*rows, volumes=[kept, other])) == {"a": ["o"]}
    step = step_of(*rows, volumes=[other], types=KEPT)
    assert [(one.id, one.keep, one.release) for one in added(step)] == [("new-1", True, "old")]


def test_a_path_may_be_written_in_two_ways():
    types = {"web": ProcessType(volumes=[VolumeReq(path="/data/", keep=True)])}
    assert given(step_of(placed(job("a", PENDING)), volumes=[volume("k", keep=True)], types=types)) == {"a": ["k"]}


def test_nothing_is_chosen_while_a_job_waits_for_its_time():
    step = step_of(placed(job("a", PENDING, run_at=NOW + timedelta(seconds=10))), volumes=[volume("v")])
    assert (step.writes, step.actions) == ((), ())


def test_two_jobs_are_never_given_one_volume():
    step = step_of(placed(job("a", PENDING)), placed(job("b", PENDING)), volumes=[volume("v")])
    assert given(step) == {"a": ["v"], "b": ["new-1"]}


def test_a_job_waits_for_the_volume_of_one_that_is_stopping():
    """A kill makes the replacement's row at once; it is to find the data, not an empty directory."""
    stopping = serving("old", state=STOPPING, volumes=["v"])
    rows = [stopping, placed(job("a", PENDING)), placed(job("b", PENDING))]
    held = volume("v", job="old")
    step = step_of(*rows, volumes=[held], statuses=[status("old")], count=2)
    assert given(step) == {"b": ["new-1"]}  # only one has something to wait for
    assert step.actions == (StopJob(JobID("old")),)


def test_a_job_waits_for_the_volume_of_one_that_is_seen_to_have_ended():
    """The row of the ended job has yet to say so; a moment later its volume is there to be given."""
    rows = [serving("old", volumes=["v"]), placed(job("a", PENDING))]
    step = step_of(*rows, volumes=[volume("v", job="old")], statuses=[exited("old")], count=1)
    assert (added(step), started(step)) == ([], {})
    assert given(step) == {"old": ["v"]}  # its own last row


def test_a_job_waits_for_the_volume_of_a_container_that_is_one_too_many():
    astray = status("stray", volumes=(VolumeID("v"),))
    step = step_of(placed(job("a", PENDING)), volumes=[volume("v")], statuses=[astray])
    assert (step.writes, step.actions) == ((), (StopJob(JobID("stray")),))


@pytest.mark.parametrize("more", [{"delete_on_stop": True}, {"decommissioned_at": EARLIER}])
def test_nobody_waits_for_a_volume_that_does_not_come_back(more):
    rows = [serving("old", state=STOPPING, volumes=["v"]), placed(job("a", PENDING))]
    step = step_of(*rows, volumes=[volume("v", job="old", **more)], statuses=[status("old")], count=1)
    assert given(step) == {"a": ["new-1"]}


def test_a_job_that_lost_its_volumes_before_its_start_is_given_others():
    step = step_of(placed(job("a", PENDING, volumes=["destroyed"])))
    assert given(step) == {"a": ["new-1"]}


def test_a_container_without_a_row_is_adopted_with_its_volumes():
    step = step_of(volumes=[volume("v")], statuses=[status("stray", volumes=(VolumeID("v"),))], count=1)
    [write] = step.writes
    assert (write.job.uuid, write.job.state, write.job.volumes) == ("stray", STARTING, ["v"])


@pytest.mark.parametrize("volumes", [[], [volume("v", job="another")]])
def test_a_container_with_somebody_elses_volume_is_not_adopted_but_stopped(volumes):
    step = step_of(volumes=volumes, statuses=[status("stray", volumes=(VolumeID("v"),))], count=1)
    assert [write.job.uuid for write in step.writes] == ["new-1"]
    assert StopJob(JobID("stray")) in step.actions


def test_a_destroyed_volume_is_removed_once_no_container_can_have_it():
    spent = (volume("v", job="a", state=VolumeState.DESTROYED),)
    assert step_of(spent=spent).actions == (RemoveVolume(VolumeID("v")),)
    assert step_of(spent=spent, doing={JobID("a"): Doing.REMOVING}).actions == ()
    exited = status("a", RunState.EXITED, exit_code=0)
    assert RemoveVolume(VolumeID("v")) not in step_of(spent=spent, statuses=[exited], told={JobID("a")}).actions


# The whole scheduler


async def remember(process):
    """Add a line to the volume and go on."""
    files = process.files["/data"]
    files["log"] = files.get("log", b"") + process.spec.id.encode() + b"\n"
    await trio.sleep_forever()
    return 0


@pytest.fixture
async def app(world):
    world.engine.script(remember, type="web")
    return await world.app(STORE)


async def volumes_of(world, app):
    return await world.store.read(lambda db: queries.volumes(db, app.id))


async def written(world, job) -> list[str]:
    """Return the ids of the jobs that wrote to the volume of a running one, itself the last."""
    process = world.engine._jobs[job.uuid].process
    return process.files["/data"]["log"].decode().split()


async def test_data_survives_crashes_kills_and_our_own_death(autojump_clock, world, app):
    """TestPersistentVolumes, up to the decommission."""
    app, release = app
    async with world.scheduler():
        await world.scale(app, release, web=1)
        [first] = await world.wait_up(app, 1)
        world.engine.crash(first.uuid)
        [second] = await world.wait_up(app, 1, without=first)
        await world.kill(second)
        [third] = await world.wait_up(app, 1, without=second)
    world.engine.lose(third.uuid)  # the machine was restarted meanwhile
    async with world.scheduler():
        [fourth] = await world.wait_up(app, 1, without=third)
    assert await written(world, fourth) == [first.uuid, second.uuid, third.uuid, fourth.uuid]
    [stored] = await volumes_of(world, app)
    assert [one.volumes for one in (first, second, third, fourth)] == [[stored.id]] * 4
    assert (stored.state, stored.job) == (VolumeState.CREATED, fourth.uuid)
    assert (stored.app, stored.release, stored.job_type, stored.path) == (app.id, release.id, "web", "/data")


async def test_after_a_decommission_the_next_job_begins_empty_and_the_data_stays(autojump_clock, world, app):
    app, release = app
    async with world.scheduler():
        await world.scale(app, release, web=1)
        [first] = await world.wait_up(app, 1)
        [old] = first.volumes
        await world.store.transact(lambda tx: changes.decommission_volume(tx, app.id, old))
        await trio.sleep(60)
        assert await world.up(app) == [first]  # nobody takes it from the job that has it
        await world.kill(first)
        [second] = await world.wait_up(app, 1, without=first)
        assert await written(world, second) == [second.uuid]
        await world.kill(second)
        [third] = await world.wait_up(app, 1, without=second)
    assert (third.volumes, old in third.volumes) == (second.volumes, False)
    assert await world.engine.volumes() == {old, *third.volumes}


async def test_a_new_release_begins_with_an_empty_volume_and_a_rollback_finds_its_own(autojump_clock, world, app):
    app, old = app
    async with world.scheduler():
        await world.scale(app, old, web=1)
        [first] = await world.wait_up(app, 1)
        new = await make_release(world.store, app, STORE)
        await world.wait_deployed(await world.deploy(app, new))
        [second] = await world.wait_up(app, 1)
        assert await written(world, second) == [second.uuid]
        await world.wait_deployed(await world.deploy(app, old))
        [third] = await world.wait_up(app, 1)
    assert await written(world, third) == [first.uuid, third.uuid]


@pytest.mark.parametrize("strategy", [Strategy.ALL_AT_ONCE, Strategy.ONE_BY_ONE])
async def test_a_kept_volume_goes_to_the_next_release_and_back_with_a_rollback(autojump_clock, world, strategy):
    world.engine.script(remember, type="web")
    app, old = await world.app(KEPT, strategy=strategy)
    async with world.scheduler():
        await world.scale(app, old, web=2)
        before = {one.volumes[0]: one.uuid for one in await world.wait_up(app, 2)}
        new = await make_release(world.store, app, KEPT)
        deployed, _ = await world.wait_deployed(await world.deploy(app, new))
        assert deployed.status is DeploymentStatus.COMPLETE
        after = await world.wait_up(app, 2)
        for one in after:
            assert await written(world, one) == [before[one.volumes[0]], one.uuid]
        await world.wait_deployed(await world.deploy(app, old))
        again = await world.wait_up(app, 2)
        assert {one.release for one in again} == {old.id}
        for one in again:
            assert len(await written(world, one)) == 3
        assert await world.engine.volumes() == before.keys()
        await world.store.transact(lambda tx: changes.delete_app(tx, app.id))
        await trio.sleep(60)
        assert await world.engine.volumes() == frozenset()


async def test_a_release_that_does_not_come_up_gives_the_kept_volume_back(autojump_clock, world):
    world.engine.script(remember, type="web")
    app, old = await world.app(KEPT)
    async with world.scheduler():
        await world.scale(app, old, web=1)
        [first] = await world.wait_up(app, 1)
        world.sick = lambda placed: placed.job.release != old.id
        new = await make_release(world.store, app, KEPT)
        deployed, _ = await world.wait_deployed(await world.deploy(app, new))
        assert deployed.status is DeploymentStatus.FAILED
        [second] = await world.wait_up(app, 1)
        [between] = [one for one in await world.jobs(app) if one.release == new.id]
        assert await written(world, second) == [first.uuid, between.uuid, second.uuid]
    assert len(await volumes_of(world, app)) == 1


async def test_a_kept_volume_survives_our_death_in_the_middle_of_the_exchange(autojump_clock, world):
    world.engine.script(remember, type="web")
    app, old = await world.app(KEPT)
    async with world.scheduler():
        await world.scale(app, old, web=1)
        [first] = await world.wait_up(app, 1)
        new = await make_release(world.store, app, KEPT)
        deployment = await world.deploy(app, new)
        await world.wait(lambda: world.has(app, DOWN))
    async with world.scheduler():
        await world.wait_deployed(deployment)
        [second] = await world.wait_up(app, 1)
    assert await written(world, second) == [first.uuid, second.uuid]


async def test_each_job_of_a_type_has_its_own(autojump_clock, world, app):
    app, release = app
    async with world.scheduler():
        await world.scale(app, release, web=3)
        jobs = await world.wait_up(app, 3)
        assert len({one.volumes[0] for one in jobs}) == 3
        await world.scale(app, release, web=1)
        [kept] = await world.wait_up(app, 1)
        await world.scale(app, release, web=3)
        again = await world.wait_up(app, 3)
    assert kept in again
    assert {one.volumes[0] for one in again} == {one.volumes[0] for one in jobs}
    assert len(await volumes_of(world, app)) == 3


async def test_delete_on_stop_means_what_it_says(autojump_clock, world):
    app, release = await world.app(
        {"web": ProcessType(args=["w"], volumes=[VolumeReq(path="/t", delete_on_stop=True)])}
    )
    async with world.scheduler():
        await world.scale(app, release, web=1)
        [first] = await world.wait_up(app, 1)
        world.engine.crash(first.uuid)
        [second] = await world.wait_up(app, 1, without=first)

        async def removed():
            return await world.engine.volumes() == set(second.volumes)

        await world.wait(removed)
    states = {one.id: (one.state, one.job) for one in await volumes_of(world, app)}
    assert states == {
        first.volumes[0]: (VolumeState.DESTROYED, first.uuid),
        second.volumes[0]: (VolumeState.CREATED, second.uuid),
    }


async def test_a_deleted_app_leaves_no_volume(autojump_clock, world, app):
    app, release = app
    async with world.scheduler():
        await world.scale(app, release, web=2)
        await world.wait_up(app, 2)
        await world.store.transact(lambda tx: changes.delete_app(tx, app.id))
        await trio.sleep(60)
        assert (await world.engine.volumes(), await world.engine.jobs()) == (frozenset(), [])
    assert {one.state for one in await volumes_of(world, app)} == {VolumeState.DESTROYED}


async def test_what_a_crash_left_of_a_destroyed_volume_goes_at_the_next_start(autojump_clock, world, app, caplog):
    app, release = app
    async with world.scheduler():
        await world.scale(app, release, web=1)
        [only] = await world.wait_up(app, 1)
    await world.store.transact(lambda tx: changes.delete_app(tx, app.id))
    world.engine.lose(only.uuid)
    stranger = VolumeID("00000000-0000-4000-8000-0000000000ff")
    await world.engine.create_volume(stranger)
    async with world.scheduler():
        await trio.sleep(60)
        assert await world.engine.volumes() == {stranger}  # no row speaks of it, so it is not ours to remove
    [told] = [record for record in caplog.records if record.message == "volumes without a row are left alone"]
    assert told.volumes == [stranger]


async def test_a_missing_volume_and_a_full_disk_are_told_in_the_job(autojump_clock, world, app):
    app, release = app

    async def errors():
        return [one.host_error or "" for one in await world.jobs(app, DOWN)]

    async with world.scheduler():
        world.engine.disk_is_full = True
        await world.scale(app, release, web=1)

        async def failed():
            return any("No space left on device" in error for error in await errors())

        await world.wait(failed)
        world.engine.disk_is_full = False
        [first] = await world.wait_up(app, 1)
        [lost] = first.volumes
        world.engine.lose_volume(lost)
        world.engine.crash(first.uuid)

        async def missed():
            return any(f"its volume {lost} is gone" in error for error in await errors())

        await world.wait(missed)
        assert any(f"flynn -a {APP.name} volume decommission {lost}" in error for error in await errors())
        await world.store.transact(lambda tx: changes.decommission_volume(tx, app.id, lost))
        [second] = await world.wait_up(app, 1)
    assert second.volumes != [lost]


async def test_volume_events_tell_its_life(autojump_clock, world, app):
    app, release = app
    async with world.scheduler():
        await world.scale(app, release, web=1)
        [only] = await world.wait_up(app, 1)
        await world.scale(app, release, web=0)
        await world.wait(lambda: world.is_at(app, down=1))
    life = [(event["state"], event.get("job")) for event in await world.events("volume")]
    assert life == [("pending", only.uuid), ("created", only.uuid), ("created", None)]


async def test_the_data_of_a_one_off_job_is_a_volume_that_goes_with_it(autojump_clock, world, app):
    app, release = app
    one_off = JobSpec(id=JobID(UUID), app=app.id, app_name=app.name, release=release.id, image="x", data=True)
    async with world.scheduler():
        await world.engine.start(one_off)
        await world.wait(lambda: world.has(app, UP))
        [running] = await world.jobs(app)
        [volume] = await volumes_of(world, app)
        assert (volume.path, volume.delete_on_stop, volume.job, running.volumes) == ("/data", True, UUID, [volume.id])
    world.engine.lose(JobID(UUID))  # our death, and its own
    async with world.scheduler():
        await world.wait(lambda: world.has(app, DOWN))
        [volume] = await volumes_of(world, app)
    assert (volume.state, volume.job) == (VolumeState.DESTROYED, UUID)
