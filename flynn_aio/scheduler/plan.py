"""Plan: the difference between what is wanted and what there is, as one step. Pure.

The jobs of formations are brought to their counts by `groups`. One-off and build jobs belong
to no group: they are recorded, stopped when somebody asks, and put away.

Two rules make a crash at any moment harmless. Rows are written first, and actions speak only
of rows that already say so. And a plan settles: carry out what it says, ask again, and there
is nothing left to do.

Source: `jobs.md` §6, §10; Flynn `controller/scheduler/scheduler.go`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace as with_
from datetime import timedelta

from msgspec.structs import replace

from ..engine import JobStatus, RunState
from ..model import AppID, ExpandedFormation, Job, JobState, PlacedJob, Time
from ..store import Desired
from .deployments import Surroundings, proceed
from .groups import Group, GroupKey, fill, fulfilled_requests, groups_of, key_of, offer_strays
from .observer import observe
from .restarts import STABLE_AFTER, calm_at, calmed, has_to_wait, remark_on_calm
from .step import (
    Action,
    AddVolume,
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

LEAVING = frozenset({JobState.STOPPING, JobState.DOWN})
"""In which states a job hands back its volumes, or is about to."""


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
    groups = groups_of(desired.formations)
    rows = {placed.job.uuid for placed in desired.jobs}
    strays = [status for job, status in observed.statuses.items() if job not in rows]
    stock = Stock(desired.volumes, [stray for stray in strays if stray.state is RunState.RUNNING])
    writes: list[Write] = [
        *_observations(desired.jobs, observed, groups, now, stable_after),
        *offer_strays([stray for stray in strays if stock.lets_adopt(stray)], observed, groups),
    ]
    for key, group in groups.items():
        writes += fill(key, group, observed, now, ids, stable_after)
    writes += fulfilled_requests(desired.formations, groups)
    wake_at = None
    for moving in desired.deployments:
        progress = proceed(moving, _surroundings(moving.deployment.app, desired.formations, groups), observed, now)
        writes += progress.writes
        wake_at = _earliest(wake_at, progress.wake_at)

    moved = {write.job.uuid: write.job.state for write in writes if isinstance(write, PutJob)}
    states = {placed.job.uuid: placed.job.state for placed in desired.jobs} | moved
    stock.expect_from({job for job, state in states.items() if state in LEAVING})
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
            groups[key_of(placed.job)].add(sighting)
        yield from sighting.writes
        if calm := calmed(sighting.job, sighting.ran_for, stable_after=stable_after):
            yield PutJob(calm, remark=remark_on_calm(calm, stable_after=stable_after))


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
        formation = groups[key_of(job)].formation
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


def _earliest(one: Time | None, other: Time | None) -> Time | None:
    return min(one, other) if one and other else one or other
