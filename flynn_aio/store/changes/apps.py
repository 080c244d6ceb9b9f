"""Changes to apps."""

import logging
import random
from collections.abc import Sequence

from msgspec.structs import replace

from ...errors import Conflict, FlynnError, ObjectExists, ValidationError
from ...model import (
    DEFAULT_DEPLOY_TIMEOUT_S,
    GC_DEFAULT,
    GC_META,
    SYSTEM_APPS,
    App,
    AppDeletion,
    AppDeletionEvent,
    AppID,
    Resource,
    Route,
    RouteType,
    Strategy,
    as_uuid,
    is_app_name,
    plain,
    web_service,
)
from .. import queries, rows
from ..transaction import Transaction
from .builtin import refuse_builtin
from .deployments import abandon_deployment
from .formations import drop_formation
from .jobs import stop_one_off_jobs
from .releases import drop_orphaned_releases
from .resources import end_app_deletion, remove_resource_app
from .routes import create_route, drop_route
from .volumes import destroy_volumes_of_app

logger = logging.getLogger(__name__)

ANIMALS = ("badger", "crane", "dingo", "egret", "ferret", "gibbon", "heron", "ibis", "koala", "lynx", "otter", "quail")
VERBS = ("bakes", "climbs", "dances", "floats", "glides", "hums", "jumps", "knits", "leaps", "paints", "sails", "swims")
TOWNS = ("arles", "bergen", "cork", "dover", "evora", "fargo", "ghent", "izmir", "kyoto", "lisbon", "nantes", "porto")
"""What a generated name is made of: animal-verb-town."""


