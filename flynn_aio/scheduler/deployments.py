"""Deployments: when a step is done, when one has failed, and what is then said and undone. Pure.

Each pass asks again, from the rows alone: a restart in the middle is just another pass. Here is
the first sentence of a failure; `failure` has what explains it.

Source: `deploy.md` §3, §4; Flynn `controller/worker/deployment/job.go`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..model import (
    DEFAULT_DEPLOY_TIMEOUT_S,
    Deployment,
    ExpandedFormation,
    Failure,
    Job,
    JobState,
    Release,
    ReleaseID,
    Serving,
    Strategy,
    Time,
)
from ..store import DeploymentInProgress
from . import sirenia
from .failure import doing
from .step import Blame, DropFormation, FinishDeployment, NoteStep, Observed, SetFormation, Write
from .strategies import Balance, Counts, next_balance
from .volumes import handed_over

TOLERATED_FAILURES = 5
"""Jobs of the new release that may go down in one step; one more ends the deployment."""

NEVER_ROLLED_BACK = (Strategy.SIRENIA, Strategy.DISCOVERD_META)
"""What a new database has written, an old one might not read."""

UP, DOWN = "up", "down"
"""What a step waits for, the first word of its note: new jobs to be up, or old ones to be down."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a deployment sees of its own app.

    Attributes:
        formations: by release. One with all counts at 0 may be missing.
        jobs: by release and type: the formations' jobs that are not down, oldest first.
    """

    formations: Mapping[ReleaseID, ExpandedFormation]
    jobs: Mapping[tuple[ReleaseID, str], Sequence[Job]]

    def counts(self, release: ReleaseID | None) -> Counts:
        """Return how many jobs of each type a release is to have now."""
        formation = self.formations.get(release) if release else None
        return formation.processes if formation else {}

    def handed_over(self, old: ReleaseID | None, new: Release) -> frozenset[str]:
        """Return the types whose new jobs wait for the volumes of the old ones."""
        formation = self.formations.get(old) if old else None
        return handed_over(formation.release, new) if formation else frozenset()


@dataclass(frozen=True, slots=True)
class Lack:
    """What a step still waits for.

    Attributes:
        kind: the type.
        what: how far it is, as the beginning of a sentence.
        job: the youngest job that is not where it should be; ``None`` when there is none.
    """

    kind: str
    what: str
    job: Job | None


@dataclass(frozen=True, slots=True)
class Progress:
    """What becomes of a deployment now: writes, or patience until `wake_at`."""

    writes: tuple[Write, ...] = ()
    wake_at: Time | None = None


def proceed(moving: DeploymentInProgress, app: Surroundings, observed: Observed, now: Time) -> Progress:
    """Return how a deployment goes on."""
    deployment = moving.deployment
    release = observed.releases.get(deployment.new_release)
    if release is None:
        return _fail(deployment, f"release {deployment.new_release} was deleted during its deployment; push again")
    goal = goal_of(deployment, release)
    balance = Balance(app.counts(deployment.old_release), app.counts(deployment.new_release))
    if refused := _refusal(deployment, goal, release):
        return _fail(deployment, refused)
    database = ""
    if deployment.strategy is Strategy.SIRENIA:
        old = observed.releases.get(deployment.old_release) if deployment.old_release else None
        database = sirenia.database_type(old, release)
        if refused := sirenia.refusal(database, release, started=not moving.step and bool(balance.new.get(database))):
            return _fail(deployment, refused)
    advance = next_balance(
        deployment.strategy or Strategy.ALL_AT_ONCE,
        batch_size=deployment.deploy_batch_size,
        exclusive=app.handed_over(deployment.old_release, release),
        database=database,
    )
    if moving.step:
        if len(moving.failures) > TOLERATED_FAILURES:
            failed = moving.failures[TOLERATED_FAILURES]
            return _fail(
                deployment,
                start_failure(failed),
                Blame(job=failed.uuid, rolled_back=deployment.strategy not in NEVER_ROLLED_BACK),
            )
        lacks = _lacks_up if moving.step.startswith(UP) else _lacks_down
        if lack := next(lacks(deployment, goal, app), None):
            deadline = _waiting_since(moving, observed, now) + _patience(deployment)
            if now < deadline:
                return Progress(wake_at=deadline)
            return _timed_out(moving, lack, observed, draining=lacks is _lacks_down)

    if not moving.step and any(balance.new.values()):  # scaled up beforehand: these have to come up first
        return Progress((_scale_new(deployment, balance.new), _note(deployment, UP, balance.new)))
    following = advance(balance, goal)
    told = tuple(sirenia.moves(deployment, moving.step, balance, following, kind=database)) if database else ()
    if following is None:
        leaving = _scale_old(deployment, app, dict.fromkeys(balance.old, 0))
        return Progress((*told, *leaving, FinishDeployment(deployment.app, deployment.id)))
    if following.new != balance.new:
        note = _note(deployment, UP, _changed(balance.new, following.new))
        return Progress((*told, _scale_new(deployment, following.new), note))
    note = _note(deployment, DOWN, _changed(balance.old, following.old))
    return Progress((*told, *_scale_old(deployment, app, following.old), note))


def goal_of(deployment: Deployment, release: Release) -> Counts:
    """Return the counts the new release is to reach, of the types that ran when it began; 0 of those it lacks."""
    wanted = deployment.processes or {}
    return {kind: count if kind in release.processes else 0 for kind, count in wanted.items() if count > 0}


def start_failure(job: Job) -> str:
    """Return why a deployment fails whose jobs go down. The words are Flynn's to the letter."""
    return f"{job.type} job failed to start: {job.host_error or 'got down job event'}"


