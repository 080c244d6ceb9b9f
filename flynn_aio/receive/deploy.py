"""From a slug to a release that serves: one transaction, then the wait for what follows from it.

The subscription comes before the transaction, so no event is missed. The scheduler moves the
jobs; here we only watch, and tell the pusher how it went.

Source: `build.md` §1 and §2; Flynn `gitreceive/receiver/receiver.go`.
"""

from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from ..model import (
    DEFAULT_DEPLOY_TIMEOUT_S,
    App,
    AppID,
    Artifact,
    Deployment,
    DeploymentEvent,
    DeploymentStatus,
    Event,
    Failure,
    Job,
    JobID,
    JobState,
    NextStep,
    Release,
    decode,
)
from ..store import EventFilter, Overflow, Store, Subscription, Transaction, changes, queries
from .failure import PushRejected, failure_lines
from .output import Say
from .release import COMMIT_META, WEB_TYPE, new_release


class Why(Protocol):
    """How receive learns why a job does not serve, without knowing who finds out."""

    def __call__(self, job: JobID, /, *, waited_s: int) -> Awaitable[Failure]:
        """Look into a job; `waited_s` is how long it was waited for, 0 if it is down."""
        ...


CLEANUP_S = 10.0
"""How long a hung-up push may take to undo its first scaling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What one push put into the store.

    Attributes:
        serving: the release that served before, if any did.
        first_web: whether this push starts the app's first web process.
    """

    app: App
    release: Release
    deployment: Deployment
    serving: Release | None
    first_web: bool


def create(
    tx: Transaction, app_id: AppID, *, runner: Artifact, slug: Artifact, types: Iterable[str], meta: Mapping[str, str]
) -> Created:
    """Make a release of a slug and begin its deployment; on a first push also scale it to `web=1`.

    The previous release is read here and not before the build: what somebody configured
    while it ran is kept.

    Raises:
        ValidationError: another deployment of the app is unfinished.
        NotFound: the app was deleted meanwhile.
    """
    app = queries.app(tx.db, app_id)
    before = queries.release(tx.db, app.release) if app.release else None
    formation = queries.find_formation(tx.db, app.id, before.id) if before else None
    artifacts = [changes.create_artifact(tx, artifact).id for artifact in (runner, slug)]
    release = changes.create_release(
        tx, new_release(app=app, artifacts=artifacts, types=types, previous=before, meta=meta)
    )
    deployment = changes.create_deployment(tx, app.id, release.id)
    first_web = WEB_TYPE in release.processes and formation is None
    if first_web:
        changes.scale_initially(tx, app.id, release.id, WEB_TYPE)
    return Created(
        app=app,
        release=release,
        deployment=deployment,
        serving=before if formation and formation.total else None,
        first_web=first_web,
    )


class Follower:
    """The events of one app from now on, each once, also when the pusher reads slowly."""

    def __init__(self, store: Store, wanted: EventFilter, subscription: Subscription, stack: AsyncExitStack) -> None:
        self._store = store
        self._wanted = wanted
        self._subscription = subscription
        self._stack = stack

    async def next_event(self) -> Event:
        while True:
            try:
                return await self._subscription.receive()
            except Overflow as behind:
                again = self._store.subscribe(self._wanted, since=behind.last_id)
                self._subscription = await self._stack.enter_async_context(again)


@asynccontextmanager
async def open_follower(store: Store, app: AppID) -> AsyncIterator[Follower]:
    """Follow what decides about a push: the app's deployments and jobs."""
    wanted = EventFilter(app=app, object_types=frozenset({"deployment", "job"}))
    async with AsyncExitStack() as stack:
        subscription = await stack.enter_async_context(store.subscribe(wanted))
        yield Follower(store, wanted, subscription, stack)


