"""Formations, alone or expanded with all they refer to, and the scale requests about them."""

from collections.abc import Sequence

from sqlite_utils import Database

from ...errors import NotFound
from ...model import AppID, ExpandedFormation, Formation, ReleaseID, ScaleRequest
from .. import rows
from .artifacts import artifacts_by_id
from .sql import fetch_all


def formation(db: Database, app_id: AppID, release_id: ReleaseID) -> Formation:
    found = find_formation(db, app_id, release_id)
    if found is None:
        raise NotFound(f"app {app_id!r} has no formation for release {release_id!r}")
    return found


def find_formation(db: Database, app_id: AppID, release_id: ReleaseID) -> Formation | None:
    found = fetch_all(db, "SELECT doc FROM formations WHERE app = ? AND release = ?", (app_id, release_id))
    return rows.formation(found[0][0]) if found else None


def wanted_jobs(db: Database) -> int:
    """Return how many jobs all formations want together, but for those of the apps that are this process."""
    sql = """SELECT coalesce(sum(f.total), 0) FROM formations AS f JOIN apps ON apps.id = f.app
             WHERE apps.deleted_at IS NULL AND NOT apps.builtin"""
    return int(fetch_all(db, sql)[0][0])


def formations(db: Database, app_id: AppID) -> list[Formation]:
    sql = "SELECT doc FROM formations WHERE app = ? ORDER BY seq DESC"
    return [rows.formation(text) for (text,) in fetch_all(db, sql, (app_id,))]


def expanded_formation(db: Database, found: Formation) -> ExpandedFormation:
    """Return a stored formation with all it refers to."""
    [expanded] = expanded_where(db, "f.app = ? AND f.release = ?", (found.app, found.release))
    return expanded


def deleted_formation(db: Database, request: ScaleRequest) -> ExpandedFormation | None:
    """Return what a formation looked like that its last scale request has ended: it wants nothing.

    Its app and release may be deleted as well; ``None`` when nothing at all is known of them.
    """
    sql = "SELECT apps.doc, releases.doc FROM apps, releases WHERE apps.id = ? AND releases.id = ?"
    found = fetch_all(db, sql, (request.app, request.release))
    if not found:
        return None
    release = rows.release(found[0][1])
    parts = artifacts_by_id(db, release.artifacts)
    return ExpandedFormation(
        app=rows.app(found[0][0]),
        release=release,
        artifacts=[parts[artifact_id] for artifact_id in release.artifacts if artifact_id in parts],
        updated_at=request.updated_at,
        deleted=True,
    )


def expanded_formations(db: Database) -> list[ExpandedFormation]:
    """Return the formations of live apps with all they refer to."""
    return expanded_where(db, "apps.deleted_at IS NULL AND releases.deleted_at IS NULL")[::-1]


def active_formations(db: Database) -> list[ExpandedFormation]:
    """Return every formation of a live app that wants a job, the one changed last first."""
    found = expanded_where(db, "apps.deleted_at IS NULL AND f.total > 0")
    return sorted(found, key=lambda one: one.updated_at.timestamp() if one.updated_at else 0.0, reverse=True)


def expanded_where(db: Database, which: str, values: Sequence[object] = ()) -> list[ExpandedFormation]:
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
        for text, app_text, release_text, pending in fetch_all(db, sql, values)
    ]
    parts = artifacts_by_id(db, {artifact_id for _, _, used, _ in found for artifact_id in used.artifacts})
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


def pending_scale_requests(db: Database, app_id: AppID, release_id: ReleaseID) -> list[ScaleRequest]:
    sql = "SELECT doc FROM scale_requests WHERE app = ? AND release = ? AND state = 'pending' ORDER BY seq"
    return [rows.scale_request(text) for (text,) in fetch_all(db, sql, (app_id, release_id))]
