"""`flynn route`: under which names and ports an app answers.

Source: `cli.md` §5.5; Flynn `cli/route.go`.
"""

import re
import sys
from typing import Any
from urllib.parse import urlsplit

from .client import part
from .failure import Failure
from .number import whole
from .render import quoted, table
from .session import Session
from .talk import show, show_json, show_raw
from .usage import Args

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n.*?-----END \1-----\n?", re.DOTALL)


def route(args: Args, session: Session) -> None:
    """usage: flynn route [--json]
           flynn route add http [-s <service>] [-p <port>] [-c <tls-cert> -k <tls-key>] [--sticky] [--leader]
               [--no-leader] [--no-drain-backends] [--disable-keep-alives] <domain>
           flynn route add tcp [-s <service>] [-p <port>] [--leader] [--no-drain-backends]
           flynn route update <id> [-s <service>] [-c <tls-cert> -k <tls-key>] [--sticky] [--no-sticky] [--leader]
               [--no-leader] [--disable-keep-alives] [--enable-keep-alives]
           flynn route remove <id>

    Manage the app's routes. Without arguments, lists them.

    Options:
        -s, --service=<service>    service to route to (default: APPNAME-web)
        -c, --tls-cert=<tls-cert>  file with the certificate in PEM form, - for stdin (http only)
        -k, --tls-key=<tls-key>    file with the private key in PEM form, - for stdin (http only)
        -p, --port=<port>          port to listen on
        --json                     as JSON: the controller's own objects, without certificates and keys
        --sticky                   keep a client on one backend with a cookie (http only)
        --no-sticky                do not (update http only)
        --leader                   route to the service's leader only
        --no-leader                route to all of its instances
        --no-drain-backends        stop backends without waiting for requests in flight
        --disable-keep-alives      use a new connection to the backend for each request
        --enable-keep-alives       use connections again, as new routes do

    Examples:

        $ flynn route add http example.com
        http/667221ce-5a6e-4b1f-a3a8-4ad3c9b8d1e0

        $ flynn route add http -c site.pem -k site.key example.com/path/

        $ flynn route add tcp --service shop-db
        tcp/5e9ab5a4-4f43-4d44-8b4f-0f0d0c1f8d1c listening on port 3000
    """
    match args.words:
        case ("add", "http"):
            _add_http(args, session)
        case ("add", _):
            _add_tcp(args, session)
        case ("update",):
            _update(args, session)
        case ("remove",):
            route_id = args.text("<id>")
            session.client.delete(_path(session, route_id))
            show(f"Route {route_id} removed.")
        case _:
            _list(session, as_json=args.flag("--json"))


def _list(session: Session, *, as_json: bool) -> None:
    routes = session.client.get(f"/apps/{part(session.app)}/routes")
    if as_json:
        show_json([_without_secrets(each) for each in routes])
        return
    show_raw(table([("ROUTE", "SERVICE", "ID", "STICKY", "LEADER", "PATH"), *map(_row, routes)]))


def _without_secrets(route: dict[str, Any]) -> dict[str, Any]:
    """Return the route without what nobody wants in a terminal's history; whether it has a certificate stays."""
    shown = {key: value for key, value in route.items() if key not in ("certificate", "tls_cert", "tls_key")}
    certificate = route.get("certificate")
    if certificate:
        shown["certificate"] = {key: value for key, value in certificate.items() if key not in ("cert", "key")}
    return shown


def _row(route: dict[str, Any]) -> tuple[str, ...]:
    port, leader = route.get("port") or 0, _yes_no(route.get("leader"))
    if route["type"] == "tcp":
        return f"tcp:{port}", route["service"], _id(route), "", leader, ""
    scheme = "https" if route.get("certificate") or route.get("tls_cert") else "http"
    name = f"{scheme}:{route.get('domain', '')}" + (f":{port}" if port else "")
    return name, route["service"], _id(route), _yes_no(route.get("sticky")), leader, route.get("path", "")


def _yes_no(value: object) -> str:
    return "true" if value else "false"


def _id(route: dict[str, Any]) -> str:
    return f"{route['type']}/{route['id']}"


def _path(session: Session, route_id: str) -> str:
    kind, _, uuid = route_id.partition("/")
    if kind not in ("http", "tcp") or not uuid:
        raise Failure(
            f"Route type {kind} not supported.",
            hint="an id is like http/<uuid> or tcp/<uuid>: 'flynn route' lists them",
        )
    return f"/apps/{part(session.app)}/routes/{part(kind)}/{part(uuid)}"


