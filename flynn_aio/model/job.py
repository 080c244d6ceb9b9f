"""Job: one run of one process, from wish to exit."""

from enum import StrEnum

from msgspec import Struct, field

from .ids import AppID, ArtifactID, JobID, ReleaseID, VolumeID
from .json import Time
from .release import Port, ResourceSpec


class JobState(StrEnum):
    """Where a job is on its way. `pending` has no container yet; `down` never comes back."""

    PENDING = "pending"
    BLOCKED = "blocked"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    DOWN = "down"


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job as the API shows it.

    Attributes:
        id: `<host>-<uuid>` once placed, empty while pending.
        type: process type; empty for a one-off job.
        volumes: what it has, in the order of its process type; fixed once it is started.
        exit_status: set when down and the process had run.
        host_error: why it could not start, or why it was given up.
        run_at: when a job in back-off will start.
        restarts: how often this place in the formation was started again before.
        signal: the signal that ended it, ``SIGKILL``; the exit status is 0 then, as in Flynn.
        oom: it, or a child of its, was killed for lack of memory.
        last_end: how the job before it in this place ended: ``ended with exit status 1``.
        failing_since: when the first of those ended that were started again one after the other.
        unhealthy: what its health check met last, while it runs and does not serve. Only in answers, never in events.
        flapping: its place keeps ending: three times in a row or more, and no job in it ran for five minutes since.
    """

    id: str = ""
    uuid: JobID
    host_id: str = ""
    app: AppID = AppID("")
    release: ReleaseID = ReleaseID("")
    type: str = ""
    state: JobState | None = None
    args: list[str] = field(default_factory=list)
    volumes: list[VolumeID] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    exit_status: int | None = None
    host_error: str | None = None
    run_at: Time | None = None
    restarts: int | None = None
    created_at: Time | None = None
    updated_at: Time | None = None
    signal: str = ""
    oom: bool = False
    last_end: str = ""
    failing_since: Time | None = None
    flapping: bool = False
    unhealthy: str = ""


class PlacedJob(Struct, frozen=True, kw_only=True):
    """A job with what only the inside knows: where it is reachable and since when it runs.

    Attributes:
        address: the container's IPv4 address; empty before it is created.
        started_at: when the process was started.
        ports: the ports of its process type, numbers filled in.
        formation: whether a formation wants it; false for one-off and build jobs.
    """

    job: Job
    app_name: str
    address: str
    started_at: Time | None
    ports: list[Port]
    formation: bool


class NewJob(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A wish for a one-off job, as a client sends it. Deprecated fields are dropped on reading."""

    release: ReleaseID = ReleaseID("")
    artifacts: list[ArtifactID] | None = None
    release_env: bool = False
    args: list[str] | None = None
    env: dict[str, str] | None = None
    meta: dict[str, str] | None = None
    tty: bool = False
    tty_columns: int = 0
    tty_lines: int = 0
    disable_log: bool = False
    resources: dict[str, ResourceSpec] | None = None
    data: bool = False
    partition: str = ""
    profiles: list[str] | None = None
    mounts_from: str = ""
