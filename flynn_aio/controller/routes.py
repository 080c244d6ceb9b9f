"""Every method and path of the API, who serves it and what key it needs: on one screen.

A ``:name`` stands for one segment and reaches the handler as `Request.params[name]`. Where
`upgrade` is given, the same request with ``Upgrade: flynn-attach/0`` goes there instead.

Source: `controller-api.md` §5; Flynn `controller/controller.go`, `appHandler`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from . import (
    apps,
    artifacts,
    deployments,
    events,
    formations,
    http_routes,
    jobs,
    log,
    misc,
    releases,
)
from .request import Handler, Parts, Request


class Auth(Enum):
    """Which requests a route takes."""

    KEY = "the cluster's key as Basic password"
    STREAM = "as `KEY`, or `?key=` in a browser, whose event streams cannot send headers"
    OPTIONAL = "no password, or a right one"
    NONE = "anybody"


@dataclass(frozen=True, slots=True)
class Endpoint:
    method: str
    path: str
    handler: Handler
    auth: Auth = Auth.KEY
    upgrade: Callable[[Parts, Request], Awaitable[jobs.OneOff]] | None = None


TABLE = (
    Endpoint("GET", "/ping", misc.ping, Auth.NONE),
    Endpoint("GET", "/.well-known/status", misc.status),
    Endpoint("GET", "/ca-cert", misc.ca_certificate, Auth.OPTIONAL),
    Endpoint("GET", "/apps", apps.list_all),
    Endpoint("POST", "/apps", apps.create),
    Endpoint("GET", "/apps/:app", apps.get),
    Endpoint("POST", "/apps/:app", apps.update),
    Endpoint("POST", "/apps/:app/meta", apps.update),
    Endpoint("DELETE", "/apps/:app", apps.delete),
    Endpoint("GET", "/apps/:app/log", log.get, Auth.STREAM),
    Endpoint("GET", "/artifacts", artifacts.list_all),
    Endpoint("POST", "/artifacts", artifacts.create),
    Endpoint("GET", "/artifacts/:artifact", artifacts.get),
    Endpoint("GET", "/releases", releases.list_all),
    Endpoint("POST", "/releases", releases.create),
    Endpoint("GET", "/releases/:release", releases.get),
    Endpoint("GET", "/apps/:app/releases", releases.list_of_app),
    Endpoint("DELETE", "/apps/:app/releases/:release", releases.delete),
    Endpoint("GET", "/apps/:app/release", releases.get_current),
    Endpoint("PUT", "/apps/:app/release", releases.set_current),
    Endpoint("GET", "/formations", formations.list_active),
    Endpoint("GET", "/apps/:app/formations", formations.list_of_app),
    Endpoint("GET", "/apps/:app/formations/:release", formations.get),
    Endpoint("PUT", "/apps/:app/formations/:release", formations.put),
    Endpoint("DELETE", "/apps/:app/formations/:release", formations.delete),
    Endpoint("PUT", "/apps/:app/scale/:release", formations.scale),
    Endpoint("GET", "/active-jobs", jobs.list_active),
    Endpoint("GET", "/apps/:app/jobs", jobs.list_of_app),
    Endpoint("POST", "/apps/:app/jobs", jobs.run, upgrade=jobs.prepare),
    Endpoint("GET", "/apps/:app/jobs/:job", jobs.get),
    Endpoint("DELETE", "/apps/:app/jobs/:job", jobs.kill),
    Endpoint("POST", "/apps/:app/deploy", deployments.create),
    Endpoint("GET", "/apps/:app/deployments", deployments.list_of_app),
    Endpoint("GET", "/deployments/:deployment", deployments.get),
    Endpoint("GET", "/routes", http_routes.list_all),
    Endpoint("GET", "/apps/:app/routes", http_routes.list_of_app),
    Endpoint("POST", "/apps/:app/routes", http_routes.create),
    Endpoint("GET", "/apps/:app/routes/:type/:route", http_routes.get),
    Endpoint("PUT", "/apps/:app/routes/:type/:route", http_routes.update),
    Endpoint("DELETE", "/apps/:app/routes/:type/:route", http_routes.delete),
    Endpoint("GET", "/events", events.get_many, Auth.STREAM),
    Endpoint("GET", "/events/:event", events.get),
)

_SHAPES: dict[tuple[str, int], list[tuple[list[str], Endpoint]]] = {}
for _endpoint in TABLE:
    _segments = _endpoint.path.split("/")
    _SHAPES.setdefault((_endpoint.method, len(_segments)), []).append((_segments, _endpoint))


def find(method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
    """Return who serves a path (as sent, percent-encoded) and what its ``:names`` stand for."""
    sent = path.split("/")
    for segments, endpoint in _SHAPES.get((method, len(sent)), ()):
        params = {name[1:]: unquote(value) for name, value in zip(segments, sent, strict=True) if name[:1] == ":"}
        literal = all(name[:1] == ":" or name == value for name, value in zip(segments, sent, strict=True))
        if literal and all(params.values()):
            return endpoint, params
    return None
