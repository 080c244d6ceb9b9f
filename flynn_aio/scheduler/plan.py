"""Plan: the difference between what is wanted and what there is, as one step. Pure.

The unit is a *group*: the jobs of one process type of one formation. It is brought to its
count, whatever became of its jobs. One-off and build jobs belong to none: they are recorded,
stopped when somebody asks, and put away.

Two rules make a crash at any moment harmless. Rows are written first, and actions speak only
of rows that already say so. And a plan settles: carry out what it says, ask again, and there
is nothing left to do.

Source: `jobs.md` §4, §5, §6, §10; Flynn `controller/scheduler/scheduler.go`.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as with_
from datetime import timedelta

from msgspec.structs import replace

from ..engine import JobStatus, RunState
from ..model import AppID, ExpandedFormation, Job, JobID, JobState, PlacedJob, ReleaseID, Time
from ..store import Desired
from .deployments import Surroundings, proceed
from .observer import Sighting, observe, record
from .restarts import (
    STABLE_AFTER,
    calm_at,
    calmed,
    has_to_wait,
    how_it_ended,
    remark_on_calm,
    remark_on_end,
    replacement,
)
from .step import (
    Action,
    AddVolume,
    CompleteScale,
    Doing,
    JobAction,
    Observed,
    PutJob,
    RemoveJob,
    RemoveVolume,
    StartJob,
    Step,
    StopJob,
    Write,
)
from .volumes import Stock

DEARNESS: Mapping[JobState | None, int] = {
    JobState.UP: 0,
    JobState.STARTING: 1,
    JobState.BLOCKED: 2,
    JobState.PENDING: 2,
}
"""Which jobs of a group stay when there are too many; among equals those that answer, and of them the oldest."""

GroupKey = tuple[AppID, ReleaseID, str]


@dataclass(slots=True)
class Group:
    """The jobs of one process type of one formation, as they are now known.

    Attributes:
        formation: ``None`` when nobody wants any of them.
        wanted: how many there are to be.
        blocked: it asks for tags, and the one host has none.
        jobs: those that are not down, oldest first.
        crashed: those that came to an end nobody asked for.
        strays: containers of the group that run and have no row.
    """

    formation: ExpandedFormation | None = None
    wanted: int = 0
    blocked: bool = False
    jobs: list[Job] = field(default_factory=list)
    crashed: list[Sighting] = field(default_factory=list)
    strays: list[JobStatus] = field(default_factory=list)

    def add(self, sighting: Sighting) -> None:
        if sighting.job.state is not JobState.DOWN:
            self.jobs.append(sighting.job)
        if sighting.crashed:
            self.crashed.append(sighting)

    @property
    def is_fulfilled(self) -> bool:
        return len(self.jobs) == self.wanted and all(job.state is JobState.UP for job in self.jobs)


def plan(
    desired: Desired,
    observed: Observed,
    now: Time,
    ids: Callable[[], str],
    *,
    stable_after: timedelta = STABLE_AFTER,
) -> Step:
    """Return what to write and to do now, and when time alone will ask for more.

    Args:
        ids: gives the ids of new jobs and volumes.
        stable_after: how long a job must have run to be started again with a clean slate.
    """
    groups = _groups(desired.formations)
    rows = {placed.job.uuid for placed in desired.jobs}
    strays = [status for job, status in observed.statuses.items() if job not in rows]
    stopping = {placed.job.uuid for placed in desired.jobs if placed.job.state is JobState.STOPPING}
    stock = Stock(desired.volumes, stopping, [stray for stray in strays if stray.state is RunState.RUNNING])
    writes: list[Write] = [
        *_observations(desired.jobs, observed, groups, now, stable_after),
        *_adoptions([stray for stray in strays if stock.lets_adopt(stray)], observed, groups),
    ]
    for key, group in groups.items():
        writes += _fill(key, group, observed, now, ids, stable_after)
    writes += _fulfilled(desired.formations, groups)
    wake_at = None
    for moving in desired.deployments:
        progress = proceed(moving, _surroundings(moving.deployment.app, desired.formations, groups), observed, now)
        writes += progress.writes
        wake_at = _earliest(wake_at, progress.wake_at)

    moved = {write.job.uuid for write in writes if isinstance(write, PutJob)}
    actions: list[Action] = []
    for placed in desired.jobs:
        if placed.job.uuid in moved:
            continue
        if (calm := calm_at(placed, stable_after=stable_after)) and calm > now:
            wake_at = _earliest(wake_at, calm)
        action = _action(placed, groups, observed)
        if isinstance(action, StartJob) and has_to_wait(placed.job, now):
            wake_at = _earliest(wake_at, placed.job.run_at)
        elif isinstance(action, StartJob):
            equipping, equipped = _equip(placed.job, action, stock, ids)
            writes += equipping
            actions += equipped
        elif action:
            actions.append(action)
    actions += (action for stray in strays if stray.id not in moved and (action := _stray_action(stray, observed)))
    actions += (
        RemoveVolume(volume.id)
        for volume in observed.spent
        if volume.job not in observed.statuses and volume.job not in observed.doing
    )
    return Step(tuple(writes), tuple(actions), wake_at)


def _groups(formations: Iterable[ExpandedFormation]) -> dict[GroupKey, Group]:
    groups: dict[GroupKey, Group] = defaultdict(Group)
    for formation in formations:
        for kind, count in formation.processes.items():
            groups[formation.app.id, formation.release.id, kind] = Group(
                formation, wanted=count, blocked=bool(formation.tags.get(kind))
            )
    return groups


def _observations(
    jobs: Iterable[PlacedJob],
    observed: Observed,
    groups: dict[GroupKey, Group],
    now: Time,
    stable_after: timedelta,
) -> Iterator[PutJob]:
    """Put every job where it belongs, and yield what its row does not know yet."""
    for placed in jobs:
        sighting = observe(placed, observed, now)
        if placed.formation:
            groups[_key(placed.job)].add(sighting)
        yield from sighting.writes
        if calm := calmed(sighting.job, sighting.ran_for, stable_after=stable_after):
            yield PutJob(calm, remark=remark_on_calm(calm, stable_after=stable_after))


def _adoptions(
    strays: Iterable[JobStatus], observed: Observed, groups: Mapping[GroupKey, Group]
) -> Iterator[PutJob | AddVolume]:
    """Offer running containers without a row to the group that may want them; record what is of none."""
    for stray in strays:
        if stray.id in observed.told:
            continue
        if not stray.formation:
            yield from record(stray)
        elif stray.state is RunState.RUNNING and (group := groups.get((stray.app, stray.release, stray.type))):
            group.strays.append(stray)


def _fill(
    key: GroupKey, group: Group, observed: Observed, now: Time, ids: Callable[[], str], stable_after: timedelta
) -> Iterator[PutJob]:
    """Bring a group to its count: jobs too many are ended, missing ones become rows."""
    present = [job for job in group.jobs if job.state in DEARNESS]
    eligible = sorted(
        (job for job in present if not (group.blocked and _is_placed(job))),
        key=lambda job: (DEARNESS[job.state], job.uuid not in observed.up),
    )
    staying = eligible[: group.wanted]
    kept = {job.uuid for job in staying}
    for job in present:
        if job.uuid not in kept:
            yield PutJob(replace(job, state=JobState.STOPPING if _is_placed(job) else JobState.DOWN))

    waiting = JobState.BLOCKED if group.blocked else JobState.PENDING
    for job in staying:
        if not _is_placed(job) and job.state is not waiting:
            yield PutJob(replace(job, state=waiting))

    missing = group.wanted - len(staying)
    adopted = [] if group.blocked else group.strays[:missing]
    for stray in adopted:
        yield _adopted(stray)
    crashed = iter(group.crashed)
    for _ in range(missing - len(adopted)):
        job_id = JobID(ids())
        if ended := next(crashed, None):
            yield _replaced(ended, job_id, waiting, now, stable_after)
        else:
            yield PutJob(replace(_first_job(key, group.formation, job_id, now), state=waiting))


def _replaced(ended: Sighting, job: JobID, waiting: JobState, now: Time, stable_after: timedelta) -> PutJob:
    last_end = f"was given up by its health check: {ended.given_up}" if ended.given_up else how_it_ended(ended.job)
    following = replacement(
        ended.job, job, ran_for=ended.ran_for, now=now, last_end=last_end, stable_after=stable_after
    )
    return PutJob(replace(following, state=waiting), remark=remark_on_end(ended.job, following, now))


def _adopted(stray: JobStatus) -> PutJob:
    job = Job(
        uuid=stray.id,
        app=stray.app,
        release=stray.release,
        type=stray.type,
        state=JobState.STARTING,
        args=list(stray.args),
        volumes=list(stray.volumes),
    )
    return PutJob(job, address=stray.address, started_at=stray.started_at)


def _first_job(key: GroupKey, formation: ExpandedFormation | None, job: JobID, now: Time) -> Job:
    app, release, kind = key
    process = formation.release.processes.get(kind) if formation else None
    args = process.args if process else []
    return Job(uuid=job, app=app, release=release, type=kind, state=JobState.PENDING, args=args, created_at=now)


def _fulfilled(formations: Collection[ExpandedFormation], groups: Mapping[GroupKey, Group]) -> Iterator[CompleteScale]:
    """Yield the scale requests that are done, after the jobs that made them so."""
    if not any(formation.pending_scale_request for formation in formations):
        return
    unfulfilled = {key[:2] for key, group in groups.items() if not group.is_fulfilled}
    for formation in formations:
        request = formation.pending_scale_request
        if request and (formation.app.id, formation.release.id) not in unfulfilled:
            yield CompleteScale(formation.app.id, request.id)


def _surroundings(
    app: AppID, formations: Iterable[ExpandedFormation], groups: Mapping[GroupKey, Group]
) -> Surroundings:
    return Surroundings(
        formations={formation.release.id: formation for formation in formations if formation.app.id == app},
        jobs={(release, kind): group.jobs for (owner, release, kind), group in groups.items() if owner == app},
    )


def _action(placed: PlacedJob, groups: Mapping[GroupKey, Group], observed: Observed) -> JobAction | None:
    """Return what is to be done for a job whose row is as it should be."""
    job, status = placed.job, observed.statuses.get(placed.job.uuid)
    doing, stopping = observed.doing.get(job.uuid), job.state is JobState.STOPPING
    if status and status.state is RunState.CREATED and doing is None and (placed.formation or stopping):
        return RemoveJob(job.uuid)  # left by a start that was cut off: away with it, then all is as if never tried
    if stopping and doing in (None, Doing.STARTING):
        return StopJob(job.uuid, patient=job.uuid not in observed.dead, stop_s=status.stop_s if status else 0.0)
    if placed.formation and job.state in (JobState.PENDING, JobState.STARTING) and doing is None and status is None:
        formation = groups[_key(job)].formation
        return StartJob(job.uuid, job.type, formation) if formation else None
    return None


def _equip(
    job: Job, start: StartJob, stock: Stock, ids: Callable[[], str]
) -> tuple[tuple[AddVolume | PutJob, ...], tuple[StartJob, ...]]:
    """Return what is still to be written before a job can be started, and the start once nothing is.

    Neither comes of a job that waits for the volume of one that is stopping.
    """
    process = start.formation.release.processes.get(job.type)
    wanted = process.volumes if process else []
    held = stock.held_by(job, wanted)
    if held is not None:
        return (), (with_(start, volumes=held),)
    given = stock.give(job, wanted, ids)
    if given is None:
        return (), ()
    added = (AddVolume(volume) for volume in given if volume.job == job.uuid)
    return (*added, PutJob(replace(job, volumes=[volume.id for volume in given]))), ()


def _stray_action(stray: JobStatus, observed: Observed) -> JobAction | None:
    """Return what is to be done with a container that has no row, or one that is down."""
    if stray.id in observed.doing:
        return None
    if not stray.formation:
        return RemoveJob(stray.id, linger=True) if stray.state is RunState.EXITED else None
    return StopJob(stray.id, stop_s=stray.stop_s) if stray.state is RunState.RUNNING else RemoveJob(stray.id)


def _key(job: Job) -> GroupKey:
    return job.app, job.release, job.type


def _is_placed(job: Job) -> bool:
    return job.state in (JobState.STARTING, JobState.UP)


def _earliest(one: Time | None, other: Time | None) -> Time | None:
    return min(one, other) if one and other else one or other
