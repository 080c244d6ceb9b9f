"""Route: which requests belong to which service. And the certificate they are served with."""

from enum import StrEnum

from msgspec import Struct, field

from .ids import AppID, RouteID
from .json import Time


class RouteType(StrEnum):
    HTTP = "http"
    TCP = "tcp"


class Certificate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A PEM chain, leaf first, and its private key."""

    id: str = ""
    routes: list[str] = field(default_factory=list)
    cert: str = ""
    key: str = ""
    created_at: Time | None = None
    updated_at: Time | None = None


class Route(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A route as the API shows it.

    Attributes:
        parent_ref: `controller/apps/<app uuid>`.
        port: TCP listen port; 0 for HTTP.
        path: ends in ``/``; HTTP only.
    """

    type: RouteType
    id: RouteID = RouteID("")
    parent_ref: str = ""
    service: str
    port: int = 0
    leader: bool
    created_at: Time | None
    updated_at: Time | None
    domain: str = ""
    path: str = ""
    sticky: bool = False
    certificate: Certificate | None = None
    tls_cert: str = ""
    tls_key: str = ""
    drain_backends: bool = False
    disable_keep_alives: bool = False


def parent_ref(app: AppID) -> str:
    """Return how a route names the app it belongs to."""
    return f"controller/apps/{app}"
