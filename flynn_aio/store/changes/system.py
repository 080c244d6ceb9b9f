"""Keeping the system apps true: what they say follows what this process is.

Every function here may run at every boot: it looks first and writes only what differs.
"""

import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from ...errors import Conflict, NotFound
from ...model import App, ArtifactID, ProcessType, Release, Route, RouteType, SystemApp, filled
from .. import queries, rows
from ..transaction import Transaction
from .apps import create_app
from .builtin import follow_release
from .releases import add_release, point_at_release
from .routes import create_route

logger = logging.getLogger(__name__)


def keep_system_app(
    tx: Transaction, part: SystemApp, *, env: Mapping[str, str], artifacts: Sequence[ArtifactID] | None = None
) -> None:
    """Give a part of this process its app, release and formation, as they are now.

    A user's app that has the name keeps it.

    Args:
        env: its variables; those a user may set are kept as they are.
        artifacts: what one-off jobs of it run in; ``None`` leaves what there is.
    """
    app = _app(tx, part)
    if app is None:
        logger.warning("a user's app has the name of a system app", extra={"app": part.name})
        return
    now = queries.release(tx.db, app.release) if app.release else None
    kept = {name: value for name, value in now.env.items() if name in part.settable} if now else {}
    wanted = Release(
        app_id=app.id,
        artifacts=list(artifacts) if artifacts is not None else now.artifacts if now else [],
        env={**env, **kept},
        processes={kind: filled(ProcessType()) for kind in part.types},
    )
    if now is None or (now.artifacts, now.env, now.processes) != (wanted.artifacts, wanted.env, wanted.processes):
        now = add_release(tx, wanted)
        point_at_release(tx, app, now)
    follow_release(tx, app.id, now.id)


def keep_own_route(tx: Transaction, part: SystemApp, domain: str) -> None:
    """Reserve a host of ours: a user's route to it is then an ordinary duplicate."""
    host = f"{part.label}.{domain}"
    if not part.label or tx.execute("SELECT 1 FROM routes WHERE domain = ?", (host,)):
        return
    route = Route(type=RouteType.HTTP, service=part.name, leader=False, created_at=None, updated_at=None, domain=host)
    try:
        app = queries.app(tx.db, part.name)
        create_route(tx, route, app.id)
    except (NotFound, Conflict) as exc:
        logger.warning("no route of our own", extra={"host": host, "error": exc.message})


def _app(tx: Transaction, part: SystemApp) -> App | None:
    """Return the app of a part, made if it is missing; ``None`` when a user's app has its name."""
    try:
        app = queries.app(tx.db, part.name)
    except NotFound:
        app = create_app(tx, App(name=part.name, meta=part.meta), route_domain=None)
        tx.execute("UPDATE apps SET builtin = 1 WHERE id = ?", (app.id,))
        return app
    if not queries.is_builtin(tx.db, app.id):
        return None
    if app.meta != (meta := {**app.meta, **part.meta}):
        app = replace(app, meta=meta, updated_at=tx.now)
        tx.execute("UPDATE apps SET doc = ? WHERE id = ?", (rows.doc(app), app.id))
        tx.emit("app", app.id, app, app=app.id)
    return app
