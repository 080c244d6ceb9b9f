"""Volumes, also destroyed ones: their rows stay."""

from collections.abc import Collection, Iterable

from sqlite_utils import Database

from ...model import AppID, Time, Volume, VolumeID
from .. import rows
from .sql import fetch_all, fetch_one, of_apps


def volume(db: Database, app_id: AppID, volume_id: str) -> Volume:
    sql = "SELECT doc FROM volumes WHERE app = ? AND id = ?"
    return rows.volume(fetch_one(db, "volume", volume_id, sql, (app_id, volume_id))[0])


def volumes(db: Database, app_id: AppID | None = None, *, since: Time | None = None) -> list[Volume]:
    """Return the volumes of an app or of all, destroyed ones too, the one that changed last first.

    Args:
        since: only those that changed then or later.
    """
    sql = """SELECT doc FROM volumes WHERE app = coalesce(?1, app) AND updated_at >= coalesce(?2, '')
             ORDER BY updated_at DESC, seq DESC"""
    return [rows.volume(text) for (text,) in fetch_all(db, sql, (app_id, since.sortable if since else None))]


def existing_volumes(db: Database, apps: Collection[AppID] | None = None) -> list[Volume]:
    """Return the volumes that are not destroyed, oldest first.

    Args:
        apps: only theirs; ``None`` means those of all, and of none.
    """
    which, values = of_apps("app", apps)
    sql = f"SELECT doc FROM volumes WHERE state != 'destroyed' AND {which} ORDER BY seq"
    return [rows.volume(text) for (text,) in fetch_all(db, sql, values)]


def known_volumes(db: Database, ids: Iterable[VolumeID]) -> set[VolumeID]:
    """Return those of these ids that are, or were, a volume's."""
    sql = "SELECT id FROM volumes WHERE id IN (SELECT value FROM json_each(?))"
    return {VolumeID(found) for (found,) in fetch_all(db, sql, (rows.doc(list(ids)),))}


def destroyed_volumes(db: Database, ids: Collection[VolumeID], apps: Collection[AppID] | None = None) -> list[Volume]:
    """Return those of these volumes that are destroyed, oldest first.

    Args:
        apps: only theirs; ``None`` means those of all, and of none.
    """
    if not ids:
        return []
    which, values = of_apps("app", apps)
    found = fetch_all(db, f"SELECT id FROM volumes WHERE state = 'destroyed' AND {which}", values)
    spent = [volume for (volume,) in found if volume in ids]
    sql = "SELECT doc FROM volumes WHERE id IN (SELECT value FROM json_each(?)) ORDER BY seq"
    return [rows.volume(text) for (text,) in fetch_all(db, sql, (rows.doc(spent),))]
