"""Routes, with their certificate as clients of either age send it."""

from msgspec import Struct

from ...model import Certificate, Route, RouteType
from .checks import one_of


class CertificateRequest(Struct, frozen=True, kw_only=True):
    cert: str = ""
    key: str = ""


class RouteRequest(Struct, frozen=True, kw_only=True):
    type: str = ""
    service: str = ""
    port: int = 0
    leader: bool = False
    domain: str = ""
    path: str = ""
    sticky: bool = False
    certificate: CertificateRequest | None = None
    tls_cert: str = ""
    tls_key: str = ""
    drain_backends: bool = False
    disable_keep_alives: bool = False


def new_route(sent: RouteRequest) -> Route:
    """Check the form of a route. Its id, owner and times are for the store to say."""
    pair = sent.certificate or CertificateRequest(cert=sent.tls_cert, key=sent.tls_key)
    has_pair = bool(pair.cert or pair.key)
    return Route(
        type=RouteType(one_of(sent.type, RouteType, field="type")),
        service=sent.service,
        port=sent.port,
        leader=sent.leader,
        created_at=None,
        updated_at=None,
        domain=sent.domain,
        path=sent.path,
        sticky=sent.sticky,
        certificate=Certificate(cert=pair.cert.strip(), key=pair.key.strip()) if has_pair else None,
        drain_backends=sent.drain_backends,
        disable_keep_alives=sent.disable_keep_alives,
    )
