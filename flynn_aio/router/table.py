"""Table: which route a request belongs to. Pure; built whole from the rows, never edited.

A domain that is present decides alone, even when none of its paths match: only unknown domains
fall through to wildcards, from the most specific one on, and then to the catch-all ``*``.

Source: `router.md` §3; Flynn `router/http.go`, `findRoute`; `router/tree.go`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from ..model import Route, RouteType

MAX_PIECES = 5
"""A host is cut into at most so many pieces while wildcards are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypair:
    """A certificate chain and its private key, PEM."""

    cert: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a route leads: what the hot path needs of it.

    Attributes:
        drains: whether a job of the service may only be stopped when its requests have ended.
        reuses: whether connections to the backends are kept for further requests.
    """

    route_id: str
    service: str
    leader: bool = False
    sticky: bool = False
    drains: bool = False
    reuses: bool = True


@dataclass(slots=True)
class _Node:
    """One segment of the paths of a domain."""

    target: Target | None = None
    below: dict[bytes, "_Node"] = field(default_factory=dict)


@dataclass(slots=True)
class Site:
    """One domain on one port: its path tree, and the certificate its ``/`` route has."""

    root: _Node = field(default_factory=_Node)
    keypair: Keypair | None = None

    def find(self, path: bytes) -> Target | None:
        """Return the target of the longest path that `path` begins with, whole segments only."""
        node = self.root
        found = node.target
        if node.below:
            for segment in segments(path):
                deeper = node.below.get(segment)
                if deeper is None:
                    break
                node = deeper
                found = node.target or found
        return found


class Table:
    """All routes at one moment.

    Attributes:
        tcp: listen port -> target.
    """

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._sites: dict[tuple[str, int], Site] = {}
        tcp: dict[int, Target] = {}
        for route in routes:
            target = Target(
                route_id=route.id,
                service=route.service,
                leader=route.leader,
                sticky=route.sticky,
                drains=route.drain_backends,
                reuses=not route.disable_keep_alives,
            )
            if route.type is RouteType.TCP:
                tcp[route.port] = target
            else:
                self._add(route, target)
        self.tcp: Mapping[int, Target] = tcp

    def _add(self, route: Route, target: Target) -> None:
        site = self._sites.setdefault((route.domain.lower(), route.port), Site())
        node = site.root
        for segment in segments(route.path.encode()):
            node = node.below.setdefault(segment, _Node())
        node.target = target
        if node is site.root:
            site.keypair = _keypair(route)

    def site(self, host: str, port: int = 0) -> Site | None:
        """Return the domain that answers for `host` (lower case, no port).

        Args:
            port: 0 for the default ports, else the extra port that was connected to.
        """
        sites = self._sites
        found = sites.get((host, port))
        if found is not None or not sites:
            return found
        pieces = host.split(".", MAX_PIECES - 1)
        for at in range(len(pieces)):
            found = sites.get((f"*.{'.'.join(pieces[at:])}", port))
            if found is not None:
                return found
        return sites.get(("*", port))

    def find(self, host: str, target: bytes, port: int = 0) -> Target | None:
        """Return where a request goes, or ``None`` when no route is there for it.

        Args:
            target: the request target in any form.
        """
        site = self.site(host, port)
        if site is None:
            return None
        return site.find(path_of(target)) if site.root.below else site.root.target

    @property
    def keypairs(self) -> set[Keypair]:
        """All certificates in use."""
        return {site.keypair for site in self._sites.values() if site.keypair}


def segments(path: bytes) -> list[bytes]:
    """Return the parts of a path between slashes, without the empty ones."""
    return [segment for segment in path.split(b"/") if segment]


def path_of(target: bytes) -> bytes:
    """Return the decoded path of a request target, for matching only: what is sent on is never rewritten."""
    path = target.partition(b"?")[0]
    if not path.startswith(b"/"):
        _, _, rest = path.partition(b"://")
        path = b"/" + rest.partition(b"/")[2]
    return unquote_to_bytes(path) if b"%" in path else path


def _keypair(route: Route) -> Keypair | None:
    if route.certificate is not None and route.certificate.cert:
        return Keypair(cert=route.certificate.cert, key=route.certificate.key)
    if route.tls_cert:
        return Keypair(cert=route.tls_cert, key=route.tls_key)
    return None
