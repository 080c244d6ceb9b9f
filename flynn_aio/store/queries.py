"""Questions to the store. Each is a plain function of a database, run by `Store.read` in one snapshot.

Lists are newest first unless said otherwise. Deleted apps and releases are not seen, but what
refers to them (jobs, events) stays.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlite_utils import Database

from ..errors import NotFound
from ..model import (
    SYSTEM_IMAGE_META,
    App,
    AppID,
    Artifact,
    ArtifactID,
    BackupStatus,
    ClusterBackup,
    Deployment,
    DeploymentID,
    DomainMigration,
    Event,
    EventID,
    ExpandedFormation,
    Formation,
    Job,
    JobFacts,
    JobID,
    Key,
    PlacedJob,
    Provider,
    ProviderID,
    Release,
    ReleaseID,
    Resource,
    ResourceID,
    Route,
    RouteID,
    RouteType,
    ScaleRequest,
    Sink,
    SinkID,
    Time,
    TLSCert,
    Volume,
    VolumeID,
    as_uuid,
    decode,
    full_job_id,
    image_layers,
    numbered,
)
from . import rows
from .feed import EventFilter
from .rows import Row

EVENTS_PAGE = 500
EVENTS_PAGE_BYTES = 1024 * 1024
"""Events read at a time, for a list or a reader that replays: so many, or those whose data fills so many bytes."""


JOBS_PAGE = 1000
"""Jobs read at a time; one is a few hundred bytes."""


def _all(db: Database, sql: str, values: Sequence[object] = ()) -> list[Row]:
    return db.conn.execute(sql, values).fetchall()


def _one(db: Database, what: str, key: object, sql: str, values: Sequence[object]) -> Row:
    row: Row | None = db.conn.execute(sql, values).fetchone()
    if row is None:
        raise NotFound(f"{what} {key!r} does not exist")
    return row


# Apps, artifacts, releases


def app(db: Database, id_or_name: str) -> App:
    """Return a live app by id (when the text is one) or by name.

    Raises:
        NotFound: there is none, or it was deleted.
    """
    column, value = ("id", as_id) if (as_id := as_uuid(id_or_name)) else ("name", id_or_name)
    sql = f"SELECT doc FROM apps WHERE {column} = ? AND deleted_at IS NULL"
    return rows.app(_one(db, "app", id_or_name, sql, (value,))[0])


def is_builtin(db: Database, app_id: AppID) -> bool:
    """Tell whether an app is a part of this process: see `model.system`."""
    return bool(_all(db, "SELECT 1 FROM apps WHERE id = ? AND builtin", (app_id,)))


def apps(db: Database) -> list[App]:
    return [rows.app(text) for (text,) in _all(db, "SELECT doc FROM apps WHERE deleted_at IS NULL ORDER BY seq DESC")]


def apps_json(db: Database) -> bytes:
    """Return the JSON of `apps`, made of what is stored: a thousand apps need not be taken apart on the way."""
    docs = _all(db, "SELECT doc FROM apps WHERE deleted_at IS NULL ORDER BY seq DESC")
    return f"[{','.join(text for (text,) in docs)}]".encode()


def artifact(db: Database, artifact_id: str) -> Artifact:
    return rows.artifact(_one(db, "artifact", artifact_id, "SELECT doc FROM artifacts WHERE id = ?", (artifact_id,))[0])


def artifact_at(db: Database, like: Artifact) -> Artifact | None:
    """Return the artifact of the same type and uri; ``None`` when there is none."""
    found = _all(db, "SELECT doc FROM artifacts WHERE type = ? AND uri = ?", (like.type, like.uri))
    return rows.artifact(found[0][0]) if found else None


def artifacts(db: Database, ids: Iterable[ArtifactID] | None = None) -> list[Artifact]:
    """Return the artifacts with these ids, in their order; without ids all of them."""
    if ids is None:
        return [rows.artifact(text) for (text,) in _all(db, "SELECT doc FROM artifacts ORDER BY seq DESC")]
    return [artifact(db, artifact_id) for artifact_id in ids]


def release(db: Database, release_id: str) -> Release:
    sql = "SELECT doc FROM releases WHERE id = ? AND deleted_at IS NULL"
    return rows.release(_one(db, "release", release_id, sql, (release_id,))[0])


def releases(db: Database) -> list[Release]:
    return [
        rows.release(text)
        for (text,) in _all(db, "SELECT doc FROM releases WHERE deleted_at IS NULL ORDER BY seq DESC")
    ]


def app_releases(db: Database, app_id: AppID) -> list[Release]:
    sql = "SELECT doc FROM releases WHERE app = ? AND deleted_at IS NULL ORDER BY seq DESC"
    return [rows.release(text) for (text,) in _all(db, sql, (app_id,))]


def current_release(db: Database, app_id: AppID) -> Release:
    """Return an app's current release.

    Raises:
        NotFound: it has none yet.
    """
    current = app(db, app_id)
    if current.release is None:
        raise NotFound(f"app {current.name!r} has no release yet")
    return release(db, current.release)


def live_slugs(db: Database) -> set[str]:
    """Return the ids of the slugs that some undeleted release refers to."""
    sql = """SELECT DISTINCT artifacts.doc FROM releases, json_each(releases.doc, '$.artifacts') AS used
             JOIN artifacts ON artifacts.id = used.value
             WHERE releases.deleted_at IS NULL AND artifacts.uri LIKE 'slug:%'"""
    return {slug for (text,) in _all(db, sql) if (slug := rows.artifact(text).slug)}


def new_slugs(db: Database, since: Time) -> set[str]:
    """Return the ids of the slugs whose artifact is no older than that: a release of them may be on its way."""
    found = [rows.artifact(text) for (text,) in _all(db, "SELECT doc FROM artifacts WHERE uri LIKE 'slug:%'")]
    return {one.slug for one in found if one.slug and one.created_at and one.created_at >= since}


def unused_artifacts(db: Database, ids: Iterable[ArtifactID]) -> list[Artifact]:
    """Return those of these artifacts that no undeleted release is made of; never one of the system's."""
    sql = """SELECT doc FROM artifacts WHERE id IN (SELECT value FROM json_each(?))
               AND id NOT IN (SELECT used.value FROM releases, json_each(releases.doc, '$.artifacts') AS used
                              WHERE releases.deleted_at IS NULL)
             ORDER BY seq"""
    found = [rows.artifact(text) for (text,) in _all(db, sql, (rows.doc(sorted(ids)),))]
    return [artifact for artifact in found if artifact.meta.get(SYSTEM_IMAGE_META) != "true"]