def create_app(tx: Transaction, app: App, *, route_domain: str | None) -> App:
    """Create an app with its defaults and, unless it is a system app, its default route.

    Args:
        app: `id` and `name` are chosen when empty.
        route_domain: the cluster's domain, for the route ``<name>.<domain>``.

    Raises:
        ValidationError: the name or the id cannot be one.
        ObjectExists: a live app has the name, or any app had the id.
    """
    app_id = AppID(app.id or tx.new_id())
    if as_uuid(app_id) is None:
        raise ValidationError("must be a UUID", field="id")
    name = app.name or _unused_name(tx, app_id)
    if not is_app_name(name):
        raise ValidationError("is invalid", field="name")
    if tx.execute("SELECT 1 FROM apps WHERE name = ? AND deleted_at IS NULL", (name,)):
        raise ObjectExists(f'application "{name}" already exists')
    if tx.execute("SELECT 1 FROM apps WHERE id = ?", (app_id,)):
        raise ObjectExists(f'application "{app_id}" already exists')
    created = App(
        id=app_id,
        name=name,
        meta={GC_META: GC_DEFAULT} | app.meta,
        strategy=app.strategy or Strategy.ALL_AT_ONCE,
        deploy_timeout=app.deploy_timeout or DEFAULT_DEPLOY_TIMEOUT_S,
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.execute("INSERT INTO apps (id, name, doc) VALUES (?, ?, ?)", (app_id, name, rows.doc(created)))
    tx.emit("app", app_id, created, app=app_id)
    if route_domain and not created.is_system:
        _create_default_route(tx, created, route_domain)
    return created


def _create_default_route(tx: Transaction, app: App, domain: str) -> None:
    route = Route(
        type=RouteType.HTTP,
        service=web_service(app.name, "web"),
        leader=False,
        created_at=None,
        updated_at=None,
        domain=f"{app.name}.{domain}",
        drain_backends=True,
    )
    try:
        create_route(tx, route, app.id)
    except FlynnError as exc:  # somebody else's route has the domain: the app is still worth having
        logger.warning("no default route", extra={"app": app.id, "error": str(exc)})


def _unused_name(tx: Transaction, seed: str) -> str:
    choose = random.Random(seed)
    name = "-".join(choose.choice(words) for words in (ANIMALS, VERBS, TOWNS))
    while tx.execute("SELECT 1 FROM apps WHERE name = ? AND deleted_at IS NULL", (name,)):
        name += f"-{choose.randrange(10)}"
    return name


def update_app(
    tx: Transaction,
    app_id: AppID,
    *,
    meta: dict[str, str] | None = None,
    strategy: Strategy | None = None,
    deploy_timeout: int | None = None,
) -> App:
    """Change an app's settings; ``None`` leaves one as it is, `meta` replaces the whole map.

    Args:
        deploy_timeout: seconds, at least 1.
    """
    old = queries.app(tx.db, app_id)
    if meta is not None and queries.is_builtin(tx.db, app_id):
        meta = meta | SYSTEM_APPS[old.name].meta  # what tells clients to leave it alone
    updated = replace(
        old,
        meta=old.meta if meta is None else meta,
        strategy=strategy or old.strategy,
        deploy_timeout=old.deploy_timeout if deploy_timeout is None else deploy_timeout,
        updated_at=tx.now,
    )
    _save(tx, updated)
    tx.emit("app", app_id, updated, app=app_id)
    return updated


def delete_app(tx: Transaction, app_id: AppID, *, deprovisioned: Sequence[Resource] = ()) -> AppDeletion:
    """Delete an app and all that is only its own; the scheduler then stops its jobs.

    The name can be used again at once. Its volumes go, with all that is in them. Jobs and
    events stay for the record, and a release that another app uses stays until that one is deleted as well.

    Args:
        deprovisioned: the app's own resources, which were given back before.

    Raises:
        Conflict: the app has resources of its own, which nobody would know of any more.
        ValidationError: it is a part of this process.
    """
    refuse_builtin(tx, app_id, "deleted")
    app = queries.app(tx.db, app_id)
    if own := queries.own_resources(tx.db, app_id):
        raise Conflict(f"app {app.name} has resources of its own, which must be given back first: {own[0].id}")
    for resource in queries.app_resources(tx.db, app_id):
        remove_resource_app(tx, resource, app_id)
    end_app_deletion(tx, app_id)
    abandon_deployment(tx, app_id, f"app {app.name} was deleted")
    routes = queries.routes(tx.db, app_id)
    for route in sorted(routes, key=lambda route: route.path == "/"):  # a domain's root route goes last
        drop_route(tx, app_id, route)
    for formation in queries.formations(tx.db, app_id):
        drop_formation(tx, app_id, formation.release)
    stop_one_off_jobs(tx, app_id)  # a job is killed by way of its app
    destroy_volumes_of_app(tx, app_id)
    gone = replace(app, release=None, updated_at=tx.now)
    tx.execute("UPDATE apps SET deleted_at = ?, doc = ? WHERE id = ?", (str(tx.now), rows.doc(gone), app_id))
    releases = drop_orphaned_releases(tx)
    deletion = AppDeletion(
        app=app_id,
        deleted_routes=[plain(route) for route in routes],
        deleted_resources=[plain(resource) for resource in deprovisioned],
        deleted_releases=[plain(release) for release in releases],
    )
    tx.emit("app_deletion", app_id, AppDeletionEvent(app_deletion=deletion), app=app_id)
    return deletion


def fail_app_deletion(tx: Transaction, app_id: AppID, error: str, *, deprovisioned: Sequence[Resource]) -> None:
    """Give up deleting an app, and tell those who wait for it why; the app goes on with what it still has.

    Args:
        deprovisioned: what was given back already.
    """
    end_app_deletion(tx, app_id)
    deletion = AppDeletion(app=app_id, deleted_resources=[plain(resource) for resource in deprovisioned])
    tx.emit("app_deletion", app_id, AppDeletionEvent(app_deletion=deletion, error=error), app=app_id)


def _save(tx: Transaction, app: App) -> None:
    tx.execute("UPDATE apps SET doc = ? WHERE id = ?", (rows.doc(app), app.id))
