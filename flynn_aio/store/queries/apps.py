"""Apps that are not deleted, and those that are about to be."""

from sqlite_utils import Database

from ...model import App, AppID, as_uuid
from .. import rows
from .sql import fetch_all, fetch_one


def app(db: Database, id_or_name: str) -> App:
    """Return a live app by id (when the text is one) or by name.

    Raises:
        NotFound: there is none, or it was deleted.
    """
    column, value = ("id", as_id) if (as_id := as_uuid(id_or_name)) else ("name", id_or_name)
    sql = f"SELECT doc FROM apps WHERE {column} = ? AND deleted_at IS NULL"
    return rows.app(fetch_one(db, "app", id_or_name, sql, (value,))[0])


def is_builtin(db: Database, app_id: AppID) -> bool:
    """Tell whether an app is a part of this process: see `model.system`."""
    return bool(fetch_all(db, "SELECT 1 FROM apps WHERE id = ? AND builtin", (app_id,)))


def apps(db: Database) -> list[App]:
    return [
        rows.app(text) for (text,) in fetch_all(db, "SELECT doc FROM apps WHERE deleted_at IS NULL ORDER BY seq DESC")
    ]


def apps_json(db: Database) -> bytes:
    """Return the JSON of `apps`, made of what is stored: a thousand apps need not be taken apart on the way."""
    docs = fetch_all(db, "SELECT doc FROM apps WHERE deleted_at IS NULL ORDER BY seq DESC")
    return f"[{','.join(text for (text,) in docs)}]".encode()


def app_deletions(db: Database) -> list[AppID]:
    """Return the apps that are being deleted and still have resources, or had a moment ago."""
    return [AppID(found) for (found,) in fetch_all(db, "SELECT app FROM app_deletions ORDER BY app")]
