"""What the scheduler wants to know, of one app, some, or all."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from sqlite_utils import Database

from ...model import AppID, Deployment, ExpandedFormation, Job, PlacedJob, Time, Volume, VolumeID
from .. import rows
from .formations import expanded_where
from .jobs import placed_jobs
from .sql import fetch_all, of_apps
from .volumes import existing_volumes

N = TypeVar("N")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentInProgress:
    """An unfinished deployment with the scheduler's notes about it.

    Attributes:
        step: what the scheduler last noted; empty at the start.
        failures: jobs of the new release that went down since the step began, oldest first.
    """

    deployment: Deployment
    step: str
    step_started_at: Time
    failures: tuple[Job, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What the scheduler needs of some apps, read in one snapshot.

    Attributes:
        formations: those of live apps that want jobs, have jobs, or have a pending scale request; oldest first.
            Never those of the apps that are this process.
        jobs: every job that is not down, also one-off and build jobs and those of deleted apps; oldest first.
        deployments: the unfinished ones, oldest first.
        volumes: those that are not destroyed, oldest first.
    """

    formations: tuple[ExpandedFormation, ...] = ()
    jobs: tuple[PlacedJob, ...] = ()
    deployments: tuple[DeploymentInProgress, ...] = ()
    volumes: tuple[Volume, ...] = ()


def desired(db: Database, apps: Collection[AppID] | None = None) -> Desired:
    """Return what is wanted of these apps; ``None`` means all."""
    which, values = of_apps("f.app", apps)
    wanted = f"""{which} AND apps.deleted_at IS NULL AND NOT apps.builtin AND (
                    f.total > 0
                    OR EXISTS (SELECT 1 FROM scale_requests AS s
                               WHERE s.app = f.app AND s.release = f.release AND s.state = 'pending')
                    OR EXISTS (SELECT 1 FROM jobs AS j
                               WHERE j.app = f.app AND j.release = f.release AND j.formation AND j.state != 'down'))"""
    return Desired(
        formations=tuple(expanded_where(db, wanted, values)),
        jobs=tuple(placed_jobs(db, apps)),
        deployments=tuple(_deployments(db, apps)),
        volumes=tuple(existing_volumes(db, apps)),
    )


def desired_by_app(db: Database, apps: Collection[AppID]) -> dict[AppID, Desired]:
    """Return what is wanted of each of these apps."""
    found = desired(db, apps)
    formations = _grouped(found.formations, lambda one: one.app.id)
    jobs = _grouped(found.jobs, lambda one: one.job.app)
    deployments = _grouped(found.deployments, lambda one: one.deployment.app)
    volumes = _grouped(found.volumes, lambda one: one.app)
    return {
        app: Desired(
            formations=tuple(formations[app]),
            jobs=tuple(jobs[app]),
            deployments=tuple(deployments[app]),
            volumes=tuple(volumes[app]),
        )
        for app in apps
    }


def scheduled_apps(db: Database, on_disk: Collection[VolumeID]) -> set[AppID]:
    """Return the apps the scheduler may have something to do for: live ones, and others with jobs or volumes left.

    Args:
        on_disk: the volumes there are.
    """
    sql = """SELECT id FROM apps WHERE deleted_at IS NULL AND NOT builtin
             UNION SELECT app FROM jobs WHERE state != 'down'
             UNION SELECT app FROM volumes WHERE id IN (SELECT value FROM json_each(?))"""
    return {AppID(found) for (found,) in fetch_all(db, sql, (rows.doc(list(on_disk)),))}


def _deployments(db: Database, apps: Collection[AppID] | None) -> Iterator[DeploymentInProgress]:
    which, values = of_apps("app", apps)
    sql = f"SELECT doc, step, step_started_at FROM deployments WHERE NOT finished AND {which} ORDER BY seq"
    for text, step, started in fetch_all(db, sql, values):
        deployed = rows.deployment(text)
        ended = """SELECT doc FROM jobs WHERE state = 'down' AND release = ? AND app = ? AND ended_at >= ? AND formation
                   ORDER BY seq"""
        failures = tuple(
            rows.job(text) for (text,) in fetch_all(db, ended, (deployed.new_release, deployed.app, started))
        )
        yield DeploymentInProgress(
            deployment=deployed, step=step, step_started_at=Time.parse(started), failures=failures
        )


def _grouped(nouns: Iterable[N], app_of: Callable[[N], AppID]) -> dict[AppID, list[N]]:
    groups: dict[AppID, list[N]] = defaultdict(list)
    for noun in nouns:
        groups[app_of(noun)].append(noun)
    return groups
