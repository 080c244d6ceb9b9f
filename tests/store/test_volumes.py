"""Volumes as rows: who has one, what becomes of it, what is told of it."""

import pytest
from msgspec.structs import replace

from flynn_aio.errors import Conflict, NotFound, ObjectExists, ValidationError
from flynn_aio.model import Job, JobID, JobState, Volume, VolumeID, VolumeState, VolumeType, encode
from flynn_aio.store import changes, queries

from ..support.build import make_app, make_release
from .test_changes import history

PENDING, CREATED, DESTROYED = VolumeState.PENDING, VolumeState.CREATED, VolumeState.DESTROYED
UNKNOWN = "00000000-0000-4000-8000-0000000000ff"


@pytest.fixture
async def app(store):
    return await make_app(store)


@pytest.fixture
async def release(store, app):
    return await make_release(store, app)


def make_volume(number: int, app, release, **more) -> Volume:
    return Volume(
        id=VolumeID(f"00000000-0000-4000-8000-00000000000{number}"),
        host_id="host0",
        type=VolumeType.DATA,
        app=app.id,
        release=release.id,
        job_type="web",
        path="/data",
        **({"state": CREATED} | more),
    )


@pytest.fixture
async def two(store, app, release):
    """A volume that stays and one that goes with its job."""
    volumes = [make_volume(1, app, release), make_volume(2, app, release, delete_on_stop=True)]
    return [await store.transact(lambda tx, one=one: changes.create_volume(tx, one)) for one in volumes]


async def put(store, release, name: str, state: JobState, *volumes: Volume):
    job = Job(
        uuid=JobID(name),
        app=release.app_id,
        release=release.id,
        type="web",
        state=state,
        volumes=[volume.id for volume in volumes],
    )
    return await store.transact(lambda tx: changes.put_job(tx, job, formation=True))


async def rows(store):
    found = await store.read(queries.volumes)
    return {volume.id: (volume.state, volume.job) for volume in found}


def test_a_volume_reads_as_flynn_writes_it():
    empty = Volume(id=VolumeID("v"), host_id="host0", type=VolumeType.DATA, state=PENDING)
    assert encode(empty) == b'{"id":"v","host_id":"host0","type":"data","state":"pending"}'


async def test_a_job_has_its_volumes_until_it_is_down(store, release, two):
    stays, goes = two
    await put(store, release, "a", JobState.PENDING, stays, goes)
    assert await rows(store) == {stays.id: (CREATED, "a"), goes.id: (CREATED, "a")}
    await put(store, release, "a", JobState.UP, stays, goes)
    await put(store, release, "a", JobState.STOPPING, stays, goes)
    assert await rows(store) == {stays.id: (CREATED, "a"), goes.id: (CREATED, "a")}
    await put(store, release, "a", JobState.DOWN, stays, goes)
    assert await rows(store) == {stays.id: (CREATED, None), goes.id: (DESTROYED, "a")}
    told = [(data["id"], data["state"], data.get("job")) for _, data in await history(store, "volume")][2:]
    assert sorted(told[:2]) == [(stays.id, "created", "a"), (goes.id, "created", "a")]
    assert told[2:] == [(stays.id, "created", None), (goes.id, "destroyed", "a")]
    await put(store, release, "b", JobState.PENDING, stays)
    assert (await rows(store))[stays.id] == (CREATED, "b")


async def test_a_volume_serves_one_live_job(store, release, two):
    """TestStateExclusiveVolumes."""
    await put(store, release, "a", JobState.UP, *two)
    with pytest.raises(Conflict) as error:
        await put(store, release, "b", JobState.PENDING, *two)
    assert error.value.message == f"volumes in use: {two[0].id}, {two[1].id}"
    with pytest.raises(NotFound):
        await store.read(lambda db: queries.job(db, JobID("b")))  # nothing was written
    await put(store, release, "a", JobState.DOWN, *two)
    await put(store, release, "b", JobState.PENDING, two[0])


