"""Changes to deployments. How one proceeds is the scheduler's; here are its beginning and its end.

Source: `deploy.md` §2, §4.
"""

from msgspec.structs import replace

from ...errors import NotFound, ValidationError
from ...model import (
    AppID,
    Deployment,
    DeploymentEvent,
    DeploymentID,
    DeploymentStatus,
    DeploymentStep,
    Failure,
    JobState,
    ReleaseID,
)
from .. import queries, rows
from ..transaction import Transaction
from .garbage import collect_releases
from .releases import set_app_release

BATCH_SIZE_META = "flynn-deploy-batch-size"
MAX_BATCH_DIGITS = 9
STEPS_KEPT = 100
"""Of a deployment, the latest ones: `one-by-one` has two for each job."""


def create_deployment(tx: Transaction, app_id: AppID, release_id: ReleaseID) -> Deployment:
    """Begin a deployment; when nothing runs there is nothing to move, and it is complete at once.

    Raises:
        ValidationError: no such release, it has nothing to run, or another deployment of the app is unfinished.
    """
    app = queries.app(tx.db, app_id)
    try:
        release = queries.release(tx.db, release_id)
    except NotFound:
        raise ValidationError(f"could not find release with ID {release_id}") from None
    if queries.unfinished_deployment(tx.db, app_id):
        raise ValidationError("Cannot create deploy, there is already one in progress for this app.")
    old = queries.find_formation(tx.db, app_id, app.release) if app.release else None
    runs = old is not None and old.total > 0 and not queries.is_builtin(tx.db, app_id)
    moves = runs and app.release != release_id
    if old and moves and not release.artifacts and any(old.processes.get(kind) for kind in release.processes):
        raise ValidationError("release is not deployable")
    deployment = Deployment(
        id=DeploymentID(tx.new_id()),
        app=app_id,
        old_release=app.release,
        new_release=release_id,
        strategy=app.strategy,
        status=DeploymentStatus.PENDING if moves else DeploymentStatus.COMPLETE,
        processes=old.processes if old and moves else None,
        tags=old.tags if old and moves and old.tags else None,
        deploy_timeout=app.deploy_timeout,
        deploy_batch_size=_batch_size(app.meta.get(BATCH_SIZE_META, "")),
        created_at=tx.now,
        finished_at=None if moves else tx.now,
    )
    tx.execute(
        "INSERT INTO deployments (id, app, finished, step, step_started_at, doc) VALUES (?, ?, ?, '', ?, ?)",
        (deployment.id, app_id, not moves, tx.now.sortable, rows.doc(deployment)),
    )
    if not moves:
        set_app_release(tx, app_id, release_id)
    _emit(tx, deployment)
    return deployment


def _batch_size(text: str) -> int | None:
    """Return the number above 0 that a text is; anything else is none, as is what no app could have jobs for."""
    return (int(text) or None) if text.isdecimal() and len(text) <= MAX_BATCH_DIGITS else None


def note_deployment_step(tx: Transaction, deployment_id: DeploymentID, step: str) -> None:
    """Remember which step the scheduler is at; its deadline and its failures count from now."""
    deployment = queries.deployment(tx.db, deployment_id)
    steps = [*deployment.steps, DeploymentStep(step=step, at=tx.now)][-STEPS_KEPT:]
    tx.execute(
        "UPDATE deployments SET step = ?, step_started_at = ?, doc = ? WHERE id = ? AND NOT finished",
        (step, tx.now.sortable, rows.doc(replace(deployment, steps=steps)), deployment_id),
    )


def tell_deployment_job(
    tx: Transaction, deployment_id: DeploymentID, release: ReleaseID, job_type: str, job_state: JobState
) -> None:
    """Tell those who watch a deployment what became of one of its jobs; it is `running` from now on."""
    deployment = queries.deployment(tx.db, deployment_id)
    if deployment.finished_at is not None:
        return
    running = replace(deployment, status=DeploymentStatus.RUNNING)
    tx.execute("UPDATE deployments SET doc = ? WHERE id = ?", (rows.doc(running), deployment_id))
    event = DeploymentEvent(
        app=running.app,
        deployment=running.id,
        release=release,
        status=running.status,
        job_type=job_type,
        job_state=job_state,
    )
    tx.emit("deployment", deployment_id, event, app=running.app)


def finish_deployment(tx: Transaction, deployment_id: DeploymentID, *, failure: Failure | None = None) -> Deployment:
    """End a deployment; without a failure its release becomes the app's current one. Idempotent.

    The old releases it leaves behind are collected then, those the app does not want to keep.
    """
    deployment = queries.deployment(tx.db, deployment_id)
    if deployment.finished_at is not None:
        return deployment
    status = DeploymentStatus.FAILED if failure else DeploymentStatus.COMPLETE
    finished = replace(deployment, status=status, finished_at=tx.now, failure=failure)
    tx.execute("UPDATE deployments SET finished = 1, doc = ? WHERE id = ?", (rows.doc(finished), deployment_id))
    if failure is None:
        set_app_release(tx, finished.app, finished.new_release)
    _emit(tx, finished, failure.error if failure else "")
    if failure is None:
        collect_releases(tx, finished.app)
    return finished


def abandon_deployment(tx: Transaction, app_id: AppID, error: str) -> None:
    """Fail the app's unfinished deployment, if there is one."""
    unfinished = queries.unfinished_deployment(tx.db, app_id)
    if unfinished:
        finish_deployment(tx, unfinished, failure=Failure(error=error))


def _emit(tx: Transaction, deployment: Deployment, error: str = "") -> None:
    event = DeploymentEvent(
        app=deployment.app,
        deployment=deployment.id,
        release=deployment.new_release,
        status=deployment.status,
        error=error,
    )
    tx.emit("deployment", deployment.id, event, app=deployment.app)
