"""Jobs: look at them, stop them, run one-off ones.

A one-off job is started here, by the engine; its row is written by the scheduler's observer,
which sees every job of the engine, whoever started it. The release may belong to another app
than the job: consoles of databases work that way.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from ..engine import JobSpec, one_off_spec, open_files_at_most
from ..errors import NotFound, StartError, ValidationError
from ..model import (
    HOST_ID,
    App,
    Artifact,
    Job,
    JobID,
    JobState,
    NewJob,
    Release,
    as_uuid,
    bare_job_id,
    full_job_id,
)
from ..store import Database, changes, queries
from .body import read_json
from .paging import in_pages
from .request import EMPTY, Parts, Reply, Request, Stream, reply
from .wire import JobRequest, new_job, recorded_job


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOff:
    """A one-off job that may be started: what was asked for, and what that comes to."""

    wanted: NewJob
    spec: JobSpec


async def list_of_app(parts: Parts, request: Request) -> Reply | Stream:
    """List all jobs an app ever had."""
    app = await parts.store.read(lambda db: queries.app(db, request.app))

    async def pages() -> AsyncGenerator[list[Job], None]:
        last: JobID | None = None
        while page := await parts.store.read(partial(queries.jobs, app_id=app.id, before=last)):
            yield [_as_seen(parts, job) for job in page]
            last = page[-1].uuid

    return await in_pages(pages())


async def list_active(parts: Parts, request: Request) -> Reply:
    """List the jobs of all apps that are not down."""
    return reply([_as_seen(parts, job) for job in await parts.store.read(queries.active_jobs)])


async def get(parts: Parts, request: Request) -> Reply:
    """Show a job. As in Flynn, which app is named does not matter: it may be deleted by now."""
    job_id = _job_id(request)
    return reply(_as_seen(parts, await parts.store.read(lambda db: queries.job(db, job_id))))


def _as_seen(parts: Parts, job: Job) -> Job:
    """Return a job with what its health check met, if it does not serve just now."""
    if job.state is JobState.DOWN:
        return job
    met = parts.services.snapshot.value.waiting.get(job.uuid)
    return replace(job, unhealthy=met) if met else job


async def put(parts: Parts, request: Request) -> Reply:
    """Write down a job that somebody else runs. As in Flynn, the app is the one of the body, deleted or not."""
    job = recorded_job(read_json(request, JobRequest), _job_id(request))
    return reply(await parts.store.transact(lambda tx: changes.record_job(tx, job)))


async def kill(parts: Parts, request: Request) -> Reply:
    """Wish a job to stop. A formation that still wants it gets another one."""
    job_id = _job_id(request)
    await parts.store.read(lambda db: queries.app(db, request.app))
    await parts.store.transact(lambda tx: changes.stop_job(tx, job_id))
    return EMPTY


async def run(parts: Parts, request: Request) -> Reply:
    """Start a one-off job nobody is attached to."""
    one_off = await prepare(parts, request)
    try:
        await parts.engine.start(one_off.spec)
    except StartError as error:
        raise cannot_start(error) from error
    job_id = one_off.spec.id
    return reply(
        Job(
            id=full_job_id(job_id),
            uuid=job_id,
            host_id=HOST_ID,
            release=one_off.spec.release,
            args=one_off.wanted.args or [],
        )
    )


async def prepare(parts: Parts, request: Request) -> OneOff:
    """Return the one-off job a request asks for.

    Raises:
        NotFound: no such app or release.
        ValidationError: it cannot be run.
    """
    wanted = new_job(read_json(request, NewJob))

    def query(db: Database) -> tuple[App, Release, list[Artifact]]:
        app = queries.app(db, request.app)
        release = queries.release(db, as_uuid(wanted.release) or "")
        return app, release, _artifacts(db, wanted, release)

    app, release, artifacts = await parts.store.read(query)
    try:
        spec = one_off_spec(
            job=JobID(parts.clock.new_id()),
            app=app,
            release=release,
            artifacts=artifacts,
            new_job=wanted,
            gateway=parts.settings.gateway,
            host_features=parts.settings.host_features,
            nr_open=open_files_at_most(),
        )
    except StartError as error:
        raise cannot_start(error) from error
    return OneOff(wanted=wanted, spec=spec)


def cannot_start(error: StartError) -> ValidationError:
    """Return a start that fails for good as what it is to the client: a request that cannot be served."""
    return ValidationError(error.message)


def _artifacts(db: Database, wanted: NewJob, release: Release) -> list[Artifact]:
    ids = wanted.artifacts or release.artifacts
    if not ids:
        raise ValidationError("cannot be empty", field="release.ArtifactIDs")
    try:
        return queries.artifacts(db, ids)
    except NotFound as error:
        raise ValidationError(f"cannot be used: {error.message}", field="artifacts") from error


def _job_id(request: Request) -> JobID:
    found = as_uuid(bare_job_id(request.params["job"]))
    if found is None:
        raise NotFound(f"job {request.params['job']!r} does not exist: its id is not a UUID")
    return JobID(found)