def used_layers(db: Database) -> set[str]:
    """Return the ids of the layers that some artifact names."""
    return {layer for artifact in _layered(db).values() for layer in artifact.layers}


def used_images(db: Database) -> set[tuple[str, ...]]:
    """Return what the images of undeleted releases, and of artifacts still without one, are made of.

    Each is the ids of its layers, lowest first.
    """
    layered = _layered(db)
    sql = "SELECT DISTINCT json_extract(doc, '$.artifacts') FROM releases WHERE deleted_at IS NULL"
    found = [decode(text, list[str]) for (text,) in _all(db, sql) if text]
    of_releases = (image_layers(layered[one] for one in ids if one in layered) for ids in found)
    of_artifacts = (tuple(artifact.layers) for artifact in layered.values())
    return {layers for layers in (*of_releases, *of_artifacts) if layers}


def _layered(db: Database) -> dict[str, Artifact]:
    sql = "SELECT id, doc FROM artifacts WHERE json_type(doc, '$.manifest.rootfs') = 'array'"
    return {found: rows.artifact(text) for found, text in _all(db, sql)}


# Formations and jobs


def formation(db: Database, app_id: AppID, release_id: ReleaseID) -> Formation:
    found = find_formation(db, app_id, release_id)
    if found is None:
        raise NotFound(f"app {app_id!r} has no formation for release {release_id!r}")
    return found


