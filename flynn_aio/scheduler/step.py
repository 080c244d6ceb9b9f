"""Step: what one pass of the scheduler sees, and what it decides. Values only.

Writes change rows; actions change the world. An action always speaks of a row that is
already there, so doing it twice is doing it once, and a crash between the two loses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ..engine import JobStatus
from ..model import (
    AppID,
    DeploymentID,
    Evidence,
    ExpandedFormation,
    Failure,
    Job,
    JobID,
    JobState,
    Release,
    ReleaseID,
    ScaleRequestID,
    Time,
    Volume,
    VolumeID,
)


class Doing(Enum):
    """What the executor is busy with for a job."""

    STARTING = "starting"
    STOPPING = "stopping"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The world, as far as it concerns the app that is planned; what is told by job may be of others, too.

    The order in which it is looked at matters: `doing` first, then `statuses`, then the rows.
    A job that is missing from `statuses` and was not in flight before them is really gone,
    and a container without a row was not started by us a moment ago.

    Attributes:
        statuses: what the engine lists.
        doing: the jobs the executor has in flight.
        failed: jobs whose start failed for good, and why.
        up: jobs that serve.
        dead: jobs whose health check gave them up, and why.
        waiting: jobs that run and do not serve, and what they were last seen waiting for.
        evidence: what was seen of jobs that run and do not serve.
        told: listed jobs of which there is no more to record: they are down, or of no app of ours.
        releases: what the unfinished deployments move from and to.
        spent: volumes the engine lists that are destroyed as far as rows go.
        steady_since: since when neither engine nor store was away, and nobody has set the clock.
    """

    statuses: Mapping[JobID, JobStatus] = field(default_factory=dict)
    doing: Mapping[JobID, Doing] = field(default_factory=dict)
    failed: Mapping[JobID, str] = field(default_factory=dict)
    up: frozenset[JobID] = frozenset()
    dead: Mapping[JobID, str] = field(default_factory=dict)
    waiting: Mapping[JobID, str] = field(default_factory=dict)
    evidence: Mapping[JobID, Evidence] = field(default_factory=dict)
    told: frozenset[JobID] = frozenset()
    releases: Mapping[ReleaseID, Release] = field(default_factory=dict)
    spent: tuple[Volume, ...] = ()
    steady_since: Time


@dataclass(frozen=True, slots=True)
class StartJob:
    """Run a job of a formation. Its row says `pending`, or `starting` after an interrupted try."""

    job: JobID
    type: str
    formation: ExpandedFormation
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True, slots=True)
class StopJob:
    """End a job; `patient` lets requests in flight and the process itself finish first.

    Attributes:
        stop_s: how long the process may take to finish; 0 leaves it to the settings.
    """

    job: JobID
    patient: bool = True
    stop_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RemoveJob:
    """Free what an ended job holds; `linger` leaves its container for a moment to who watches it."""

    job: JobID
    linger: bool = False


@dataclass(frozen=True, slots=True)
class RemoveVolume:
    """Take a destroyed volume from the disk."""

    volume: VolumeID


JobAction = StartJob | StopJob | RemoveJob
Action = JobAction | RemoveVolume


@dataclass(frozen=True, slots=True)
class AddVolume:
    """A volume is to be made for a job that is about to be started."""

    volume: Volume

    @property
    def app(self) -> AppID:
        return self.volume.app


@dataclass(frozen=True, slots=True)
class Remark:
    """A line of ours for the log of an app, among those of one of its jobs."""

    job: JobID
    type: str
    text: str


@dataclass(frozen=True, slots=True)
class PutJob:
    """Write a job as it is now known. An empty address, time or evidence keeps what is stored.

    Attributes:
        remark: told once it is written.
    """

    job: Job
    formation: bool = True
    address: str = ""
    started_at: Time | None = None
    evidence: Evidence | None = None
    remark: Remark | None = None

    @property
    def app(self) -> AppID:
        return self.job.app


@dataclass(frozen=True, slots=True)
class CompleteScale:
    """The jobs are as a scale request wanted them."""

    app: AppID
    request: ScaleRequestID


@dataclass(frozen=True, slots=True)
class SetFormation:
    """Want exactly so many, with these tags."""

    app: AppID
    release: ReleaseID
    processes: Mapping[str, int]
    tags: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class DropFormation:
    """Want none, and forget that any were."""

    app: AppID
    release: ReleaseID


@dataclass(frozen=True, slots=True)
class NoteStep:
    """A step of a deployment begins: its time and its failures count from now."""

    app: AppID
    deployment: DeploymentID
    step: str


@dataclass(frozen=True, slots=True)
class TellJob:
    """A deployment has moved a job of its database, or begins to: a `running` event."""

    app: AppID
    deployment: DeploymentID
    release: ReleaseID
    type: str
    state: JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """The job a deployment failed by, for whoever looks into it.

    Attributes:
        job: ``None`` when a step ran out of time and no job was to be seen.
        draining: it is an old one that did not stop.
        doing: what it was last seen doing, as part of a sentence; empty when it is down.
        waited_s: how long the step waited; 0 when it was not time that ended it.
        ends: how many of its kind went down in that step.
        rolled_back: whether all is put back as it was.
    """

    job: JobID | None
    draining: bool = False
    doing: str = ""
    waited_s: int = 0
    ends: int = 0
    rolled_back: bool = True


@dataclass(frozen=True, slots=True)
class FinishDeployment:
    """A deployment is over; without a failure it has succeeded.

    Attributes:
        blame: where to look for what the failure does not say yet.
    """

    app: AppID
    deployment: DeploymentID
    failure: Failure | None = None
    blame: Blame | None = None


Write = PutJob | AddVolume | CompleteScale | SetFormation | DropFormation | NoteStep | TellJob | FinishDeployment


@dataclass(frozen=True, slots=True)
class Step:
    """What one pass decided.

    Attributes:
        writes: in order; those of one app belong into one transaction.
        actions: independent of one another, at most one for each job and volume.
        wake_at: when time alone will make a difference.
    """

    writes: tuple[Write, ...] = ()
    actions: tuple[Action, ...] = ()
    wake_at: Time | None = None
