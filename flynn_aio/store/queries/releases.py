"""Releases that are not deleted, and the one an app has now."""

from sqlite_utils import Database

from ...errors import NotFound
from ...model import AppID, Release
from .. import rows
from .apps import app
from .sql import fetch_all, fetch_one


def release(db: Database, release_id: str) -> Release:
    sql = "SELECT doc FROM releases WHERE id = ? AND deleted_at IS NULL"
    return rows.release(fetch_one(db, "release", release_id, sql, (release_id,))[0])


def releases(db: Database) -> list[Release]:
    return [
        rows.release(text)
        for (text,) in fetch_all(db, "SELECT doc FROM releases WHERE deleted_at IS NULL ORDER BY seq DESC")
    ]


def app_releases(db: Database, app_id: AppID) -> list[Release]:
    sql = "SELECT doc FROM releases WHERE app = ? AND deleted_at IS NULL ORDER BY seq DESC"
    return [rows.release(text) for (text,) in fetch_all(db, sql, (app_id,))]


def current_release(db: Database, app_id: AppID) -> Release:
    """Return an app's current release.

    Raises:
        NotFound: it has none yet.
    """
    current = app(db, app_id)
    if current.release is None:
        raise NotFound(f"app {current.name!r} has no release yet")
    return release(db, current.release)
