"""Invariants: what must hold after every commit, at every call to the engine, and at every look.

They read the database on a connection of their own, and the engine directly: what really runs, whatever it answers.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from math import inf

import trio
from sqlite_utils import Database

from flynn_aio.engine import JobSpec
from flynn_aio.model import JOB_META, Deployment, DeploymentStatus, Job, JobID, JobState, Strategy, Volume, decode
from flynn_aio.store import queries

from .control_plane import ControlPlane
from .history import History, Violation, short
from .machine import Machine
from .promises import Promises

NOTICE_S = 5.0
"""How long, with nothing in the way, a dead job may stay in the routing table, or a job too many without being told to
stop: the pauses of scheduler and discoverd after an outage, and a pass."""
RANK = {state: rank for rank, state in enumerate(JobState)} | {JobState.BLOCKED: 0}
COMMIT = timedelta(seconds=3)
"""How much later than it was decided a row may be written, on a slow disk; it has the later time."""
PAUSES = ((5, 0), (15, 10), (float("inf"), 30))
"""Restarts so far, exclusive, and the seconds before the next one. Source: `jobs.md` §5."""


class Invariants:
    """Looks on; raises `Violation`."""

    def __init__(self, machine: Machine, promises: Promises, history: History) -> None:
        self._machine = machine
        self._promises = promises
        self._history = history
        self._last_event = 0
        self._states: dict[str, list[JobState]] = {}
        self._due: dict[str, float] = {}
        self._busy_until: dict[str, float] = {}
        self._started = 0
        self._seen_up: set[str] = set()
        self._volumes: set[str] = set()
        self._most: dict[tuple[str, str], int] = {}
        self._wrong_since: dict[str, float] = {}
        self.unhindered_since = 0.0
        self._db: Database | None = None

    @property
    def db(self) -> Database:
        if self._db is None:
            self._db = Database(sqlite3.connect(self._machine.path, isolation_level=None))
        return self._db

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    # -- after every commit --------------------------------------------------------------------

    def committed(self) -> None:
        """Look at what a commit has changed."""
        db = self.db
        found = db.conn.execute(
            "SELECT id, app, object_type, object_id, data FROM events WHERE id > ? ORDER BY id", (self._last_event,)
        ).fetchall()
        for number, app, kind, subject, data in found:
            self._last_event = number
            match kind:
                case "job":
                    self._job_moved(decode(data.encode(), Job))
                case "deployment":
                    self._deployment_moved(db, app, subject, decode(data.encode(), dict))
                case "volume":
                    self._volume_changed(db, decode(data.encode(), Volume))
                case "app_deletion":
                    self._promises.deleted(app)
        kinds = {kind for _, _, kind, _, _ in found}
        if "deployment" in kinds:
            self._one_deployment_each(db)
        if kinds & {"job", "volume"}:
            self._no_volume_twice(db)
        for moving in self._promises.undisturbed.values():
            self._check_strategy(db, moving)

    def _job_moved(self, job: Job) -> None:
        self._history.note(
            f"job {short(job.uuid)} {job.type or 'one-off'} of {short(job.release)} {job.state}"
            f"{f' restarts={job.restarts}' if job.restarts else ''} {job.host_error or ''}"
        )
        before = self._states.setdefault(job.uuid, [])
        if job.state in before:
            raise Violation(f"a second event says that job {job.uuid} is {job.state}: {before}")
        if before and RANK[job.state] < RANK[before[-1]]:
            raise Violation(f"job {job.uuid} goes back from {before[-1]} to {job.state}")
        before.append(job.state)
        if job.state is JobState.STOPPING:
            self._busy_until[job.uuid] = trio.current_time()
        self.started()
        if job.state is JobState.UP:
            self._seen_up.add(job.uuid)
        if job.state is JobState.PENDING and job.restarts:
            pause = timedelta(seconds=next(pause for below, pause in PAUSES if job.restarts - 1 < below))
            due = job.run_at - job.created_at if job.run_at else timedelta(0)
            if due < pause - COMMIT:
                raise Violation(f"job {job.uuid} follows {job.restarts} restarts after {due} instead of {pause}")
            self._due[job.uuid] = trio.current_time() + due / timedelta(seconds=1)

    def _deployment_moved(self, db: Database, app: str, deployment: str, event: Mapping[str, str]) -> None:
        status = DeploymentStatus(event["status"])
        self._history.note(f"deployment {short(deployment)} {status} {event.get('error', '').partition(chr(10))[0]}")
        if status not in (DeploymentStatus.COMPLETE, DeploymentStatus.FAILED):
            return
        stored = queries.deployment(db, deployment)
        [(text,)] = db.conn.execute("SELECT doc FROM releases WHERE id = ?", (stored.new_release,)).fetchall()
        self._promises.ended(stored.app, deployment, status, decode(text.encode(), dict).get("processes", {}))

    def _volume_changed(self, db: Database, volume: Volume) -> None:
        """A new volume is made only when the jobs of its place that have none yet will need all that are free."""
        if volume.id in self._volumes:
            return
        self._volumes.add(volume.id)
        if volume.decommissioned_at or not volume.job_type:
            return
        place = volume.app, volume.release, volume.job_type
        held = {one for status in self._machine.running() for one in status.volumes}
        free = [
            other.id
            for other in queries.existing_volumes(db)
            if (other.app, other.release, other.job_type, other.path) == (*place, volume.path)
            and other.job is None
            and other.decommissioned_at is None
            and other.id not in held
        ]
        jobs = [placed.job for placed in queries.placed_jobs(db)]
        waiting = [job for job in jobs if (job.app, job.release, job.type) == place and not job.volumes]
        if len(free) > len(waiting):
            raise Violation(f"volume {volume.id} was made although {free} of the same place were free")

    def _check_strategy(self, db: Database, moving: Deployment) -> None:
        """Never more jobs of both releases than the strategy allows, in wish and in rows.

        What was too many when it began, since somebody had just scaled down, may only become less.
        """
        live = live_jobs(db)
        for kind, wanted in (moving.processes or {}).items():
            allowed = wanted + extra_jobs(moving, wanted)
            there = sum(live[moving.app, release or "", kind] for release in (moving.old_release, moving.new_release))
            most = self._most.get((moving.id, kind), max(there, allowed))
            if there > most:
                raise Violation(
                    f"deployment {moving.id} ({moving.strategy}) has {there} {kind} jobs where {most} are the most"
                )
            self._most[moving.id, kind] = max(there, allowed)

    def _one_deployment_each(self, db: Database) -> None:
        sql = "SELECT app, count(*) FROM deployments WHERE NOT finished GROUP BY app HAVING count(*) > 1"
        if found := db.conn.execute(sql).fetchall():
            raise Violation(f"apps with several unfinished deployments: {found}")

    def _no_volume_twice(self, db: Database) -> None:
        sql = """SELECT each.value, count(*) FROM jobs, json_each(jobs.doc, '$.volumes') AS each
                 WHERE jobs.state != 'down' GROUP BY each.value HAVING count(*) > 1"""
        if found := db.conn.execute(sql).fetchall():
            raise Violation(f"volumes that two jobs have: {found}")
        held = Counter(volume for status in self._machine.running() for volume in status.volumes)
        if twice := [volume for volume, count in held.items() if count > 1]:
            raise Violation(f"volumes in two running containers: {twice}")

    # -- at every call to the engine -----------------------------------------------------------

    def calling(self, name: str, subject: object, plane: ControlPlane | None) -> None:
        """Look at what is about to be asked of the engine."""
        if isinstance(subject, JobSpec) and subject.formation:
            self._starting(subject)
        elif name == "stop" and plane:
            self._stopping(str(subject), plane)

    def visited(self, job: str) -> None:
        """A request to a job has ended."""
        self._busy_until[job] = trio.current_time()

    def _stopping(self, job: str, plane: ControlPlane) -> None:
        if where := list(_routed(plane, job)):
            raise Violation(f"job {job} gets its SIGTERM while it is routed to as {where}")
        if plane.router.upstreams.pool.is_busy(JobID(job)):
            return  # for as long as it is waited for at most
        waited = trio.current_time() - max(self._busy_until.get(job, inf), self.unhindered_since)
        if waited > NOTICE_S:
            raise Violation(f"job {job} had no request in flight, and got its SIGTERM {waited:.1f} s later")

    def _starting(self, spec: JobSpec) -> None:
        due = self._due.get(spec.id, 0.0)
        if trio.current_time() < due - 0.001 and self._machine.clock.set_at < due - 40:
            raise Violation(f"job {spec.id} is started {due - trio.current_time():.3f} s before its pause is over")

    def started(self) -> None:
        """No job that was seen running is started again: its place is filled by another one."""
        for spec in self._machine.engine.started[self._started :]:
            if spec.formation and spec.id in self._seen_up:
                raise Violation(f"job {spec.id} was up, and is started again")
            self._started += 1

    # -- at every look -------------------------------------------------------------------------

    def look(self, plane: ControlPlane) -> None:
        """Look around: what is wrong may be so only for a moment."""
        self.started()
        running = {status.id: status for status in self._machine.running()}
        wrong = set(_dead_routes(plane, running)) | set(_too_many(self.db))
        now = trio.current_time()
        self._wrong_since = {what: self._wrong_since.get(what, now) for what in wrong}
        for what, since in self._wrong_since.items():
            lasting = now - max(since, self.unhindered_since)
            if lasting > NOTICE_S:
                raise Violation(f"{what}, for {lasting:.1f} s")


def _dead_routes(plane: ControlPlane, running: Mapping[str, object]) -> Iterator[str]:
    """Yield the backends whose job does not run, or runs elsewhere."""
    for service, instances in plane.services.snapshot.value.instances.items():
        for instance in instances:
            status = running.get(instance.meta[JOB_META])
            if status is None or not instance.addr.startswith(f"{status.address}:"):
                yield f"{service} leads to job {instance.meta[JOB_META]} at {instance.addr}, which does not run"


def _routed(plane: ControlPlane, job: str) -> Iterator[str]:
    for service, instances in plane.services.snapshot.value.instances.items():
        if any(instance.meta[JOB_META] == job for instance in instances):
            yield service


def _too_many(db: Database) -> Iterator[str]:
    """Yield the groups that have more jobs than are wanted, those on their way out not counted."""
    for (app, release, kind), count in live_jobs(db).items():
        formation = queries.find_formation(db, app, release)
        wanted = formation.processes.get(kind, 0) if formation else 0
        if count > wanted:
            yield f"app {app} has {count} {kind} jobs of release {release} instead of {wanted}"


def live_jobs(db: Database) -> Counter[tuple[str, str, str]]:
    """Count the jobs of formations that are not on their way out, by app, release and type."""
    sql = """SELECT app, release, json_extract(doc, '$.type'), count(*) FROM jobs
             WHERE formation AND state IN ('pending', 'blocked', 'starting', 'up') GROUP BY 1, 2, 3"""
    return Counter({(app, release, kind): count for app, release, kind, count in db.conn.execute(sql).fetchall()})


def extra_jobs(moving: Deployment, wanted: int) -> int:
    """Return how many jobs more than are wanted a deployment may have of a type."""
    match moving.strategy:
        case Strategy.ONE_DOWN_ONE_UP:
            return 0
        case Strategy.ONE_BY_ONE:
            return 1
        case Strategy.IN_BATCHES:
            return moving.deploy_batch_size or 1
    return wanted