def _waiting_since(moving: DeploymentInProgress, observed: Observed, now: Time) -> Time:
    """Return the moment a step counts from: neither our absence nor the engine's is the release's own delay.

    A step that began in the future did so before somebody set the clock back.
    """
    began = moving.step_started_at
    return observed.steady_since if began > now else max(began, observed.steady_since)


def _patience(deployment: Deployment) -> timedelta:
    return timedelta(seconds=deployment.deploy_timeout or DEFAULT_DEPLOY_TIMEOUT_S)


def _note(deployment: Deployment, kind: str, counts: Counts) -> NoteStep:
    said = " ".join(f"{name}={count}" for name, count in sorted(counts.items()))
    return NoteStep(deployment.app, deployment.id, f"{kind} {said}")


def _changed(before: Counts, after: Counts) -> Counts:
    return {kind: count for kind, count in after.items() if before.get(kind) != count}


def _scale_new(deployment: Deployment, counts: Counts) -> SetFormation:
    return SetFormation(deployment.app, deployment.new_release, counts, deployment.tags or {})


def _scale_old(deployment: Deployment, app: Surroundings, counts: Counts) -> tuple[Write, ...]:
    old = app.formations.get(deployment.old_release) if deployment.old_release else None
    return (SetFormation(old.app.id, old.release.id, counts, old.tags),) if old else ()


def _fail(deployment: Deployment, error: str, blame: Blame | None = None) -> Progress:
    """Put the old formation back as it was, forget the new one, and say why. Databases stay as they are."""
    old, kept = deployment.old_release, deployment.strategy in NEVER_ROLLED_BACK
    serving = Serving(release=old, processes=deployment.processes or {}) if old and not kept else None
    finish = FinishDeployment(deployment.app, deployment.id, Failure(error=error, serving=serving), blame)
    if kept:
        return Progress((finish,))
    undone: list[Write] = [DropFormation(deployment.app, deployment.new_release)]
    if old:
        undone.insert(0, SetFormation(deployment.app, old, deployment.processes or {}, deployment.tags or {}))
    return Progress((*undone, finish))


def _lacks_up(deployment: Deployment, goal: Counts, app: Surroundings) -> Iterator[Lack]:
    wanted = app.counts(deployment.new_release)
    for kind in sorted(goal):
        jobs = app.jobs.get((deployment.new_release, kind), ())
        up = sum(job.state is JobState.UP for job in jobs)
        if up < wanted.get(kind, 0):
            late = [job for job in jobs if job.state is not JobState.UP]
            yield Lack(kind, f"{kind} job failed to start: {up} of {wanted[kind]} up", late[-1] if late else None)


def _lacks_down(deployment: Deployment, goal: Counts, app: Surroundings) -> Iterator[Lack]:
    if deployment.old_release is None:
        return
    wanted = app.counts(deployment.old_release)
    for kind in sorted(goal):
        jobs = app.jobs.get((deployment.old_release, kind), ())
        if len(jobs) > wanted.get(kind, 0):
            what = f"{kind} job failed to stop: {len(jobs)} there instead of {wanted.get(kind, 0)}"
            late = [job for job in jobs if job.state is JobState.STOPPING]
            yield Lack(kind, what, late[-1] if late else None)


def _timed_out(moving: DeploymentInProgress, lack: Lack, observed: Observed, *, draining: bool) -> Progress:
    """Fail a step that took too long, by the job it waits for, or by those that came before that one and ended."""
    deployment = moving.deployment
    seconds = round(_patience(deployment) / timedelta(seconds=1))
    ended = [] if draining else [job for job in moving.failures if job.type == lack.kind]
    keeps_ending = len(ended) > 1
    blamed = ended[-1] if keeps_ending else lack.job
    blame = Blame(
        job=blamed.uuid if blamed else None,
        draining=draining,
        doing=doing(blamed, observed) if blamed and not keeps_ending else "",
        waited_s=seconds,
        ends=len(ended),
        rolled_back=deployment.strategy not in NEVER_ROLLED_BACK,
    )
    return _fail(deployment, f"{lack.what} after {seconds} s", blame)


def _refusal(deployment: Deployment, goal: Counts, release: Release) -> str | None:
    """Return why a release cannot be deployed with the strategy of its app."""
    if deployment.strategy is not Strategy.DISCOVERD_META:
        return None
    services = sorted({release.processes[kind].service for kind, count in goal.items() if count} - {""})
    if not services:
        return None
    return (
        f"cannot deploy with the strategy {deployment.strategy}: it waits for what the service {services[0]} says of "
        f"its own deployment, and no service here can; use {Strategy.ONE_BY_ONE} or {Strategy.ONE_DOWN_ONE_UP}"
    )