def find_formation(db: Database, app_id: AppID, release_id: ReleaseID) -> Formation | None:
    found = _all(db, "SELECT doc FROM formations WHERE app = ? AND release = ?", (app_id, release_id))
    return rows.formation(found[0][0]) if found else None


def formations(db: Database, app_id: AppID) -> list[Formation]:
    sql = "SELECT doc FROM formations WHERE app = ? ORDER BY seq DESC"
    return [rows.formation(text) for (text,) in _all(db, sql, (app_id,))]


def expanded_formation(db: Database, found: Formation) -> ExpandedFormation:
    """Return a stored formation with all it refers to."""
    [expanded] = _expanded(db, "f.app = ? AND f.release = ?", (found.app, found.release))
    return expanded


def deleted_formation(db: Database, request: ScaleRequest) -> ExpandedFormation | None:
    """Return what a formation looked like that its last scale request has ended: it wants nothing.

    Its app and release may be deleted as well; ``None`` when nothing at all is known of them.
    """
    sql = "SELECT apps.doc, releases.doc FROM apps, releases WHERE apps.id = ? AND releases.id = ?"
    found = _all(db, sql, (request.app, request.release))
    if not found:
        return None
    release = rows.release(found[0][1])
    parts = _artifacts_by_id(db, release.artifacts)
    return ExpandedFormation(
        app=rows.app(found[0][0]),
        release=release,
        artifacts=[parts[artifact_id] for artifact_id in release.artifacts if artifact_id in parts],
        updated_at=request.updated_at,
        deleted=True,
    )


def expanded_formations(db: Database) -> list[ExpandedFormation]:
    """Return the formations of live apps with all they refer to."""
    return _expanded(db, "apps.deleted_at IS NULL AND releases.deleted_at IS NULL")[::-1]


def active_formations(db: Database) -> list[ExpandedFormation]:
    """Return every formation of a live app that wants a job, the one changed last first."""
    found = _expanded(db, "apps.deleted_at IS NULL AND f.total > 0")
    return sorted(found, key=lambda one: one.updated_at.timestamp() if one.updated_at else 0.0, reverse=True)


def _expanded(db: Database, which: str, values: Sequence[object] = ()) -> list[ExpandedFormation]:
    """Return formations with all they refer to, oldest first: two statements, however many they are.

    Args:
        which: the condition on the formations `f`.
    """
    sql = f"""SELECT f.doc, apps.doc, releases.doc,
                     (SELECT s.doc FROM scale_requests AS s
                      WHERE s.app = f.app AND s.release = f.release AND s.state = 'pending' ORDER BY s.seq DESC LIMIT 1)
              FROM formations AS f JOIN apps ON apps.id = f.app JOIN releases ON releases.id = f.release
              WHERE {which} ORDER BY f.seq"""
    found = [
        (rows.formation(text), rows.app(app_text), rows.release(release_text), pending)
        for text, app_text, release_text, pending in _all(db, sql, values)
    ]
    parts = _artifacts_by_id(db, {artifact_id for _, _, used, _ in found for artifact_id in used.artifacts})
    return [
        ExpandedFormation(
            app=of_app,
            release=used,
            artifacts=[parts[artifact_id] for artifact_id in used.artifacts],
            processes=wanted.processes,
            tags=wanted.tags,
            updated_at=wanted.updated_at,
            pending_scale_request=rows.scale_request(pending) if pending else None,
        )
        for wanted, of_app, used, pending in found
    ]


def _artifacts_by_id(db: Database, ids: Iterable[ArtifactID]) -> dict[ArtifactID, Artifact]:
    sql = "SELECT id, doc FROM artifacts WHERE id IN (SELECT value FROM json_each(?))"
    return {ArtifactID(found): rows.artifact(text) for found, text in _all(db, sql, (rows.doc(list(ids)),))}


