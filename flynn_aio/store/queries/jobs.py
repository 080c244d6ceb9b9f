"""Jobs: what they were asked to be, what became of them, and where they are."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlite_utils import Database

from ...model import AppID, Evidence, Job, JobFacts, JobID, PlacedJob, ProcessType, Time, decode, full_job_id, numbered
from .. import rows
from . import pages
from .sql import fetch_all, fetch_one, of_apps


def job(db: Database, job_id: JobID) -> Job:
    return rows.job(fetch_one(db, "job", job_id, "SELECT doc FROM jobs WHERE id = ?", (job_id,))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job with what its row, its app and its release tell about it.

    Attributes:
        process: its process type; ``None`` when its release has none of this name, or is deleted.
        started_at: when its process was started; ``None``: it never was.
        evidence: what was seen of it when it did not serve.
    """

    job: Job
    app_name: str
    process: ProcessType | None
    started_at: Time | None
    evidence: Evidence | None


def job_record(db: Database, job_id: JobID) -> JobRecord:
    sql = """SELECT jobs.doc, apps.name, releases.doc, jobs.started_at, jobs.evidence
             FROM jobs JOIN apps ON apps.id = jobs.app LEFT JOIN releases ON releases.id = jobs.release
             WHERE jobs.id = ?"""
    text, app_name, release, started_at, evidence = fetch_one(db, "job", job_id, sql, (job_id,))
    found = rows.job(text)
    return JobRecord(
        job=found,
        app_name=app_name,
        process=rows.release(release).processes.get(found.type) if release else None,
        started_at=Time.parse(started_at) if started_at else None,
        evidence=decode(evidence, Evidence) if evidence else None,
    )


def jobs(db: Database, app_id: AppID, *, before: JobID | None = None) -> list[Job]:
    """Return a page of the jobs an app ever had, whatever their state: the newest, or those made before one of them."""
    sql = """SELECT doc FROM jobs
             WHERE app = :app AND (:before IS NULL OR seq < (SELECT seq FROM jobs WHERE id = :before))
             ORDER BY seq DESC LIMIT :limit"""
    values = {"app": app_id, "before": before, "limit": pages.JOBS_PAGE}
    return [rows.job(text) for (text,) in db.conn.execute(sql, values).fetchall()]


def active_jobs(db: Database) -> list[Job]:
    """Return the jobs that are not down, the one that changed last first."""
    found = [
        rows.job(text) for (text,) in fetch_all(db, "SELECT doc FROM jobs WHERE state != 'down' ORDER BY seq DESC")
    ]
    return sorted(found, key=lambda one: one.updated_at.timestamp() if one.updated_at else 0.0, reverse=True)


def placed_jobs(db: Database, apps: Collection[AppID] | None = None) -> list[PlacedJob]:
    """Return the jobs that are not down with where they are, oldest first.

    Args:
        apps: only theirs; ``None`` means those of all, deleted ones included.
    """
    which, values = of_apps("jobs.app", apps)
    sql = f"""SELECT jobs.doc, apps.name, jobs.address, jobs.started_at, jobs.formation, releases.doc
             FROM jobs JOIN apps ON apps.id = jobs.app LEFT JOIN releases ON releases.id = jobs.release
             WHERE jobs.state != 'down' AND {which} ORDER BY jobs.seq"""
    placed = []
    for *row, release_text in fetch_all(db, sql, values):
        kind = rows.job(row[0]).type
        process = rows.release(release_text).processes.get(kind) if release_text and row[4] else None
        ports = numbered(process.ports) if process else []
        placed.append(rows.placed_job(tuple(row), ports))
    return placed


def job_facts(db: Database, app_id: AppID, job_id: JobID) -> JobFacts:
    """Return what a sink may say of a job, as far as it is known; the app may be deleted.

    Source: Flynn `controller/utils/utils.go`, `JobConfig`.
    """
    sql = """SELECT apps.doc, jobs.doc, jobs.formation, releases.doc
             FROM apps LEFT JOIN jobs ON jobs.id = ? LEFT JOIN releases ON releases.id = jobs.release
             WHERE apps.id = ?"""
    found = fetch_all(db, sql, (job_id, app_id))
    if not found:
        return JobFacts(id=full_job_id(job_id), app_name=app_id)
    app_text, job_text, formation, release_text = found[0]
    of_app = rows.app(app_text)
    metadata = {**of_app.meta, "flynn-controller.app": of_app.id, "flynn-controller.app_name": of_app.name}
    env: dict[str, str] = {}
    if job_text:
        run = rows.job(job_text)
        metadata |= {"flynn-controller.release": run.release or "", "flynn-controller.type": run.type}
        if formation:
            metadata["flynn-controller.formation"] = "true"
    if release_text:
        used = rows.release(release_text)
        process = used.processes.get(metadata["flynn-controller.type"])
        env = used.env | (process.env if process else {})
    return JobFacts(id=full_job_id(job_id), app_name=of_app.name, metadata=metadata, env=env)
