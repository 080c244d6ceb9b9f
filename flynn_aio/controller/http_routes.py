"""Routes as a resource of the API: which requests belong to which service."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from msgspec.structs import replace

from ..errors import NotFound, ValidationError
from ..model import Certificate, Route, RouteID, RouteType
from ..store import Database, Transaction, changes, queries
from .body import read_json
from .request import EMPTY, Parts, Reply, Request, reply
from .wire import RouteRequest, new_route


async def list_all(parts: Parts, request: Request) -> Reply:
    """List the routes of all apps."""
    return reply(await parts.store.read(queries.routes))


async def list_of_app(parts: Parts, request: Request) -> Reply:
    """List the routes of an app."""
    return reply(await parts.store.read(lambda db: queries.routes(db, queries.app(db, request.app).id)))


async def get(parts: Parts, request: Request) -> Reply:
    """Show a route, with its certificate and key."""
    kind, route_id = _named(request)

    def query(db: Database) -> Route:
        return queries.route(db, queries.app(db, request.app).id, kind, route_id)

    return reply(await parts.store.read(query))


async def create(parts: Parts, request: Request) -> Reply:
    """Route requests to a service of an app."""
    sent = read_json(request, RouteRequest)
    route = new_route(sent)
    await _check(route.certificate)

    def change(tx: Transaction) -> Route:
        return changes.create_route(tx, route, queries.app(tx.db, request.app).id)

    return reply(_echoed(await parts.store.transact(change), sent))


async def update(parts: Parts, request: Request) -> Reply:
    """Change a route; its type and id are those of the path, and a certificate not sent is kept."""
    kind, route_id = _named(request)
    sent = read_json(request, RouteRequest)
    route = replace(new_route(replace(sent, type=kind)), id=route_id)
    await _check(route.certificate)

    def change(tx: Transaction) -> Route:
        return changes.update_route(tx, queries.app(tx.db, request.app).id, route)

    return reply(_echoed(await parts.store.transact(change), sent))


async def delete(parts: Parts, request: Request) -> Reply:
    """Delete a route."""
    kind, route_id = _named(request)

    def change(tx: Transaction) -> None:
        changes.delete_route(tx, queries.app(tx.db, request.app).id, kind, route_id)

    await parts.store.transact(change)
    return EMPTY


def _named(request: Request) -> tuple[RouteType, RouteID]:
    try:
        kind = RouteType(request.params["type"])
    except ValueError:
        raise NotFound(f"there are no routes of type {request.params['type']!r}") from None
    return kind, RouteID(request.uuid("route"))


def _echoed(route: Route, sent: RouteRequest) -> Route:
    """Return the route as Flynn answers: with the flat certificate fields, if they were sent."""
    return replace(route, tls_cert=sent.tls_cert, tls_key=sent.tls_key)


async def _check(certificate: Certificate | None) -> None:
    if certificate is not None:
        await trio.to_thread.run_sync(check_pair, certificate)


def check_pair(certificate: Certificate) -> None:
    """Load a certificate and its key as a TLS server does. Blocking, for a moment.

    Raises:
        ValidationError: they are not PEM, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _file_of(certificate.cert) as cert, _file_of(certificate.key) as key:
        try:
            context.load_cert_chain(cert, key, password="")  # an encrypted key must not ask the terminal
        except (ssl.SSLError, ValueError) as error:
            raise ValidationError(f"Certificate invalid: {_why(error, cert)}") from error


def _why(error: Exception, cert: str) -> str:
    """Return what is wrong with a pair whose certificate is in the file `cert`.

    Source of the first sentence: Go `crypto/tls`, `X509KeyPair`, which is what Flynn answers.
    """
    match getattr(error, "reason", None):
        case "KEY_VALUES_MISMATCH" | "KEY_TYPE_MISMATCH" | "NO_CERTIFICATE_ASSIGNED":  # the last: keys of two kinds
            return "tls: private key does not match public key"
        case None:  # of PEM that it cannot read OpenSSL does not tell which of the two it was in
            if not _is_certificate(cert):
                return "the certificate is not one in PEM"
            return "the private key is not one in PEM without a password"
        case reason:
            return str(reason).replace("_", " ").lower()


def _is_certificate(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


@contextmanager
def _file_of(text: str) -> Iterator[str]:
    """Have `text` as a file in memory: OpenSSL reads only files, and a key does not belong on the disk."""
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
