"""Small values for the pure tests: one app, short ids, a fixed moment."""

from collections.abc import Iterator, Mapping
from itertools import count

from flynn_aio.engine import JobStatus, RunState
from flynn_aio.model import (
    HOST_ID,
    App,
    AppID,
    Deployment,
    DeploymentID,
    ExpandedFormation,
    Job,
    JobID,
    JobState,
    PlacedJob,
    ProcessType,
    Release,
    ReleaseID,
    ScaleRequest,
    ScaleRequestID,
    ScaleState,
    Strategy,
    Time,
    Volume,
    VolumeID,
    VolumeState,
    VolumeType,
)
from flynn_aio.scheduler.step import Observed
from flynn_aio.store import DeploymentInProgress, Desired

NOW = Time.parse("2026-11-23T12:00:00.5Z")
EARLIER = Time.parse("2026-11-23T11:59:00.5Z")
APP = App(id=AppID("app"), name="hello", meta={}, release=ReleaseID("old"))
TYPES = {kind: ProcessType(args=[kind]) for kind in ("web", "worker")}


def release(name="old", types=TYPES) -> Release:
    return Release(id=ReleaseID(name), app_id=APP.id, processes=dict(types))


def formation(name="old", *, tags=None, request="", types=TYPES, **counts: int) -> ExpandedFormation:
    asked = ScaleRequest(
        id=ScaleRequestID(request),
        app=APP.id,
        release=ReleaseID(name),
        state=ScaleState.PENDING,
        created_at=NOW,
        updated_at=NOW,
    )
    return ExpandedFormation(
        app=APP,
        release=release(name, types),
        processes=counts,
        tags=tags or {},
        updated_at=None,
        pending_scale_request=asked if request else None,
    )


def job(name, state: JobState, kind="web", of="old", **more) -> Job:
    more.setdefault("created_at", EARLIER)
    return Job(uuid=JobID(name), app=APP.id, release=ReleaseID(of), type=kind, state=state, args=[kind], **more)


def placed(one: Job, *, address="", started_at=None, formation=True) -> PlacedJob:
    return PlacedJob(job=one, app_name=APP.name, address=address, started_at=started_at, ports=[], formation=formation)


def serving(name, kind="web", of="old", state=JobState.UP, **more) -> PlacedJob:
    """Return a row whose container is known to run."""
    return placed(job(name, state, kind, of, **more), address=address_of(name), started_at=EARLIER)


def address_of(name) -> str:
    return f"ip-of-{name}"


def status(name, state=RunState.RUNNING, kind="web", of="old", *, formation=True, **more) -> JobStatus:
    more = {"address": address_of(name), "started_at": EARLIER, "args": (kind,)} | more
    return JobStatus(
        id=JobID(name), app=APP.id, release=ReleaseID(of), type=kind, formation=formation, state=state, **more
    )


def exited(name, code: int | None = 1, **more) -> JobStatus:
    return status(name, RunState.EXITED, exit_code=code, **more)


def observed(*statuses: JobStatus, **more) -> Observed:
    return Observed(statuses={one.id: one for one in statuses}, **({"steady_since": EARLIER} | more))


def volume(name, *, job=None, kind="web", of="old", path="/data", **more) -> Volume:
    more = {"state": VolumeState.CREATED, "created_at": EARLIER} | more
    return Volume(
        id=VolumeID(name),
        host_id=HOST_ID,
        type=VolumeType.DATA,
        app=APP.id,
        release=ReleaseID(of),
        job=job,
        job_type=kind,
        path=path,
        **more,
    )


def desired(*jobs: PlacedJob, formations=(), deployments=(), volumes=()) -> Desired:
    return Desired(
        formations=tuple(formations), jobs=tuple(jobs), deployments=tuple(deployments), volumes=tuple(volumes)
    )


def moving(
    *,
    step="",
    began=EARLIER,
    failures=(),
    strategy=Strategy.ALL_AT_ONCE,
    timeout=120,
    processes: Mapping[str, int] | None = None,
    batch_size=None,
) -> DeploymentInProgress:
    return DeploymentInProgress(
        deployment=Deployment(
            id=DeploymentID("deployment"),
            app=APP.id,
            old_release=ReleaseID("old"),
            new_release=ReleaseID("new"),
            strategy=strategy,
            processes=dict(processes or {"web": 2}),
            deploy_timeout=timeout,
            deploy_batch_size=batch_size,
        ),
        step=step,
        step_started_at=began,
        failures=tuple(failures),
    )


def new_ids() -> Iterator[str]:
    return (f"new-{number}" for number in count(1))
