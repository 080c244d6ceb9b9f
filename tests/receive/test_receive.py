"""What receive does besides pushes: it tidies up after apps, releases and crashes."""

import os

import pytest
import trio

from flynn_aio.engine import JobSpec, open_fake_engine
from flynn_aio.model import AppID, Job, JobID, JobState, ProcessType, ReleaseID
from flynn_aio.receive import open_receive
from flynn_aio.receive import receive as receive_module
from flynn_aio.store import Keyring, changes, queries

from ..support.build import make_app, make_release
from ..support.git import eventually
from .conftest import build_settings, open_place
from .test_push import DEPLOYED, PYTHON_APP


def spec(job, kind, release=""):
    return JobSpec(id=JobID(job), app=AppID("app"), app_name="app", release=ReleaseID(release), type=kind, image="x")


async def test_builds_of_an_earlier_life_are_ended_at_the_start(tmp_path, store, clock):
    async with open_fake_engine(clock=clock) as engine:
        for job, kind in (("build", "slugbuilder"), ("web", "web"), ("once", "")):
            await engine.start(spec(job, kind))
        async with open_receive(build_settings(tmp_path), store, Keyring(store, clock), engine, clock):
            assert sorted(job.id for job in await engine.jobs()) == ["once", "web"]


async def test_an_engine_that_is_away_does_not_keep_receive_from_starting(tmp_path, store, clock):
    async with open_fake_engine(clock=clock) as engine:
        with engine.outage():
            async with open_receive(build_settings(tmp_path), store, Keyring(store, clock), engine, clock):
                pass


async def test_what_a_crash_left_is_gone_soon_after_the_start(tmp_path, store, clock):
    settings = build_settings(tmp_path)
    (settings.slug_dir / ".new-b1" / "app").mkdir(parents=True)
    (settings.slug_dir / "orphan").mkdir()
    (settings.repo_dir / "nobody.git").mkdir(parents=True)
    async with (
        open_fake_engine(clock=clock) as engine,
        open_receive(settings, store, Keyring(store, clock), engine, clock),
    ):

        async def swept():
            return os.listdir(settings.slug_dir) == [] and os.listdir(settings.repo_dir) == []

        await eventually(swept)


async def test_with_an_app_go_its_slugs_cache_and_repository(tmp_path, store, clock, monkeypatch):
    monkeypatch.setattr(receive_module, "SWEEP_PAUSE_S", 0.05)
    async with open_place(tmp_path, store, clock) as place:
        await place.client.commit(**PYTHON_APP)
        assert (await place.client.push()).lines[-1] == DEPLOYED
        directories = [place.settings.slug_dir, place.settings.cache_dir / "apps", place.settings.repo_dir]
        assert [len(os.listdir(directory)) for directory in directories] == [1, 1, 1]
        await trio.sleep(0.2)  # some sweeps
        assert [len(os.listdir(directory)) for directory in directories] == [1, 1, 1]

        # Its web process still runs: as long as it drains, its slug stays.
        await store.transact(lambda tx: changes.delete_app(tx, place.app.id))

        async def cache_and_repository_gone():
            return [len(os.listdir(directory)) for directory in directories] == [1, 0, 0]

        await eventually(cache_and_repository_gone)


async def test_a_custom_buildpack_gets_a_directory_to_be_cloned_into(tmp_path, store, clock):
    async with open_place(tmp_path, store, clock) as place:
        await place.client.commit(**PYTHON_APP)
        await place.client.push()
        release = await place.release()
        wanted = type(release)(
            app_id=place.app.id, artifacts=release.artifacts, env={"BUILDPACK_URL": "https://example.test/pack#v1"}
        )

        def set_release(tx):
            changes.set_app_release(tx, place.app.id, changes.create_release(tx, wanted).id)

        await store.transact(set_release)

        async def custom(process):
            [directory] = [mount.source for mount in process.spec.mounts if mount.target == "/custom"]
            if process.spec.args[1] == "detect":
                assert os.listdir(directory) == []
                while await process.read():
                    pass
                (directory / "bin").mkdir()
                await process.write(b"custom\tMine app detected\n")
                return 0
            assert process.spec.args == ("/builder/build", "compile", "custom")
            assert os.listdir(directory) == ["bin"]
            assert process.spec.env["BUILDPACK_URL"] == "https://example.test/pack#v1"
            return 0

        place.engine.script(custom, type="slugbuilder")
        await place.client.commit("more")
        said = await place.client.push()
        assert "-----> Mine app detected" in said.lines
        assert said.lines[-1] == DEPLOYED
        assert place.leftovers == []


@pytest.mark.parametrize(
    ("since", "formations"),
    [("nothing", 0), ("a worker is up", 0), ("it is up", 1), ("somebody has scaled", 1), ("deleted", 0)],
)
async def test_a_first_push_that_died_with_us_is_taken_back_unless_it_came_to_something(
    tmp_path, store, clock, since, formations
):
    """The pusher saw it fail, and the branch has not moved: nothing is half done, and the same push can come again."""
    app = await make_app(store)
    types = {"web": ProcessType(args=["serve"]), "worker": ProcessType(args=["work"])}
    release = await make_release(store, app, types)

    def happen(tx):
        changes.set_app_release(tx, app.id, release.id)
        changes.scale_initially(tx, app.id, release.id, "web")
        match since:
            case "a worker is up" | "it is up":
                kind = "worker" if "worker" in since else "web"
                job = Job(uuid=JobID("one"), app=app.id, release=release.id, type=kind, state=JobState.UP)
                changes.put_job(tx, job, formation=True)
            case "somebody has scaled":
                changes.create_scale_request(tx, app.id, release.id, {"worker": 2}, None)
            case "deleted":
                changes.delete_app(tx, app.id)

    await store.transact(happen)
    for _ in range(2):
        async with (
            open_fake_engine(clock=clock) as engine,
            open_receive(build_settings(tmp_path), store, Keyring(store, clock), engine, clock),
        ):
            assert len(await store.read(lambda db: queries.formations(db, app.id))) == formations
    if since == "nothing":
        assert (await store.read(lambda db: queries.app(db, app.id))).release == release.id
