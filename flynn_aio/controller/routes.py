"""Every method and path of the API, who serves it, what it takes and gives and what key it needs: on one screen.

A ``:name`` stands for one segment and reaches the handler as `Request.params[name]`. Where
`upgrade` is given, the same request with ``Upgrade: flynn-attach/0`` goes there instead.
`takes` and `gives` are the types of the bodies, as `shape` tells; `params` is what may be asked
for beside the path.

Source: `controller-api.md` §5; Flynn `controller/controller.go`, `appHandler`.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from urllib.parse import unquote

from ..model import (
    App,
    Artifact,
    Deployment,
    DomainMigration,
    Event,
    Formation,
    ImageLayer,
    ImageManifest,
    Job,
    Key,
    NewJob,
    Provider,
    Release,
    Resource,
    ResourceReq,
    Route,
    ScaleRequest,
    Sink,
    Volume,
)
from . import (
    apps,
    artifacts,
    backup,
    catchup,
    cluster,
    deployments,
    docs,
    events,
    formations,
    http_routes,
    images,
    jobs,
    keys,
    log,
    misc,
    providers,
    releases,
    resources,
    sinks,
    volumes,
)
from .request import Handler, Parts, Request, StatusReply
from .shape import GzippedTar, Html, Param, Pem, Tar
from .wire import (
    AppRequest,
    AppUpdateRequest,
    ArtifactRequest,
    DomainMigrationRequest,
    FormationRequest,
    JobRequest,
    ProviderRequest,
    ReleaseRef,
    ReleaseRequest,
    ResourceRequest,
    RouteRequest,
    ScaleRequestBody,
    SinkRequest,
    VolumeRequest,
)


class Auth(Enum):
    """Which requests a route takes."""

    KEY = "the cluster's key as Basic password"
    STREAM = "as `KEY`, or `?key=` in a browser, whose event streams cannot send headers"
    OPTIONAL = "no password, or a right one"
    NONE = "anybody"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table.

    Attributes:
        takes: the struct of the body; ``None`` when none is read.
        gives: what a 200 has in it, see `shape`; ``None`` when it is empty.
        unwell: what a 500 has in it, where that is more than an error.
        params: what may be asked for in the query or in headers.
        streams: the handler reads the body itself, piece by piece: it may be of any length.
        also: statuses beside those every route of its kind may answer with.
    """

    method: str
    path: str
    handler: Handler
    auth: Auth = Auth.KEY
    _: KW_ONLY
    takes: object = None
    gives: object
    unwell: object = None
    params: tuple[Param, ...] = ()
    also: tuple[int, ...] = ()
    upgrade: Callable[[Parts, Request], Awaitable[jobs.OneOff]] | None = None
    streams: bool = False