class DeployWait:
    """Waits until what a push created serves, or says why it does not."""

    def __init__(self, store: Store, created: Created, follower: Follower, say: Say, why: Why | None) -> None:
        self._store = store
        self._created = created
        self._follower = follower
        self._say = say
        self._why = why

    async def wait(self) -> None:
        """Wait for the deployment, and for the first web process when there is one.

        How long a deployment may take is the scheduler's to say: each of its steps is bounded.

        Raises:
            PushRejected: it failed; what was running before still does.

        Cancellation: a deployment goes on without its pusher. A first scaling is taken back.
        """
        if self._created.deployment.finished_at is None:
            await self._wait_deployment()
        if self._created.first_web:
            await self._say("=====> Scaling initial release to web=1")
            await self._say("-----> Waiting for initial web job to start...")
            up = False
            try:
                await self._wait_first_web()
                up = True
            finally:
                if not up:
                    with trio.move_on_after(CLEANUP_S, shield=True):
                        await self._store.transact(self._scale_down)
            await self._say("=====> Initial web job started")
        await self._say("=====> Application deployed")

    async def _wait_deployment(self) -> None:
        deployment = self._created.deployment
        while True:
            event = await self._follower.next_event()
            if event.object_id == deployment.id:
                reached = decode(bytes(event.data), DeploymentEvent)
                if reached.status is DeploymentStatus.COMPLETE:
                    return
                if reached.status is DeploymentStatus.FAILED:
                    raise await self._deployment_failed(reached.error)

    async def _deployment_failed(self, error: str) -> PushRejected:
        ended = await self._store.read(lambda db: queries.deployment(db, self._created.deployment.id))
        app = self._created.app.name
        first, _, _ = error.partition("\n")  # the rest is for those who see nothing else
        after = [serving_line(app, self._created.serving)]
        more = failure_lines(ended.failure or Failure(error=error), app=app, after=after)
        return PushRejected(f"Deploy failed: {first}", more=[*more])

    async def _wait_first_web(self) -> None:
        job: Job | None = None
        limit_s = self._created.app.deploy_timeout or DEFAULT_DEPLOY_TIMEOUT_S
        with trio.move_on_after(limit_s):
            while True:
                event = await self._follower.next_event()
                job = self._own_job(event) or job
                if job and job.state is JobState.UP:
                    return
                if job and job.state is JobState.DOWN:
                    raise await self._first_web_failed(
                        job.host_error or job.signal or f"exit status {job.exit_status}", job
                    )
        ports = self._created.release.processes[WEB_TYPE].ports
        where = f"port {ports[0].port} ($PORT)" if ports else "its port"
        raise await self._first_web_failed(
            f"nothing answered on {where} within {limit_s} seconds", job, waited_s=limit_s
        )

    async def _first_web_failed(self, why: str, job: Job | None, *, waited_s: int = 0) -> PushRejected:
        app = self._created.app.name
        if self._why and job:
            failure = await self._why(job.uuid, waited_s=waited_s)
        else:  # it was not even created
            more_time = NextStep(purpose="allow more time", command=f"flynn -a {app} deployment timeout {2 * waited_s}")
            failure = Failure(error=why, try_next=[more_time])
        after = [
            "-----> WARN: scaling initial release down to web=0 due to error",
            f"{app} has nothing running now.",
        ]
        return PushRejected(
            f"Initial web job failed to start: {why}", more=[*failure_lines(failure, app=app, after=after)]
        )

    def _scale_down(self, tx: Transaction) -> None:
        """Take the first scaling back. The release stays the app's current one."""
        changes.take_back_initial_scale(tx, self._created.app.id, self._created.release.id)

    def _own_job(self, event: Event) -> Job | None:
        """Return the job of the new release that an event is about; ``None`` for any other event."""
        if event.object_type != "job":
            return None
        job = decode(bytes(event.data), Job)
        return job if job.release == self._created.release.id and job.type in self._created.release.processes else None


def serving_line(app: str, release: Release | None) -> str:
    """Say which release serves an app; ``None``: none does."""
    if release is None:
        return f"{app} has nothing running, as before."
    commit = release.meta.get(COMMIT_META, "")
    return f"Release {release.id}{f' (commit {commit[:7]})' if commit else ''} still serves {app}."
