"""Routes, of an app or of all."""

from sqlite_utils import Database

from ...model import AppID, Route, RouteID, RouteType
from .. import rows
from .sql import fetch_all, fetch_one


def route(db: Database, app_id: AppID, kind: RouteType, route_id: RouteID) -> Route:
    sql = "SELECT doc FROM routes WHERE app = ? AND type = ? AND id = ?"
    return rows.route(fetch_one(db, "route", f"{kind}/{route_id}", sql, (app_id, kind, route_id))[0])


def routes(db: Database, app_id: AppID | None = None) -> list[Route]:
    """Return an app's routes, or those of every app."""
    if app_id is None:
        return [rows.route(text) for (text,) in fetch_all(db, "SELECT doc FROM routes ORDER BY seq DESC")]
    sql = "SELECT doc FROM routes WHERE app = ? ORDER BY seq DESC"
    return [rows.route(text) for (text,) in fetch_all(db, sql, (app_id,))]