TABLE = (
    Endpoint("GET", "/ping", misc.ping, Auth.NONE, gives=None),
    Endpoint("GET", "/.well-known/status", misc.status, gives=StatusReply, unwell=StatusReply),
    Endpoint("GET", "/ca-cert", misc.ca_certificate, Auth.OPTIONAL, gives=Pem),
    Endpoint("GET", "/backup", backup.get, gives=backup.GIVES, also=(404, 409)),
    Endpoint("PUT", "/domain", cluster.migrate_domain, takes=DomainMigrationRequest, gives=DomainMigration),
    Endpoint("GET", "/openapi.json", docs.openapi, Auth.NONE, gives=dict[str, object]),
    Endpoint("GET", "/docs", docs.page, Auth.NONE, gives=Html),
    Endpoint("GET", "/apps", apps.list_all, gives=list[App]),
    Endpoint("POST", "/apps", apps.create, takes=AppRequest, gives=App),
    Endpoint("GET", "/apps/:app", apps.get, gives=App),
    Endpoint("POST", "/apps/:app", apps.update, takes=AppUpdateRequest, gives=App),
    Endpoint("POST", "/apps/:app/meta", apps.update, takes=AppUpdateRequest, gives=App),
    Endpoint("DELETE", "/apps/:app", apps.delete, gives=None),
    Endpoint("POST", "/apps/:app/gc", apps.collect, gives=None),
    Endpoint("GET", "/apps/:app/log", log.get, Auth.STREAM, gives=log.GIVES, params=log.PARAMS),
    Endpoint("GET", "/artifacts", artifacts.list_all, gives=list[Artifact]),
    Endpoint("POST", "/artifacts", artifacts.create, takes=ArtifactRequest, gives=Artifact),
    Endpoint("GET", "/artifacts/:artifact", artifacts.get, gives=Artifact),
    Endpoint("GET", "/releases", releases.list_all, gives=list[Release]),
    Endpoint("POST", "/releases", releases.create, takes=ReleaseRequest, gives=Release),
    Endpoint("GET", "/releases/:release", releases.get, gives=Release),
    Endpoint("GET", "/apps/:app/releases", releases.list_of_app, gives=list[Release]),
    Endpoint("DELETE", "/apps/:app/releases/:release", releases.delete, gives=None),
    Endpoint("GET", "/apps/:app/release", releases.get_current, gives=Release),
    Endpoint("PUT", "/apps/:app/release", releases.set_current, takes=ReleaseRef, gives=Release),
    Endpoint(
        "GET", "/formations", formations.list_many, Auth.STREAM, gives=formations.LIST, params=formations.LIST_PARAMS
    ),
    Endpoint("GET", "/apps/:app/formations", formations.list_of_app, gives=list[Formation]),
    Endpoint("GET", "/apps/:app/formations/:release", formations.get, gives=formations.GIVES, params=formations.PARAMS),
    Endpoint("PUT", "/apps/:app/formations/:release", formations.put, takes=FormationRequest, gives=Formation),
    Endpoint("DELETE", "/apps/:app/formations/:release", formations.delete, gives=None),
    Endpoint("PUT", "/apps/:app/scale/:release", formations.scale, takes=ScaleRequestBody, gives=ScaleRequest),
    Endpoint("GET", "/active-jobs", jobs.list_active, gives=list[Job]),
    Endpoint("GET", "/apps/:app/jobs", jobs.list_of_app, gives=list[Job]),
    Endpoint("POST", "/apps/:app/jobs", jobs.run, takes=NewJob, gives=Job, upgrade=jobs.prepare),
    Endpoint("GET", "/apps/:app/jobs/:job", jobs.get, gives=Job),
    Endpoint("PUT", "/apps/:app/jobs/:job", jobs.put, takes=JobRequest, gives=Job),
    Endpoint("DELETE", "/apps/:app/jobs/:job", jobs.kill, gives=None),
    Endpoint("POST", "/apps/:app/deploy", deployments.create, takes=ReleaseRef, gives=Deployment),
    Endpoint("GET", "/apps/:app/deployments", deployments.list_of_app, gives=list[Deployment]),
    Endpoint("GET", "/deployments/:deployment", deployments.get, gives=Deployment),
    Endpoint("GET", "/providers", providers.list_all, gives=list[Provider]),
    Endpoint("POST", "/providers", providers.create, takes=ProviderRequest, gives=Provider),
    Endpoint("GET", "/providers/:provider", providers.get, gives=Provider),
    Endpoint("DELETE", "/providers/:provider", providers.delete, gives=Provider),
    Endpoint("GET", "/resources", resources.list_all, gives=list[Resource]),
    Endpoint("GET", "/apps/:app/resources", resources.list_of_app, gives=list[Resource]),
    Endpoint("GET", "/providers/:provider/resources", resources.list_of_provider, gives=list[Resource]),
    Endpoint(
        "POST", "/providers/:provider/resources", resources.create, takes=ResourceReq, gives=Resource, also=(412,)
    ),
    Endpoint("GET", "/providers/:provider/resources/:resource", resources.get, gives=Resource),
    Endpoint("PUT", "/providers/:provider/resources/:resource", resources.put, takes=ResourceRequest, gives=Resource),
    Endpoint(
        "DELETE",
        "/providers/:provider/resources/:resource",
        resources.delete,
        gives=Resource,
        params=resources.FORGET,
        also=(412,),
    ),
    Endpoint("PUT", "/providers/:provider/resources/:resource/apps/:app", resources.add_app, gives=Resource),
    Endpoint("DELETE", "/providers/:provider/resources/:resource/apps/:app", resources.remove_app, gives=Resource),
    Endpoint("GET", "/routes", http_routes.list_all, gives=list[Route]),
    Endpoint("GET", "/apps/:app/routes", http_routes.list_of_app, gives=list[Route]),
    Endpoint("POST", "/apps/:app/routes", http_routes.create, takes=RouteRequest, gives=Route),
    Endpoint("GET", "/apps/:app/routes/:type/:route", http_routes.get, gives=Route),
    Endpoint("PUT", "/apps/:app/routes/:type/:route", http_routes.update, takes=RouteRequest, gives=Route),
    Endpoint("DELETE", "/apps/:app/routes/:type/:route", http_routes.delete, gives=None),
    Endpoint("GET", "/sinks", sinks.list_all, Auth.STREAM, gives=sinks.GIVES, params=(catchup.SINCE,)),
    Endpoint("POST", "/sinks", sinks.create, takes=SinkRequest, gives=Sink),
    Endpoint("GET", "/sinks/:sink", sinks.get, gives=Sink),
    Endpoint("DELETE", "/sinks/:sink", sinks.delete, gives=Sink),
    Endpoint("GET", "/volumes", volumes.list_all, Auth.STREAM, gives=volumes.GIVES, params=(catchup.SINCE,)),
    Endpoint("PUT", "/volumes/:volume", volumes.put, takes=VolumeRequest, gives=Volume),
    Endpoint("GET", "/apps/:app/volumes", volumes.list_of_app, gives=list[Volume]),
    Endpoint("GET", "/apps/:app/volumes/:volume", volumes.get, gives=Volume),
    Endpoint(
        "PUT", "/apps/:app/volumes/:volume/decommission", volumes.decommission, takes=VolumeRequest, gives=VolumeRequest
    ),
    Endpoint("GET", "/keys", keys.list_all, gives=list[keys.KeyUse]),
    Endpoint("POST", "/keys", keys.create, takes=keys.KeyRequest, gives=Key),
    Endpoint("GET", "/keys/failures", keys.list_failures, gives=list[keys.KeyFailures]),
    Endpoint("DELETE", "/keys/:key", keys.delete, gives=Key),
    Endpoint("GET", "/events", events.get_many, Auth.STREAM, gives=events.GIVES, params=events.PARAMS),
    Endpoint("GET", "/events/:event", events.get, gives=Event),
)

