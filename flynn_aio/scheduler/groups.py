"""Groups: each brought to its count, whatever became of its jobs. Pure.

Jobs too many are ended. A missing one is first sought among the containers that run without a row; what is then still
missing becomes a row, which replaces a job that crashed as long as there are such.

Source: `jobs.md` §4, §5, §10; Flynn `controller/scheduler/scheduler.go`.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from msgspec.structs import replace

from ..engine import JobStatus, RunState
from ..model import AppID, ExpandedFormation, Job, JobID, JobState, ReleaseID, Time
from .observer import Sighting, record
from .restarts import how_it_ended, remark_on_end, replacement
from .step import AddVolume, CompleteScale, Observed, PutJob

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
        """Count a job in as it is now seen."""
        if sighting.job.state is not JobState.DOWN:
            self.jobs.append(sighting.job)
        if sighting.crashed:
            self.crashed.append(sighting)

    @property
    def is_fulfilled(self) -> bool:
        """Whether all of its jobs are up, and none is one too many."""
        return len(self.jobs) == self.wanted and all(job.state is JobState.UP for job in self.jobs)


def key_of(job: Job) -> GroupKey:
    """Return which group a job of a formation belongs to."""
    return job.app, job.release, job.type


def groups_of(formations: Iterable[ExpandedFormation]) -> dict[GroupKey, Group]:
    """Return the groups somebody wants, still without jobs; one that nobody wants is made when asked for."""
    groups: dict[GroupKey, Group] = defaultdict(Group)
    for formation in formations:
        for kind, count in formation.processes.items():
            groups[formation.app.id, formation.release.id, kind] = Group(
                formation, wanted=count, blocked=bool(formation.tags.get(kind))
            )
    return groups


def offer_strays(
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


def fill(
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


def fulfilled_requests(
    formations: Collection[ExpandedFormation], groups: Mapping[GroupKey, Group]
) -> Iterator[CompleteScale]:
    """Yield the scale requests that are done, after the jobs that made them so."""
    if not any(formation.pending_scale_request for formation in formations):
        return
    unfulfilled = {key[:2] for key, group in groups.items() if not group.is_fulfilled}
    for formation in formations:
        request = formation.pending_scale_request
        if request and (formation.app.id, formation.release.id) not in unfulfilled:
            yield CompleteScale(formation.app.id, request.id)


def _is_placed(job: Job) -> bool:
    return job.state in (JobState.STARTING, JobState.UP)