async def test_only_a_pending_volume_becomes_created(store, app, release):
    volumes = [make_volume(1, app, release, state=PENDING), make_volume(2, app, release, state=DESTROYED)]
    for volume in volumes:
        await store.transact(lambda tx, volume=volume: changes.create_volume(tx, volume))
    await store.transact(lambda tx: changes.note_created_volumes(tx, [volume.id for volume in volumes]))
    assert await rows(store) == {volumes[0].id: (CREATED, None), volumes[1].id: (DESTROYED, None)}
    with pytest.raises(ObjectExists):
        await store.transact(lambda tx: changes.create_volume(tx, volumes[0]))


async def test_decommissioning_keeps_the_job_and_the_first_time(store, app, release, two, clock):
    volume = two[0]
    await put(store, release, "a", JobState.UP, volume)
    first = await store.transact(lambda tx: changes.decommission_volume(tx, app.id, volume.id))
    assert (first.job, first.state, first.decommissioned_at) == ("a", CREATED, first.updated_at)
    again = await store.transact(lambda tx: changes.decommission_volume(tx, app.id, volume.id))
    assert again == first
    assert (await history(store, "volume"))[-1][1]["decommissioned_at"] == str(first.decommissioned_at)
    other = await make_app(store, "other")
    for app_id, volume_id in ((other.id, volume.id), (app.id, UNKNOWN)):
        with pytest.raises(NotFound):
            await store.transact(lambda tx, a=app_id, v=volume_id: changes.decommission_volume(tx, a, v))


async def test_the_volumes_of_a_deleted_app_are_destroyed_whoever_has_them(store, app, release, two):
    other = await make_app(store, "other")
    theirs = make_volume(3, other, release)
    await store.transact(lambda tx: changes.create_volume(tx, theirs))
    await put(store, release, "a", JobState.UP, two[0])
    await store.transact(lambda tx: changes.delete_app(tx, app.id))
    assert await rows(store) == {two[0].id: (DESTROYED, "a"), two[1].id: (DESTROYED, None), theirs.id: (CREATED, None)}
    await put(store, release, "a", JobState.DOWN, two[0])
    assert (await rows(store))[two[0].id] == (DESTROYED, "a")
    assert await store.read(queries.existing_volumes) == [
        await store.read(lambda db: queries.volume(db, other.id, theirs.id))
    ]
    ids = [volume.id for volume in (*two, theirs)]
    gone = await store.read(lambda db: queries.destroyed_volumes(db, ids))
    assert [volume.id for volume in gone] == [volume.id for volume in two]


async def test_a_put_creates_or_moves_a_volume_and_checks_both(store, app, release, two):
    await put(store, release, "a", JobState.UP)
    await put(store, release, "b", JobState.UP)
    new = make_volume(5, app, release, job=JobID("a"), meta={"k": "v"})
    stored = await store.transact(lambda tx: changes.put_volume(tx, new))
    assert replace(stored, created_at=None, updated_at=None) == new
    moved = await store.transact(lambda tx: changes.put_volume(tx, replace(two[0], path="/other", job=JobID("a"))))
    assert (moved.path, moved.job) == ("/data", "a")
    for wrong, error in (
        (replace(new, job=JobID("b")), Conflict),
        (replace(new, job=JobID("c")), ValidationError),
        (replace(new, app=UNKNOWN), ValidationError),
    ):
        with pytest.raises(error):
            await store.transact(lambda tx, wrong=wrong: changes.put_volume(tx, wrong))


async def test_lists_begin_with_what_changed_last(store, app, two):
    await store.transact(lambda tx: changes.decommission_volume(tx, app.id, two[0].id))
    found = await store.read(lambda db: queries.volumes(db, app.id))
    assert [volume.id for volume in found] == [two[0].id, two[1].id]
    later = await store.read(lambda db: queries.volumes(db, since=found[0].updated_at))
    assert two[0].id in [volume.id for volume in later]
    assert await store.read(lambda db: queries.volumes(db, found[0].app[::-1])) == []