IMAGES = (
    Endpoint("GET", "/openapi.json", docs.openapi, Auth.NONE, gives=dict[str, object]),
    Endpoint("GET", "/docs", docs.page, Auth.NONE, gives=Html),
    Endpoint("GET", "/layer/:layer", images.get_layer, gives=ImageLayer),
    Endpoint("GET", "/layer/:layer/tar", images.get_tar, gives=Tar),
    Endpoint("POST", "/layer/:layer", images.create_layer, takes=Tar, gives=ImageLayer, streams=True),
    Endpoint("POST", "/artifact", images.create_artifact, takes=ImageManifest, gives=Artifact),
    Endpoint("GET", "/slug/:slug", images.get_slug, gives=GzippedTar),
    Endpoint(
        "POST",
        "/slug",
        images.create_slug,
        takes=GzippedTar,
        gives=list[Artifact],
        params=(images.RUNNER,),
        streams=True,
    ),
)
"""The image service's own, behind another host name."""

Find = Callable[[str, str], tuple[Endpoint, dict[str, str]] | None]
"""Return who serves a method and path (as sent, percent-encoded) and what the ``:names`` stand for."""


def finder(table: Iterable[Endpoint]) -> Find:
    shapes: dict[tuple[str, int], list[tuple[list[str], Endpoint]]] = {}
    for endpoint in table:
        segments = endpoint.path.split("/")
        shapes.setdefault((endpoint.method, len(segments)), []).append((segments, endpoint))

    def find(method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        sent = path.split("/")
        for segments, endpoint in shapes.get((method, len(sent)), ()):
            params = {name[1:]: unquote(value) for name, value in zip(segments, sent, strict=True) if name[:1] == ":"}
            literal = all(name[:1] == ":" or name == value for name, value in zip(segments, sent, strict=True))
            if literal and all(params.values()):
                return endpoint, params
        return None

    return find


find = finder(TABLE)
find_image = finder(IMAGES)