def _add_http(args: Args, session: Session) -> None:
    app, domain = session.app, args.text("<domain>")
    try:
        parts = urlsplit(f"http://{domain}")
    except ValueError:
        raise Failure(f"Failed to parse {domain} as URL", hint="it is like example.com or example.com/path/") from None
    wish = {
        **_new(args, app, "http"),
        **_certificate(args),
        "domain": parts.netloc,
        "path": parts.path,
        "sticky": args.flag("--sticky"),
        "disable_keep_alives": args.flag("--disable-keep-alives"),
    }
    created = session.client.post(
        f"/apps/{part(app)}/routes", {key: value for key, value in wish.items() if value != ""}
    )
    show(_id(created))


def _add_tcp(args: Args, session: Session) -> None:
    app = session.app
    created = session.client.post(f"/apps/{part(app)}/routes", _new(args, app, "tcp"))
    show(f"{_id(created)} listening on port {created.get('port', 0)}")


def _new(args: Args, app: str, kind: str) -> dict[str, Any]:
    """Return what all new routes have."""
    port = whole(args.value("--port") or "0")
    if port is None:
        raise Failure(f"invalid port: {quoted(args.value('--port'))}", hint="it is a number, like 3000")
    return {
        "type": kind,
        "service": args.value("--service") or f"{app}-web",
        "leader": args.flag("--leader"),
        "port": port,
        "drain_backends": not args.flag("--no-drain-backends"),
        "created_at": "0001-01-01T00:00:00Z",
        "updated_at": "0001-01-01T00:00:00Z",
    }


def _update(args: Args, session: Session) -> None:
    """Fetch the route, change what was asked for, and send it back whole."""
    route_id = args.text("<id>")
    path = _path(session, route_id)
    client, service = session.client, args.value("--service")
    changed = client.get(path)
    tcp = changed["type"] == "tcp"
    if tcp and not service:
        raise Failure("No service name given", hint="-s <service> names it; a tcp route has nothing else to update")
    if service:
        changed["service"] = service
    if not tcp:
        changed.pop("certificate", None)  # an absent one stays as it is
        changed |= _certificate(args)
        _switch(changed, "sticky", on=args.flag("--sticky"), off=args.flag("--no-sticky"))
        _switch(
            changed,
            "disable_keep_alives",
            on=args.flag("--disable-keep-alives"),
            off=args.flag("--enable-keep-alives"),
        )
    _switch(changed, "leader", on=args.flag("--leader"), off=args.flag("--no-leader"))
    updated = client.put(path, changed)
    show(f"{_id(updated)} listening on port {updated.get('port', 0)}" if tcp else f"updated {_id(updated)}")


def _switch(route: dict[str, Any], key: str, *, on: bool, off: bool) -> None:
    if on or off:
        route[key] = on


def _certificate(args: Args) -> dict[str, str]:
    """Return the certificate and key the options name; nothing when they name none."""
    cert, key = args.value("--tls-cert"), args.value("--tls-key")
    if not cert and not key:
        return {}
    if not cert or not key:
        missing = "-k <file> names the key" if cert else "-c <file> names the certificate"
        raise Failure("Both the TLS certificate AND private key need to be specified", hint=missing)
    stdin = sys.stdin.read() if "-" in (cert, key) and sys.stdin else ""
    return {
        "tls_cert": _pem(cert, "CERTIFICATE", stdin, "cert"),
        "tls_key": _pem(key, "PRIVATE KEY", stdin, "key"),
    }


def _pem(file: str, kind: str, stdin: str, what: str) -> str:
    """Return a PEM file's text; from stdin only the blocks whose type ends in `kind`: ``RSA PRIVATE KEY`` is a key."""
    if file != "-":
        try:
            with open(file, encoding="utf-8") as source:
                return source.read()
        except (OSError, UnicodeDecodeError) as exc:
            why = (exc.strerror or "").lower() if isinstance(exc, OSError) else "not a PEM file"
            raise Failure(f"Failed to read TLS {what}: open {file}: {why}") from exc
    blocks = [
        match[0].rstrip("\n") + "\n" for match in _PEM.finditer(stdin.replace("\r\n", "\n")) if match[1].endswith(kind)
    ]
    if not blocks:
        raise Failure(
            f"Failed to read TLS {what}: No PEM blocks found in stdin", hint=f"one that ends in {kind} is missing"
        )
    return "".join(blocks)
