"""Changes to routes.

Source: `controller-api.md` §5.8, `router.md` §1.
"""

import re

from msgspec.structs import replace

from ...errors import Conflict, NotFound, ValidationError
from ...model import AppID, Certificate, Route, RouteID, RouteType, parent_ref, plain
from .. import queries, rows
from ..transaction import Transaction

TCP_POOL = range(3000, 3501)
RESERVED_PORTS = frozenset({80, 443})
_PATH = re.compile(r"/(?:.*/)?")
_DOMAIN = re.compile(r"\*|(?:\*\.)?[^\s/:*]+")


def create_route(tx: Transaction, route: Route, app_id: AppID) -> Route:
    """Create a route for an app. Its id, owner and times are ours, whatever the client sent.

    Raises:
        Conflict: the domain and path, or the port, are taken or reserved.
        ValidationError: it cannot be a route.
    """
    if not route.service:
        raise ValidationError("must not be empty", field="service")
    prepared = replace(
        _with_certificate(tx, route, None),
        id=RouteID(tx.new_id()),
        parent_ref=parent_ref(app_id),
        created_at=tx.now,
        updated_at=tx.now,
    )
    created = _http(tx, prepared) if route.type is RouteType.HTTP else _tcp(tx, prepared)
    tx.execute(
        "INSERT INTO routes (id, app, type, domain, path, port, service, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            created.id,
            app_id,
            created.type,
            created.domain,
            created.path,
            created.port,
            created.service,
            rows.doc(created),
        ),
    )
    tx.emit("route", created.id, created, app=app_id)
    return created


def update_route(tx: Transaction, app_id: AppID, route: Route) -> Route:
    """Change what of a route may change: service, leader, sticky, path, keep-alives, certificate, TCP port.

    A certificate that is not sent is kept.

    Raises:
        NotFound: no route of the app has this id and domain.
    """
    old = queries.route(tx.db, app_id, route.type, route.id)
    if route.domain.lower() != old.domain:
        raise NotFound(f"route {route.type}/{route.id} has another domain")
    if not route.service:
        raise ValidationError("must not be empty", field="service")
    wanted = replace(
        _with_certificate(tx, route, old.certificate),
        parent_ref=old.parent_ref,
        drain_backends=old.drain_backends,
        created_at=old.created_at,
        updated_at=tx.now,
    )
    updated = _http(tx, wanted, old) if route.type is RouteType.HTTP else _tcp(tx, wanted, old)
    tx.execute(
        "UPDATE routes SET path = ?, port = ?, service = ?, doc = ? WHERE id = ?",
        (updated.path, updated.port, updated.service, rows.doc(updated), updated.id),
    )
    tx.emit("route", updated.id, updated, app=app_id)
    return updated


def delete_route(tx: Transaction, app_id: AppID, kind: RouteType, route_id: RouteID) -> Route:
    """Remove a route.

    Raises:
        ValidationError: it is the root of a domain that has path routes.
    """
    route = queries.route(tx.db, app_id, kind, route_id)
    if route.type is RouteType.HTTP and route.path == "/":
        below = tx.execute("SELECT 1 FROM routes WHERE type = 'http' AND domain = ? AND path != '/'", (route.domain,))
        if below:
            raise ValidationError("Route has dependent routes")
    drop_route(tx, app_id, route)
    return route


def drop_route(tx: Transaction, app_id: AppID, route: Route) -> None:
    """Remove a route whatever depends on it."""
    tx.execute("DELETE FROM routes WHERE id = ?", (route.id,))
    tx.emit("route_deletion", route.id, route, app=app_id)


def _http(tx: Transaction, route: Route, old: Route | None = None) -> Route:
    domain, path = route.domain.lower(), route.path or "/"
    path = path if path.endswith("/") else path + "/"
    if route.port or not _PATH.fullmatch(path):
        raise ValidationError("Invalid route")
    if not _DOMAIN.fullmatch(domain):
        raise ValidationError("must be a host name, `*.` and a host name, or `*`", field="domain")
    same = tx.execute("SELECT doc FROM routes WHERE type = 'http' AND domain = ? AND path = ?", (domain, path))
    if same and (old is None or rows.route(same[0][0]).id != old.id):
        raise Conflict("Duplicate route", detail=plain(rows.route(same[0][0])))
    root = tx.execute("SELECT id FROM routes WHERE type = 'http' AND domain = ? AND path = '/'", (domain,))
    if path != "/" and (not root or (old is not None and root[0][0] == old.id)):
        raise ValidationError("Invalid route")
    siblings = tx.execute(
        "SELECT doc FROM routes WHERE type = 'http' AND service = ? AND id != ?", (route.service, route.id)
    )
    if any(rows.route(text).drain_backends != route.drain_backends for (text,) in siblings):
        raise ValidationError("Invalid route")
    return replace(route, domain=domain, path=path)


def _tcp(tx: Transaction, route: Route, old: Route | None = None) -> Route:
    if route.port in RESERVED_PORTS:
        raise Conflict("Port reserved for HTTP/HTTPS traffic")
    if not 0 <= route.port < 65535:
        raise ValidationError("must be between 1 and 65534", field="port")
    port = route.port or (old.port if old else _unused_port(tx))
    same = tx.execute("SELECT doc FROM routes WHERE type = 'tcp' AND port = ? AND id != ?", (port, route.id))
    if same:
        raise Conflict("Duplicate route", detail=plain(rows.route(same[0][0])))
    tx.execute("INSERT OR IGNORE INTO used_tcp_ports (port) VALUES (?)", (port,))
    return replace(route, port=port, domain="", path="", sticky=False)


def _unused_port(tx: Transaction) -> int:
    used = {port for (port,) in tx.execute("SELECT port FROM used_tcp_ports")}
    for port in TCP_POOL:
        if port not in used:
            return port
    raise Conflict(f"every port from {TCP_POOL[0]} to {TCP_POOL[-1]} was used already; name one with --port")


def _with_certificate(tx: Transaction, route: Route, old: Certificate | None) -> Route:
    """Fold the flat `tls_cert` and `tls_key` into `certificate`. Whether they match was checked before."""
    sent = route.certificate
    cert, key = (sent.cert, sent.key) if sent and sent.cert else (route.tls_cert, route.tls_key)
    cert, key = cert.strip(" \n"), key.strip(" \n")
    certificate = old
    if cert and not (old and old.cert == cert and old.key == key):
        certificate = Certificate(id=tx.new_id(), cert=cert, key=key, created_at=tx.now, updated_at=tx.now)
    return replace(route, certificate=certificate, tls_cert="", tls_key="")
