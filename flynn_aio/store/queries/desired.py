"""All the scheduler wants to know, read in one snapshot."""

from dataclasses import dataclass

from sqlite_utils import Database

from ...model import Deployment, ExpandedFormation, Job, PlacedJob, Time, Volume
from .. import rows
from .formations import expanded_where
from .jobs import placed_jobs
from .sql import fetch_all
from .volumes import existing_volumes


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
    """All the scheduler needs, read in one snapshot.

    Attributes:
        formations: those of live apps that want jobs, have jobs, or have a pending scale request; oldest first.
            Never those of the apps that are this process.
        jobs: every job that is not down, also one-off and build jobs and those of deleted apps; oldest first.
        deployments: the unfinished ones, oldest first.
        volumes: those that are not destroyed, oldest first.
    """

    formations: tuple[ExpandedFormation, ...]
    jobs: tuple[PlacedJob, ...]
    deployments: tuple[DeploymentInProgress, ...]
    volumes: tuple[Volume, ...] = ()


def desired(db: Database) -> Desired:
    in_progress = []
    sql = "SELECT doc, step, step_started_at FROM deployments WHERE NOT finished ORDER BY seq"
    for text, step, started in fetch_all(db, sql):
        deployed = rows.deployment(text)
        ended = """SELECT doc FROM jobs WHERE state = 'down' AND release = ? AND app = ? AND ended_at >= ? AND formation
                   ORDER BY seq"""
        failures = tuple(
            rows.job(text) for (text,) in fetch_all(db, ended, (deployed.new_release, deployed.app, started))
        )
        in_progress.append(
            DeploymentInProgress(deployment=deployed, step=step, step_started_at=Time.parse(started), failures=failures)
        )
    wanted = """apps.deleted_at IS NULL AND NOT apps.builtin AND (
                    f.total > 0
                    OR EXISTS (SELECT 1 FROM scale_requests AS s
                               WHERE s.app = f.app AND s.release = f.release AND s.state = 'pending')
                    OR EXISTS (SELECT 1 FROM jobs AS j
                               WHERE j.app = f.app AND j.release = f.release AND j.formation AND j.state != 'down'))"""
    return Desired(
        formations=tuple(expanded_where(db, wanted)),
        jobs=tuple(placed_jobs(db)),
        deployments=tuple(in_progress),
        volumes=tuple(existing_volumes(db)),
    )
