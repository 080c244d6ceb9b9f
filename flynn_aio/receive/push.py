"""The story of one push, from the hook's question to our answer.

Pushes to one app wait for each other, builds for a place among `parallel`. Whatever goes wrong
on the way is told to the pusher here, and the answer is no: then the branch has not moved, and
the same commit can be pushed again.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import trio

from ..clock import Clock
from ..errors import FlynnError, NotFound
from ..model import SSH_ENV, App, AppID, Release
from ..settings import BuildSettings
from ..store import Database, Store, queries
from .build import Builder, Source, wants_custom
from .builder import check_stack, env_files
from .deploy import DeployWait, Why, create, open_follower, serving_line
from .failure import INDENT, BuildFailed, PushRejected
from .output import Say
from .queue import Line
from .refs import RefUpdate, deployed_update
from .release import push_meta, runner_artifact, slug_artifact
from .repo import HandOver, Push, Repository
from .slugs import Slugs

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """An app as it is when its build begins.

    Attributes:
        release: its current release, whose variables and limits the build gets.
        serving: the same when processes of it are wanted, else ``None``.
        shared: what somebody set on `gitreceive` for every build.
    """

    app: App
    release: Release | None
    serving: Release | None
    shared: Mapping[str, str]


class Pushes:
    """Decides pushes. One for the whole appliance, since builds share its places."""

    def __init__(
        self, settings: BuildSettings, store: Store, builder: Builder, slugs: Slugs, clock: Clock, why: Why | None
    ) -> None:
        self._settings = settings
        self._store = store
        self._builder = builder
        self._slugs = slugs
        self._clock = clock
        self._why = why
        self._places = Line(settings.parallel)

    async def decide(self, app: App, repository: Repository, hand_over: HandOver) -> None:
        """Wait for the push behind a hand-over, build and deploy it, and say yes or no.

        Cancellation: the build is gone and what it made with it; the branch has not moved.
        """
        waited = False

        async def tell(ahead: int) -> None:
            nonlocal waited
            waited = True
            pushes = _count(ahead, "other push", "other pushes")
            await hand_over.say(f"-----> Waiting for {pushes} to {app.name} to finish...")

        try:
            push = await hand_over.wait_push()
            update = deployed_update(push.updates)
        except PushRejected as exc:
            await self._answer(app, hand_over, exc)
            return
        async with repository.line.place(tell):
            failure: FlynnError | OSError | None = None
            try:
                if waited:
                    await _check_unmoved(repository, update)
                await self._deploy(app.id, repository, push, update, hand_over.say)
                await repository.point_head(update.ref)
            except* (FlynnError, OSError) as group:
                failure = _first(group)
            await self._answer(app, hand_over, failure)
            await trio.sleep_forever()  # git moves the refs now; its end ends this, and lets in the next

    async def _deploy(self, app_id: AppID, repository: Repository, push: Push, update: RefUpdate, say: Say) -> None:
        current = await self._store.read(partial(_read_current, app_id=app_id))
        app, previous = current.app, current.release
        env = previous.env if previous else {}
        check_stack(env, self._settings.stack)
        build = self._clock.new_id()

        async def tell(ahead: int) -> None:
            await say(f"-----> Waiting for {_count(ahead, 'build', 'builds')} in front of this one...")

        async with (
            self._slugs.open_workplace(build, app.id, env=env_files(env), custom=wants_custom(previous)) as place,
            trio.open_nursery() as leaving,  # inside: containers go before the directories they write to
        ):
            async with self._places.place(tell):
                await say(f"-----> Building {app.name}...")
                if await repository.has_submodules(update.new, push.objects):
                    await say("-----> WARN: the files of git submodules are not part of the build")
                source = Source(
                    app=app,
                    previous=previous,
                    shared=current.shared,
                    commit=update.new,
                    open_tar=lambda: repository.archive(update.new, push.objects),
                )
                built = await self._builder.build(source, place, say, leaving=leaving)
            await say("-----> Creating release...")
            change = partial(
                create,
                app_id=app.id,
                runner=runner_artifact(built.runner),
                slug=slug_artifact(build, size=built.size, types=built.commands),
                types=built.commands,
                meta=push_meta(commit=update.new, stack=self._settings.stack),
            )
            async with open_follower(self._store, app.id) as follower:
                try:
                    await self._slugs.publish(build, app.id, place)
                    created = await self._store.transact(change)
                except BaseException as exc:  # no release refers to the slug, and none will
                    await self._slugs.unpublish(build)
                    if isinstance(exc, FlynnError):
                        serving = serving_line(app.name, current.serving)
                        raise PushRejected(f"Deploy failed: {exc.message}", more=[serving]) from exc
                    raise
                logger.info("release created", extra={"app": app.id, "release": created.release.id})
                await DeployWait(self._store, created, follower, say, self._why).wait()

    async def _answer(self, app: App, hand_over: HandOver, failure: FlynnError | OSError | None) -> None:
        if failure:
            logger.info("push rejected", extra={"app": app.id, "error": str(failure)})
            for line in await self._reason(app, failure):
                await hand_over.say(line)
        await hand_over.decide(welcome=failure is None)

    async def _reason(self, app: App, failure: FlynnError | OSError) -> list[str]:
        """Return the lines that say why a push was refused: the phase, the cause, what still serves."""
        if isinstance(failure, PushRejected) and not isinstance(failure, BuildFailed):
            return failure.lines
        build = failure if isinstance(failure, BuildFailed) else BuildFailed(str(failure))
        try:
            current = await self._store.read(partial(_read_current, app_id=app.id))
        except FlynnError as exc:  # the app was deleted meanwhile, or the database does not answer
            return [*build.lines, f"{INDENT}{exc.message}"]
        return [*build.lines, f"{INDENT}{serving_line(app.name, current.serving)}"]


async def _check_unmoved(repository: Repository, update: RefUpdate) -> None:
    """Refuse a push whose ground was taken while it waited: git would, but only after the build."""
    if not await repository.still_at(update):
        branch = update.ref.removeprefix("refs/heads/")
        raise PushRejected(
            f"{branch} has moved while this push waited: somebody else deployed",
            more=["To put yours on top: git fetch flynn, then merge or rebase, and push again."],
        )


def _first(group: BaseExceptionGroup[FlynnError | OSError]) -> FlynnError | OSError:
    """Return the first error of a group of groups: what came later followed from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _count(number: int, one: str, many: str) -> str:
    return f"1 {one}" if number == 1 else f"{number} {many}"


def _read_current(db: Database, app_id: AppID) -> Current:
    app = queries.app(db, app_id)
    release = queries.release(db, app.release) if app.release else None
    formation = queries.find_formation(db, app.id, release.id) if release else None
    return Current(
        app=app,
        release=release,
        serving=release if formation and formation.total else None,
        shared=_shared(db),
    )


def _shared(db: Database) -> Mapping[str, str]:
    with suppress(NotFound):  # before it was made
        env = queries.current_release(db, queries.app(db, "gitreceive").id).env
        return {name: env[name] for name in SSH_ENV if env.get(name)}
    return {}
