"""A place to push to: receive over a real store and the engine in memory, behind a real socket."""

import io
import os
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from flynn_aio.engine import Engine, Process, Stream, open_fake_engine
from flynn_aio.model import App, AppID, Failure, Job, JobID, JobState, Release, ScaleRequest, decode
from flynn_aio.receive import open_receive
from flynn_aio.settings import BuildSettings
from flynn_aio.store import EventFilter, Keyring, Store, changes, key_hash, queries

from ..support.build import make_app
from ..support.git import Client, open_door

KEY = "0123456789abcdef"


def mounted(process: Process, target: str) -> Path:
    [mount] = [mount for mount in process.spec.mounts if mount.target == target]
    return mount.source


async def say(process: Process, text: str, stream: Stream = Stream.STDOUT) -> None:
    await process.write(f"{text}\n".encode(), stream)


@dataclass
class FakeBuilder:
    """What `/builder/build` does, in Python: any tree with a `requirements.txt` is a Python app.

    Attributes:
        compile: what happens in the middle of `compile`; returns its exit code.
        release: what `bin/release` prints.
    """

    compile: Callable[[Process], object] | None = None
    release: str = ""
    tars: list[list[str]] = field(default_factory=list)
    compiling: trio.Event = field(default_factory=trio.Event)

    async def __call__(self, process: Process) -> int:
        _, verb, *names = process.spec.args
        app = mounted(process, "/app")
        if verb == "detect":
            return await self._detect(process, app)
        assert names == ["python"]
        await say(process, "-----> Installing requirements with pip")
        self.compiling.set()
        code = await self.compile(process) if self.compile else 0
        (app / ".release").write_text(self.release)
        return code or 0

    async def _detect(self, process: Process, app: Path) -> int:
        packed = io.BytesIO()
        while piece := await process.read():
            packed.write(piece)
        packed.seek(0)
        with tarfile.open(fileobj=packed) as tar:
            self.tars.append(tar.getnames())
            tar.extractall(app, filter="fully_trusted")
        if not (app / "requirements.txt").exists():
            await say(process, "Unable to select a buildpack", Stream.STDERR)
            return 1
        await say(process, "python\tPython app detected")
        return 0


class FakeScheduler:
    """Does what a deployment or a scale request asks for, at once.

    Attributes:
        web: how a new web job goes: ``up``, ``crash`` or ``hang``.
        deploy_error: when set, deployments fail with it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.web = "up"
        self.deploy_error = ""

    async def run(self) -> None:
        async with self._store.subscribe(
            EventFilter(object_types=frozenset({"scale_request", "deployment"})), past=True
        ) as events:
            async for event in events:
                await self._store.transact(partial(self._act, event=event))

    def _act(self, tx, event):
        if event.object_type == "deployment":
            deployment = queries.deployment(tx.db, event.object_id)
            if deployment.finished_at is None:
                if self.deploy_error:
                    self._job(tx, deployment.app, deployment.new_release, JobState.DOWN)
                elif deployment.processes:
                    changes.delete_formation(tx, deployment.app, deployment.old_release)
                    changes.set_formation(tx, deployment.app, deployment.new_release, deployment.processes, {})
                failure = Failure(error=self.deploy_error) if self.deploy_error else None
                changes.finish_deployment(tx, deployment.id, failure=failure)
            return
        formation = queries.find_formation(tx.db, event.app, _release_of(event))
        if formation and formation.processes.get("web") and self.web != "hang":
            self._job(tx, formation.app, formation.release, JobState.UP if self.web == "up" else JobState.DOWN)

    def _job(self, tx, app, release, state):
        job = JobID(tx.new_id())
        for reached in (JobState.STARTING, state):
            status = 7 if reached is JobState.DOWN else None
            changes.put_job(
                tx,
                Job(
                    uuid=job, id=f"host0-{job}", app=app, release=release, type="web", state=reached, exit_status=status
                ),
                formation=True,
            )


def _release_of(event):
    return decode(bytes(event.data), ScaleRequest).release


@dataclass
class Place:
    """All of it. `client` has a repository whose remote is the app `hello`."""

    settings: BuildSettings
    store: Store
    engine: Any
    builder: FakeBuilder
    scheduler: FakeScheduler
    app: App
    client: Client
    port: int
    directory: Path

    def url(self, app: str = "hello", key: str = KEY) -> str:
        return f"http://user:{key}@127.0.0.1:{self.port}/{app}.git"

    async def client_for(self, name: str, app: str = "hello") -> Client:
        client = Client(self.directory / name, self.url(app))
        await client.start()
        return client

    async def release(self, app: AppID | None = None) -> Release:
        """Return the current release."""
        return await self.store.read(lambda db: queries.current_release(db, app or self.app.id))

    async def releases(self) -> list[Release]:
        return await self.store.read(lambda db: queries.app_releases(db, self.app.id))

    @property
    def slugs(self) -> list[str]:
        return sorted(os.listdir(self.settings.slug_dir))

    @property
    def leftovers(self) -> list[str]:
        """What a build that has ended must not leave."""
        settings = self.settings
        places = [settings.slug_dir, settings.cache_dir / "apps", settings.work_dir / "builds"]
        found = [path.name for place in places for path in place.iterdir()]
        quarantines = [path.name for path in settings.repo_dir.glob("*/objects/tmp_objdir-*")]
        return [name for name in found if name.startswith(".")] + os.listdir(places[2]) + quarantines

    def slug(self, release: Release, db) -> Path:
        artifacts = queries.artifacts(db, release.artifacts)
        return self.settings.slug_dir / artifacts[1].slug


def build_settings(directory: Path, **more) -> BuildSettings:
    return BuildSettings(
        repo_dir=directory / "repos",
        slug_dir=directory / "slugs",
        cache_dir=directory / "caches",
        work_dir=directory / "build",
        run_dir=directory / "run",
        gateway="100.100.0.1",
        ca_bundle=None,
        pass_env=(),
        **more,
    )


@asynccontextmanager
async def open_place(directory: Path, store: Store, clock, *, why=None, **settings) -> AsyncIterator[Place]:
    builder = FakeBuilder()
    async with open_fake_engine(clock=clock) as engine:
        engine.script(builder, type="slugbuilder")
        built = build_settings(directory, **settings)
        async with open_place_on(engine, directory, store, clock, built, builder=builder, why=why) as place:
            yield place


@asynccontextmanager
async def open_place_on(
    engine: Engine, directory: Path, store: Store, clock, built: BuildSettings, *, builder=None, why=None
) -> AsyncIterator[Place]:
    scheduler = FakeScheduler(store)
    async with trio.open_nursery() as nursery:
        app = await make_app(store)
        await store.transact(lambda tx: changes.add_key(tx, "cluster", key_hash(KEY)))
        nursery.start_soon(scheduler.run)
        keys = Keyring(store, clock)
        async with (
            open_receive(built, store, keys, engine, clock, why=why) as receive,
            open_door(receive.app) as port,
        ):
            place = Place(
                settings=built,
                store=store,
                engine=engine,
                builder=builder or FakeBuilder(),
                scheduler=scheduler,
                app=app,
                client=Client(directory / "tree", f"http://user:{KEY}@127.0.0.1:{port}/hello.git"),
                port=port,
                directory=directory,
            )
            await place.client.start()
            yield place
        nursery.cancel_scope.cancel()


@pytest.fixture
async def place(tmp_path, store, clock):
    async with open_place(tmp_path, store, clock) as opened:
        yield opened