def pending_scale_requests(db: Database, app_id: AppID, release_id: ReleaseID) -> list[ScaleRequest]:
    sql = "SELECT doc FROM scale_requests WHERE app = ? AND release = ? AND state = 'pending' ORDER BY seq"
    return [rows.scale_request(text) for (text,) in _all(db, sql, (app_id, release_id))]


def job(db: Database, job_id: JobID) -> Job:
    return rows.job(_one(db, "job", job_id, "SELECT doc FROM jobs WHERE id = ?", (job_id,))[0])


def jobs(db: Database, app_id: AppID, *, before: JobID | None = None) -> list[Job]:
    """Return a page of the jobs an app ever had, whatever their state: the newest, or those made before one of them."""
    sql = """SELECT doc FROM jobs
             WHERE app = :app AND (:before IS NULL OR seq < (SELECT seq FROM jobs WHERE id = :before))
             ORDER BY seq DESC LIMIT :limit"""
    values = {"app": app_id, "before": before, "limit": JOBS_PAGE}
    return [rows.job(text) for (text,) in db.conn.execute(sql, values).fetchall()]


def active_jobs(db: Database) -> list[Job]:
    """Return the jobs that are not down, the one that changed last first."""
    found = [rows.job(text) for (text,) in _all(db, "SELECT doc FROM jobs WHERE state != 'down' ORDER BY seq DESC")]
    return sorted(found, key=lambda one: one.updated_at.timestamp() if one.updated_at else 0.0, reverse=True)


def placed_jobs(db: Database) -> list[PlacedJob]:
    """Return the jobs that are not down with where they are, oldest first."""
    sql = """SELECT jobs.doc, apps.name, jobs.address, jobs.started_at, jobs.formation, releases.doc
             FROM jobs JOIN apps ON apps.id = jobs.app LEFT JOIN releases ON releases.id = jobs.release
             WHERE jobs.state != 'down' ORDER BY jobs.seq"""
    placed = []
    for *row, release_text in _all(db, sql):
        kind = rows.job(row[0]).type
        process = rows.release(release_text).processes.get(kind) if release_text and row[4] else None
        ports = numbered(process.ports) if process else []
        placed.append(rows.placed_job(tuple(row), ports))
    return placed


# Deployments


def deployment(db: Database, deployment_id: str) -> Deployment:
    sql = "SELECT doc FROM deployments WHERE id = ?"
    return rows.deployment(_one(db, "deployment", deployment_id, sql, (deployment_id,))[0])


def deployments(db: Database, app_id: AppID) -> list[Deployment]:
    sql = "SELECT doc FROM deployments WHERE app = ? ORDER BY seq DESC"
    return [rows.deployment(text) for (text,) in _all(db, sql, (app_id,))]


def unfinished_deployment(db: Database, app_id: AppID) -> DeploymentID | None:
    found = _all(db, "SELECT id FROM deployments WHERE app = ? AND NOT finished", (app_id,))
    return DeploymentID(found[0][0]) if found else None


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
    for text, step, started in _all(db, sql):
        deployed = rows.deployment(text)
        ended = """SELECT doc FROM jobs WHERE state = 'down' AND release = ? AND app = ? AND ended_at >= ? AND formation
                   ORDER BY seq"""
        failures = tuple(rows.job(text) for (text,) in _all(db, ended, (deployed.new_release, deployed.app, started)))
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
        formations=tuple(_expanded(db, wanted)),
        jobs=tuple(placed_jobs(db)),
        deployments=tuple(in_progress),
        volumes=tuple(existing_volumes(db)),
    )


# Volumes


def volume(db: Database, app_id: AppID, volume_id: str) -> Volume:
    sql = "SELECT doc FROM volumes WHERE app = ? AND id = ?"
    return rows.volume(_one(db, "volume", volume_id, sql, (app_id, volume_id))[0])


