"""Collecting old slug releases: which go, which never do, and what is said of it."""

import pytest

from flynn_aio.model import App, Artifact, Job, JobState, ProcessType, Release, decode
from flynn_aio.store import EventFilter, changes, queries
from flynn_aio.store.changes.garbage import surplus

GIT = {"git": "true"}


def release(name):
    return Release(id=name)


@pytest.mark.parametrize(
    ("slugs", "keep", "active", "gone"),
    [
        ("", 3, "", ""),
        ("abc", 3, "", ""),
        ("abcd", 3, "", "0"),
        ("abccd", 3, "", "01"),  # the third distinct slug has been seen when its second release comes
        ("aabbcc", 2, "", "012"),  # so the second release of the last one kept goes as well
        ("edcbba", 3, "1", "02"),  # as in TestSlugReleaseGarbageCollection
        ("abc", 0, "", "210"),
        ("a-b", 0, "", "20"),  # what came from no push is not ours to judge
    ],
)
def test_which_releases_go(slugs, keep, active, gone):
    """Releases are named by their age, 0 is the oldest; their slugs by letters, newest first."""
    age = len(slugs) - 1
    known = [(release(str(age - at)), None if slug == "-" else slug) for at, slug in enumerate(slugs)]
    assert sorted(surplus(known, keep=keep, active=set(active))) == sorted(gone)


@pytest.fixture
async def app(store):
    meta = {"gc.max_inactive_slug_releases": "3"}
    return await store.transact(lambda tx: changes.create_app(tx, App(name="hello", meta=meta), route_domain=None))


async def push(store, app, slug, *, scale=0):
    """Create a release as a push does."""

    def change(tx):
        runner = changes.create_artifact(
            tx, Artifact(type="flynn", uri="image:localhost/runner:1", meta={"flynn.system-image": "true"})
        )
        own = changes.create_artifact(tx, Artifact(type="flynn", uri=f"slug:{slug}"))
        wanted = Release(app_id=app.id, artifacts=[runner.id, own.id], meta=GIT, processes={"app": ProcessType()})
        made = changes.create_release(tx, wanted)
        changes.put_formation(tx, app.id, made.id, {"app": scale}, None)
        return made

    return await store.transact(change)


async def collected(store):
    """Return the payloads of the `app_garbage_collection` events, oldest first."""
    wanted = EventFilter(object_types=frozenset({"app_garbage_collection"}))
    return [decode(event.data, dict) for event in (await store.read(lambda db: queries.events(db, wanted)))[::-1]]


async def left(store, app):
    return [one.id for one in await store.read(lambda db: queries.app_releases(db, app.id))]


async def test_slug_release_garbage_collection_after_a_deploy(store, app):
    """TestSlugReleaseGarbageCollection: six releases of five slugs, the second scaled; 1 and 3 go with slug 1."""
    slugs = ["one", "two", "two", "three", "four", "five"]
    made = [await push(store, app, slug, scale=int(at == 1)) for at, slug in enumerate(slugs)]

    def scale_the_last(tx):
        changes.put_formation(tx, app.id, made[5].id, {"app": 1}, None)
        changes.set_app_release(tx, app.id, made[5].id)

    await store.transact(scale_the_last)
    new = await push(store, app, "five")
    deployment = await store.transact(lambda tx: changes.create_deployment(tx, app.id, new.id))
    assert await collected(store) == []

    def finish(tx):
        changes.put_job(tx, Job(uuid="j", app=app.id, release=made[5].id, state=JobState.STOPPING), formation=True)
        changes.set_formation(tx, app.id, made[5].id, {}, {})
        changes.finish_deployment(tx, deployment.id)

    await store.transact(finish)
    assert await left(store, app) == [new.id, *(made[at].id for at in (5, 4, 3, 1))]
    [event] = await collected(store)
    assert event == {
        "app_garbage_collection": {"app_id": app.id, "deleted_releases": [made[2].id, made[0].id]},
        "error": "",
    }
    assert await store.read(queries.live_slugs) == {"two", "three", "four", "five"}
    deletions = await store.read(
        lambda db: queries.events(db, EventFilter(object_types=frozenset({"release_deletion"})))
    )
    files = [decode(one.data, dict)["release_deletion"]["deleted_files"] for one in deletions]
    assert files == [["slug:one"], None]


async def test_a_release_in_use_is_never_collected(store, app):
    """By a job, as the current one, or by another app."""
    await store.transact(lambda tx: changes.update_app(tx, app.id, meta={"gc.max_inactive_slug_releases": "0"}))
    other = await store.transact(lambda tx: changes.create_app(tx, App(name="other", meta={}), route_domain=None))
    runs, current, elsewhere, old = [await push(store, app, slug) for slug in "abcd"]

    def use(tx):
        changes.put_job(tx, Job(uuid="j", app=app.id, release=runs.id, state=JobState.UP), formation=False)
        changes.set_app_release(tx, app.id, current.id)
        changes.put_formation(tx, other.id, elsewhere.id, {"app": 1}, None)
        return changes.collect_releases(tx, app.id)

    assert await store.transact(use) == [old.id]
    assert await left(store, app) == [elsewhere.id, current.id, runs.id]


@pytest.mark.parametrize("meta", [{"gc.max_inactive_slug_releases": "false"}, {}])
async def test_an_app_may_keep_everything(store, app, meta):
    await store.transact(lambda tx: changes.update_app(tx, app.id, meta=meta))
    made = [await push(store, app, f"slug{at}") for at in range(6)]
    assert await store.transact(lambda tx: changes.collect_releases(tx, app.id)) == []
    assert len(await left(store, app)) == len(made)
    [event] = await collected(store)
    assert event["app_garbage_collection"]["deleted_releases"] == []


@pytest.mark.parametrize("value", ["many", "-1", "", "٣"])
async def test_a_number_that_is_none_is_said_and_collects_nothing(store, app, value):
    await store.transact(lambda tx: changes.update_app(tx, app.id, meta={"gc.max_inactive_slug_releases": value}))
    for at in range(2):
        await push(store, app, f"slug{at}")
    assert await store.transact(lambda tx: changes.collect_releases(tx, app.id)) == []
    [event] = await collected(store)
    assert event["error"].startswith(f'meta.gc.max_inactive_slug_releases is "{value}"')


async def test_a_release_without_a_slug_is_left_alone(store, app):
    await store.transact(lambda tx: changes.update_app(tx, app.id, meta={"gc.max_inactive_slug_releases": "0"}))

    def change(tx):
        image = changes.create_artifact(tx, Artifact(type="flynn", uri="image:localhost/test/app:1"))
        changes.create_release(tx, Release(app_id=app.id, artifacts=[image.id]))
        return changes.collect_releases(tx, app.id)

    assert await store.transact(change) == []
    pushed = await push(store, app, "slug")
    assert await store.transact(lambda tx: changes.collect_releases(tx, app.id)) == [pushed.id]


@pytest.mark.parametrize("meant", ["a few", "-1", "9" * 5000])
async def test_a_number_that_is_none_is_told_and_nothing_else(store, app, meant):
    """It is a user's text, and the scheduler collects at the end of a deployment: what it raised would end it."""

    def change(tx):
        changes.update_app(tx, app.id, meta={"gc.max_inactive_slug_releases": meant})
        return changes.collect_releases(tx, app.id)

    assert await store.transact(change) == []
    [told] = await collected(store)
    assert "which is neither a number nor" in told["error"]
    assert len(told["error"]) < 300
