"""Deployments, finished or not."""

from sqlite_utils import Database

from ...model import AppID, Deployment, DeploymentID
from .. import rows
from .sql import fetch_all, fetch_one


def deployment(db: Database, deployment_id: str) -> Deployment:
    sql = "SELECT doc FROM deployments WHERE id = ?"
    return rows.deployment(fetch_one(db, "deployment", deployment_id, sql, (deployment_id,))[0])


def deployments(db: Database, app_id: AppID) -> list[Deployment]:
    """Return the deployments an app ever had, newest first, without what only one alone tells."""
    sql = "SELECT json_remove(doc, '$.steps', '$.failure') FROM deployments WHERE app = ? ORDER BY seq DESC"
    return [rows.deployment(text) for (text,) in fetch_all(db, sql, (app_id,))]


def unfinished_deployment(db: Database, app_id: AppID) -> DeploymentID | None:
    found = fetch_all(db, "SELECT id FROM deployments WHERE app = ? AND NOT finished", (app_id,))
    return DeploymentID(found[0][0]) if found else None
