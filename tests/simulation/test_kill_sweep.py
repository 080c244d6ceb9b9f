"""kill -9 at every commit and at every call to the engine of one story, and each time everything comes right."""

import logging
import os
import shutil
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from flynn_aio.model import AppID, DeploymentStatus, ReleaseID, Strategy
from flynn_aio.store import changes, queries

from . import operations as op
from .control_plane import ControlPlane
from .gate import Point
from .history import History, Violation
from .machine import open_machine
from .rest import come_to_rest
from .run import seeded
from .world import Errors, World

WHOLE = bool(os.environ.get("KILL_SWEEP"))
"""Whether every moment is tried: before, inside and after each. Otherwise it is each commit when it is made, and the
middle of each start and stop: what comes before is no other state than what came after the one before it."""
MEMORY = Path("/dev/shm")
TYPES = ("web", "store", "scratch")


class Cut(Exception):
    """The control plane that was told the story is gone."""


class Story:
    """What a user does, one thing after another, to a control plane that may go away at any moment."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._gate = world.gate
        self._answers: dict[str, object] = {}

    async def tell(self, chapter: str) -> int:
        """Have an app, and do with it what the chapter says; return how many points were passed before that."""
        app, release = await self.ask("create", self._create)
        await self.scale(app, release, web=2, store=1, scratch=1)
        mark = len(self._gate.passed)
        match chapter:
            case "broken release":
                await self.broken(app, release)
            case "scale, kill, run and delete":
                await self.everyday(app, release)
            case strategy:
                await self.ask("strategy", partial(self._set_strategy, app, Strategy(strategy)))
                await self.deploy(app, release)
        return mark

    async def broken(self, app: AppID, release: ReleaseID) -> None:
        """A release that cannot be started is taken back, and the next one is deployed."""
        broken = await self.ask("release", partial(self._another, app, release))
        self._world.machine.unstartable.add(broken)
        assert await self.move(app, broken) is DeploymentStatus.FAILED
        await self.deploy(app, release)

    async def everyday(self, app: AppID, release: ReleaseID) -> None:
        await self.scale(app, release, web=1, store=2, scratch=0)
        op.run(self._world)
        await self.ask("decommission", partial(self._decommission, app))
        await self.ask("kill", partial(self._kill, app, "store"))
        await self.settled(app)
        await self.ask("delete", partial(self._delete, app))
        await self.until(lambda: not self._world.machine.engine.listed)

    # -- the parts of it -----------------------------------------------------------------------

    async def ask(self, what: str, request):
        """Ask for something and wait for the answer."""
        answered = trio.Event()

        async def kept(plane: ControlPlane) -> str:
            self._answers[what] = await request(plane)
            answered.set()
            return "done"

        self._world.ask(what, kept)
        await self.until(answered.is_set)
        return self._answers[what]

    async def until(self, condition) -> None:
        """Wait until something is so, as long as there is a control plane to make it so."""
        with trio.fail_after(600):
            while self._gate is self._world.gate and not self._gate.is_dead:
                if condition():
                    return
                await trio.sleep(0.1)
        raise Cut

    async def scale(self, app: AppID, release: ReleaseID, **counts: int) -> None:
        op.ask_for(self._world, queries.app(self._world.db, app), release, counts, None)
        await self.settled(app)

    async def settled(self, app: AppID) -> None:
        """Wait until requests are answered and every scale request is fulfilled."""

        def is_settled() -> bool:
            db = self._world.db
            pending = [one for one in queries.expanded_formations(db) if one.pending_scale_request]
            jobs = queries.active_jobs(db)
            return not self._world.requests_in_flight and not pending and all(job.state == "up" for job in jobs)

        await self.until(is_settled)

    async def deploy(self, app: AppID, release: ReleaseID) -> ReleaseID:
        new = await self.ask("release", partial(self._another, app, release))
        assert await self.move(app, new) is DeploymentStatus.COMPLETE
        await self.settled(app)
        return new

    async def move(self, app: AppID, release: ReleaseID) -> DeploymentStatus:
        await self.ask("deploy", lambda plane: op.deploy_release(self._world, plane, app, release))
        await self.until(lambda: queries.unfinished_deployment(self._world.db, app) is None)
        return queries.deployments(self._world.db, app)[0].status

    async def _create(self, plane: ControlPlane):
        app = await op.make_app(self._world, plane, "hello")
        kinds = op.process_types("hello")
        release = await op.make_release(self._world, plane, app, {kind: kinds[kind] for kind in TYPES})
        await plane.store.transact(partial(changes.set_app_release, app_id=app.id, release_id=release.id))
        self._world.promises.keep(("current", app.id), release.id)
        return app.id, release.id

    async def _set_strategy(self, app: AppID, strategy: Strategy, plane: ControlPlane) -> None:
        with self._world.promises.changing(("app", app)):
            await plane.store.transact(lambda tx: changes.update_app(tx, app, strategy=strategy, deploy_timeout=60))
        self._world.promises.keep(("app", app), ("hello", strategy, 60))

    async def _another(self, app: AppID, release: ReleaseID, plane: ControlPlane) -> ReleaseID:
        db = self._world.db
        processes = queries.release(db, release).processes
        return (await op.make_release(self._world, plane, queries.app(db, app), processes)).id

    async def _kill(self, app: AppID, kind: str, plane: ControlPlane) -> None:
        job = next(job for job in queries.active_jobs(self._world.db) if (job.app, job.type) == (app, kind))
        await plane.store.transact(lambda tx: changes.stop_job(tx, job.uuid))

    async def _decommission(self, app: AppID, plane: ControlPlane) -> None:
        volume = next(one for one in queries.existing_volumes(self._world.db) if one.job and one.path == "/data")
        await plane.store.transact(lambda tx: changes.decommission_volume(tx, app, volume.id))
        self._world.promises.keep(("decommissioned", app, volume.id), True)

    async def _delete(self, app: AppID, plane: ControlPlane) -> None:
        with self._world.promises.changing(("app", app)):
            await plane.store.transact(partial(changes.delete_app, app_id=app))
        self._world.promises.keep(("app", app), None)


def tell(place: Path, chapter: str, last: int | None = None) -> list[Point]:
    """Tell a chapter; end at the point `last`, boot again, and let everything come right.

    Returns:
        The points the first life has passed. Those of the beginning, which all chapters have, are ``("", "")``.

    Raises:
        Violation: with the point it happened after.
    """
    history = History(place)
    try:
        with seeded(1):
            clock = trio.testing.MockClock(autojump_threshold=0)
            return trio.run(partial(_tell, place / "flynn.db", chapter, last, history), clock=clock)
    except BaseExceptionGroup as group:
        raise Violation(f"killed at point {last}: {group.exceptions!r}\n{history.tail}") from group
    except Exception as exc:
        raise Violation(f"killed at point {last}: {exc!r}\n{history.tail}") from exc


async def _tell(path: Path, chapter: str, last: int | None, history: History) -> list[Point]:
    dice, errors = Random(1), Errors()
    async with open_machine(path, dice, history, subnet="127.105.0.0/24") as machine:
        world = World(machine, dice, history, last=last)
        logging.getLogger("flynn_aio").addHandler(errors)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.keep_up)
                await trio.testing.wait_all_tasks_blocked()
                first = world.gate
                mark = 0
                await world.booted.wait()
                with suppress(Cut):
                    mark = await Story(world).tell(chapter)
                await world.booted.wait()
                await come_to_rest(world)
                errors.check()
                world.gate.kill()
                nursery.cancel_scope.cancel()
        finally:
            logging.getLogger("flynn_aio").removeHandler(errors)
            world.invariants.close()
    return [("", "")] * mark + first.passed[mark:]


@pytest.fixture
def place(tmp_path):
    """Return a directory that is as quick as memory, where there is one."""
    found = MEMORY / f"flynn-aio-{tmp_path.name}" if MEMORY.is_dir() else tmp_path / "db"
    yield found
    shutil.rmtree(found, ignore_errors=True)


def _fresh(place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


@pytest.mark.parametrize("chapter", [*map(str, op.STRATEGIES), "broken release", "scale, kill, run and delete"])
def test_killed_at_any_point_of_a_story_everything_comes_right(place, chapter):
    points = tell(_fresh(place), chapter)
    kinds = Counter(name for name, moment in points if moment == "after")
    chosen = [number for number, point in enumerate(points) if point[0] and (WHOLE or _tells(point))]
    print(
        f"\n{chapter}: {kinds['commit']} commits, {kinds.total() - kinds['commit']} calls, killed {len(chosen)} times"
    )
    assert kinds["commit"] > 15
    assert {"start", "stop", "remove", "list", "volumes"} <= set(kinds)
    for last in chosen:
        tell(_fresh(place), chapter, last)


def _tells(point: Point) -> bool:
    return point == ("commit", "after") or point[1] == "inside"
