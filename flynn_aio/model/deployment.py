"""Deployment: the move of an app from one release to the next."""

from enum import StrEnum

from msgspec import Struct, field

from .app import Strategy
from .failure import Failure
from .ids import AppID, DeploymentID, ReleaseID
from .json import Time


class DeploymentStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


class DeploymentStep(Struct, frozen=True, kw_only=True):
    """A step of a deployment.

    Attributes:
        step: what it waited for: new jobs to be up, or old ones to be down, ``up web=2``.
        at: when it began.
    """

    step: str
    at: Time


class Deployment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A deployment as the API shows it; unfinished while `finished_at` is ``None``.

    `processes`, `tags` and `deploy_timeout` (seconds) are a snapshot taken at creation.

    Attributes:
        steps: the latest ones, oldest first; only where one deployment is asked for.
        failure: why it failed; only where one deployment is asked for, absent unless it failed.
    """

    id: DeploymentID = DeploymentID("")
    app: AppID = AppID("")
    old_release: ReleaseID | None = None
    new_release: ReleaseID = ReleaseID("")
    strategy: Strategy | None = None
    status: DeploymentStatus | None = None
    processes: dict[str, int] | None = None
    tags: dict[str, dict[str, str]] | None = None
    deploy_timeout: int = 0
    deploy_batch_size: int | None = None
    created_at: Time | None = None
    finished_at: Time | None = None
    steps: list[DeploymentStep] = field(default_factory=list)
    failure: Failure | None = None


class DeploymentEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Payload of a `deployment` event. A failed one must carry an `error`: the client goes by it."""

    app: AppID = AppID("")
    deployment: DeploymentID = DeploymentID("")
    release: ReleaseID = ReleaseID("")
    status: DeploymentStatus | None = None
    job_type: str = ""
    job_state: str = ""
    error: str = ""