def volumes(db: Database, app_id: AppID | None = None, *, since: Time | None = None) -> list[Volume]:
    """Return the volumes of an app or of all, destroyed ones too, the one that changed last first.

    Args:
        since: only those that changed then or later.
    """
    sql = """SELECT doc FROM volumes WHERE app = coalesce(?1, app) AND updated_at >= coalesce(?2, '')
             ORDER BY updated_at DESC, seq DESC"""
    return [rows.volume(text) for (text,) in _all(db, sql, (app_id, since.sortable if since else None))]


def existing_volumes(db: Database) -> list[Volume]:
    """Return the volumes that are not destroyed, oldest first."""
    sql = "SELECT doc FROM volumes WHERE state != 'destroyed' ORDER BY seq"
    return [rows.volume(text) for (text,) in _all(db, sql)]


def known_volumes(db: Database, ids: Iterable[VolumeID]) -> set[VolumeID]:
    """Return those of these ids that are, or were, a volume's."""
    sql = "SELECT id FROM volumes WHERE id IN (SELECT value FROM json_each(?))"
    return {VolumeID(found) for (found,) in _all(db, sql, (rows.doc(list(ids)),))}


def destroyed_volumes(db: Database, ids: Iterable[VolumeID]) -> list[Volume]:
    """Return those of these volumes that are destroyed."""
    sql = "SELECT doc FROM volumes WHERE state = 'destroyed' AND id IN (SELECT value FROM json_each(?))"
    return [rows.volume(text) for (text,) in _all(db, sql, (rows.doc(list(ids)),))]


# Routes


def route(db: Database, app_id: AppID, kind: RouteType, route_id: RouteID) -> Route:
    sql = "SELECT doc FROM routes WHERE app = ? AND type = ? AND id = ?"
    return rows.route(_one(db, "route", f"{kind}/{route_id}", sql, (app_id, kind, route_id))[0])


def routes(db: Database, app_id: AppID | None = None) -> list[Route]:
    """Return an app's routes, or those of every app."""
    if app_id is None:
        return [rows.route(text) for (text,) in _all(db, "SELECT doc FROM routes ORDER BY seq DESC")]
    sql = "SELECT doc FROM routes WHERE app = ? ORDER BY seq DESC"
    return [rows.route(text) for (text,) in _all(db, sql, (app_id,))]


# Sinks


def sink(db: Database, sink_id: SinkID) -> Sink:
    return rows.sink(_one(db, "sink", sink_id, "SELECT doc FROM sinks WHERE id = ?", (sink_id,))[0])


def sinks(db: Database) -> list[Sink]:
    return [rows.sink(text) for (text,) in _all(db, "SELECT doc FROM sinks ORDER BY seq DESC")]


def job_facts(db: Database, app_id: AppID, job_id: JobID) -> JobFacts:
    """Return what a sink may say of a job, as far as it is known; the app may be deleted.

    Source: Flynn `controller/utils/utils.go`, `JobConfig`.
    """
    sql = """SELECT apps.doc, jobs.doc, jobs.formation, releases.doc
             FROM apps LEFT JOIN jobs ON jobs.id = ? LEFT JOIN releases ON releases.id = jobs.release
             WHERE apps.id = ?"""
    found = _all(db, sql, (job_id, app_id))
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


# Providers and resources


def provider(db: Database, id_or_name: str) -> Provider:
    """Return a provider by id (when the text is one) or by name."""
    sql = "SELECT doc FROM providers WHERE id = ? OR name = ? ORDER BY id != ?1"
    as_id = as_uuid(id_or_name)
    return rows.provider(_one(db, "provider", id_or_name, sql, (as_id, id_or_name))[0])


def providers(db: Database) -> list[Provider]:
    return [rows.provider(text) for (text,) in _all(db, "SELECT doc FROM providers ORDER BY seq DESC")]


