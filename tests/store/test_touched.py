"""Touched: no change of what belongs to an app goes unsaid, and nothing is said that did not happen."""

import pytest

from flynn_aio.errors import ValidationError
from flynn_aio.model import HOST_ID, App, AppID, Job, JobID, JobState, Volume, VolumeID, VolumeState, VolumeType
from flynn_aio.store import changes, queries
from flynn_aio.store.touched import REMEMBERED, Touched

from ..support.build import DOMAIN, make_app, make_release

A, B, C = AppID("a"), AppID("b"), AppID("c")


def test_what_was_touched_since_a_commit_is_told_with_the_last_commit_that_did():
    touched = Touched()
    for commit, apps in enumerate(([A], [B, C], [A], []), start=1):
        touched.note(apps, commit)
    assert touched.since(0) == {A: 3, B: 2, C: 2}
    assert touched.since(2) == {A: 3}
    assert touched.since(4) == {}


def test_who_is_further_behind_than_is_remembered_must_read_everything():
    touched = Touched()
    for commit in range(1, REMEMBERED + 3):
        touched.note([AppID(f"app-{commit}")], commit)
    assert touched.since(1) is None
    assert len(touched.since(2)) == REMEMBERED


async def test_every_table_with_an_app_tells_of_each_row_written_changed_and_removed(store):
    tables = await store.read(
        lambda db: [name for name in db.table_names() if "app" in {column.name for column in db[name].columns}]
    )
    assert {"jobs", "formations", "releases", "deployments", "scale_requests", "volumes", "routes"} <= {*tables}

    async def touched_by(sql: str, *values: str) -> set[AppID]:
        seen = store.changes.version
        await store.transact(lambda tx: tx.execute(sql, values))
        return {*store.touched_since(seen)}

    for table in tables:
        needed = await store.read(
            lambda db, table=table: [each.name for each in db[table].columns if each.notnull and each.name != "app"]
        )
        columns = ["app", *needed]
        marks = ", ".join("?" * len(columns))
        assert await touched_by(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", A, *needed) == {A}
        assert await touched_by(f"UPDATE {table} SET app = ?", B) == {A, B}
        assert await touched_by(f"DELETE FROM {table}") == {B}


async def test_a_change_that_is_taken_back_touched_nothing(store):
    seen = store.changes.version

    def change(tx):
        changes.create_app(tx, App(name="hello", meta={}), route_domain=DOMAIN)
        raise ValidationError("on second thoughts")

    with pytest.raises(ValidationError):
        await store.transact(change)
    await store.transact(lambda tx: changes.set_cluster_value(tx, "of", "no app"))
    assert store.touched_since(seen) == {}


async def test_whatever_the_scheduler_would_see_differently_was_touched(store):
    mine, other = await make_app(store, "mine"), await make_app(store, "other")
    release, newer = await make_release(store, mine), await make_release(store, mine, COLOUR="blue")
    foreign = await make_release(store, other)
    job = Job(uuid=JobID("job"), app=mine.id, release=release.id, type="web", state=JobState.PENDING)
    up = Job(uuid=job.uuid, app=mine.id, release=release.id, type="web", state=JobState.UP, volumes=[VolumeID("data")])
    volume = Volume(
        id=VolumeID("data"),
        host_id=HOST_ID,
        type=VolumeType.DATA,
        state=VolumeState.PENDING,
        app=mine.id,
        release=release.id,
        job_type="web",
        path="/data",
    )
    foreign_job = Job(uuid=JobID("theirs"), app=other.id, release=foreign.id, type="web", state=JobState.UP)
    story = [
        lambda tx: changes.set_app_release(tx, mine.id, release.id),
        lambda tx: changes.create_scale_request(tx, mine.id, release.id, {"web": 1}, None),
        lambda tx: changes.create_scale_request(tx, other.id, foreign.id, {"web": 2}, None),
        lambda tx: changes.put_job(tx, job, formation=True),
        lambda tx: changes.create_volume(tx, volume),
        lambda tx: changes.put_job(tx, up, address="100.100.0.2", formation=True),
        lambda tx: changes.put_job(tx, foreign_job, formation=True),
        lambda tx: changes.note_created_volumes(tx, [volume.id]),
        lambda tx: changes.decommission_volume(tx, mine.id, volume.id),
        lambda tx: changes.create_deployment(tx, mine.id, newer.id),
        lambda tx: changes.note_deployment_step(tx, queries.unfinished_deployment(tx.db, mine.id), "up web=1"),
        lambda tx: changes.put_formation(tx, mine.id, newer.id, {"web": 1}, None),
        lambda tx: changes.stop_job(tx, job.uuid),
        lambda tx: changes.finish_deployment(tx, queries.unfinished_deployment(tx.db, mine.id)),
        lambda tx: changes.delete_formation(tx, mine.id, newer.id),
        lambda tx: changes.update_app(tx, other.id, meta={"a": "b"}),
        lambda tx: changes.delete_app(tx, other.id),
    ]
    apps, differed = [mine.id, other.id], 0
    for number, change in enumerate(story):
        seen, before = store.changes.version, await store.read(lambda db: queries.desired_by_app(db, apps))
        await store.transact(change)
        after = await store.read(lambda db: queries.desired_by_app(db, apps))
        different = {app for app in apps if before[app] != after[app]}
        assert different <= {*store.touched_since(seen)}, number
        differed += bool(different)
    assert differed == len(story) - 1  # a release that nothing runs of is the one thing the scheduler does not see