_RESOURCES = """SELECT doc, (SELECT json_group_array(app) FROM
                             (SELECT app FROM app_resources WHERE resource = resources.id ORDER BY seq))
                FROM resources"""


def resource(db: Database, provider_id: ProviderID, resource_id: str) -> Resource:
    """Return a provider's resource."""
    sql = f"{_RESOURCES} WHERE id = ? AND provider = ?"
    return rows.resource(_one(db, "resource", resource_id, sql, (resource_id, provider_id)))


def resources(db: Database, provider_id: ProviderID | None = None) -> list[Resource]:
    """Return a provider's resources, or those of every provider."""
    where, values = ("WHERE provider = ?", (provider_id,)) if provider_id is not None else ("", ())
    return [rows.resource(row) for row in _all(db, f"{_RESOURCES} {where} ORDER BY seq DESC", values)]


def app_resources(db: Database, app_id: AppID) -> list[Resource]:
    """Return what an app uses, alone or together with others."""
    sql = f"{_RESOURCES} WHERE id IN (SELECT resource FROM app_resources WHERE app = ?) ORDER BY seq DESC"
    return [rows.resource(row) for row in _all(db, sql, (app_id,))]


def own_resources(db: Database, app_id: AppID) -> list[Resource]:
    """Return what no other app uses: it goes when the app goes."""
    return [resource for resource in app_resources(db, app_id) if resource.apps == [app_id]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioning:
    """A provider was asked for a resource, and that is not over.

    Attributes:
        id: what the resource will be called.
        external_id: set when the resource was made and nobody can have it: it must be given back.
    """

    id: ResourceID
    provider: ProviderID
    external_id: str
    started_at: Time


def provisionings(db: Database) -> list[Provisioning]:
    """Return what was asked of providers and is not over, oldest first."""
    found = _all(db, "SELECT id, provider, external_id, started_at FROM provisionings ORDER BY started_at, id")
    return [
        Provisioning(id=ResourceID(made), provider=provider_id, external_id=external, started_at=Time.parse(started))
        for made, provider_id, external, started in found
    ]


def app_deletions(db: Database) -> list[AppID]:
    """Return the apps that are being deleted and still have resources, or had a moment ago."""
    return [AppID(found) for (found,) in _all(db, "SELECT app FROM app_deletions ORDER BY app")]


# Events


def newest_event(db: Database) -> EventID:
    """Return the id of the newest event; 0 when there is none."""
    return EventID(_all(db, "SELECT coalesce(max(id), 0) FROM events")[0][0])


def event(db: Database, event_id: int) -> Event:
    sql = "SELECT id, app, object_type, object_id, data, created_at FROM events WHERE id = ?"
    return rows.event(_one(db, "event", event_id, sql, (event_id,)))


def events(
    db: Database,
    wanted: EventFilter,
    *,
    before: EventID | None = None,
    since: EventID | None = None,
    count: int | None = None,
) -> list[Event]:
    """Return a page of matching events, newest first, at most `count`; `before` and `since` are exclusive.

    The next page is before the last of this one; an empty one is the end.
    """
    limit = EVENTS_PAGE if count is None else min(count, EVENTS_PAGE)
    where, values = _matching(wanted, before=before, since=since)
    return _events(db, f"WHERE {where} ORDER BY id DESC LIMIT {limit}", values)


def next_events(db: Database, wanted: EventFilter, *, since: EventID) -> list[Event]:
    """Return a page of the matching events after `since`, oldest first."""
    where, values = _matching(wanted, since=since)
    return _events(db, f"WHERE {where} ORDER BY id LIMIT {EVENTS_PAGE}", values)


def event_before_newest(db: Database, wanted: EventFilter, count: int) -> EventID:
    """Return the id of the matching event right before the `count` newest ones; 0 when there are no more than these."""
    where, values = _matching(wanted)
    found = _all(db, f"SELECT id FROM events WHERE {where} ORDER BY id DESC LIMIT 1 OFFSET ?", (*values, count))
    return EventID(found[0][0] if found else 0)


def _matching(
    wanted: EventFilter, *, before: EventID | None = None, since: EventID | None = None
) -> tuple[str, list[object]]:
    """Return a condition for events, and its values."""
    types = sorted(wanted.object_types)
    conditions: list[tuple[str, list[object]]] = [
        ("app = ?", [wanted.app] if wanted.app is not None else []),
        ("object_id = ?", [wanted.object_id] if wanted.object_id is not None else []),
        (f"object_type IN ({', '.join('?' * len(types))})", [*types]),
        ("id < ?", [before] if before is not None else []),
        ("id > ?", [since] if since is not None else []),
    ]
    used = [(text, values) for text, values in conditions if values]
    where = " AND ".join(text for text, _ in used) or "1"
    return where, [value for _, values in used for value in values]


def _events(db: Database, which: str, values: Sequence[object]) -> list[Event]:
    """Return events up to a page full of bytes."""
    sql = f"SELECT id, app, object_type, object_id, data, created_at FROM events {which}"
    page: list[Event] = []
    size = 0
    with closing(db.conn.execute(sql, values)) as found:
        for row in found:
            page.append(rows.event(row))
            size += len(page[-1].data)
            if size >= EVENTS_PAGE_BYTES:
                break
    return page


# The cluster


def keys(db: Database) -> list[Key]:
    """Return the controller's keys, oldest first."""
    found = _all(db, "SELECT name, created_at FROM keys ORDER BY created_at, name")
    return [Key(name=name, created_at=Time.parse(created_at)) for name, created_at in found]


def key_hashes(db: Database) -> dict[str, bytes]:
    """Return what the controller's keys are compared with, by name."""
    return dict(_all(db, "SELECT name, hash FROM keys ORDER BY name"))


def cluster_value(db: Database, key: str) -> str | None:
    """Return one of the cluster's own values, e.g. ``default_domain``; ``None`` before it is set."""
    found = _all(db, "SELECT value FROM cluster WHERE key = ?", (key,))
    return found[0][0] if found else None


DEFAULT_DOMAIN = "default_domain"
"""The cluster's own value that names its domain."""


def domain(db: Database) -> str:
    """Return the domain the cluster has now; empty before its first boot."""
    return cluster_value(db, DEFAULT_DOMAIN) or ""


def domain_certificates(db: Database) -> dict[str, TLSCert]:
    """Return what the domains are served with that the cluster has moved to or from; none before it ever moved."""
    return {name: decode(text, TLSCert) for name, text in _all(db, "SELECT domain, doc FROM domain_certificates")}


def domain_migration(db: Database, migration_id: str) -> DomainMigration:
    sql = "SELECT doc FROM domain_migrations WHERE id = ?"
    return rows.domain_migration(_one(db, "domain migration", migration_id, sql, (migration_id,))[0])


def unfinished_domain_migration(db: Database) -> DomainMigration | None:
    found = _all(db, "SELECT doc FROM domain_migrations WHERE NOT finished")
    return rows.domain_migration(found[0][0]) if found else None


def backup(db: Database, backup_id: str) -> ClusterBackup:
    return rows.backup(_one(db, "backup", backup_id, "SELECT doc FROM backups WHERE id = ?", (backup_id,))[0])


def latest_backup(db: Database) -> ClusterBackup:
    return rows.backup(_one(db, "backup", "latest", "SELECT doc FROM backups ORDER BY seq DESC LIMIT 1", ())[0])


def running_backups(db: Database) -> list[ClusterBackup]:
    found = _all(db, "SELECT doc FROM backups WHERE status = ? ORDER BY seq", (BackupStatus.RUNNING,))
    return [rows.backup(text) for (text,) in found]
