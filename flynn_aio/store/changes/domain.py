"""Changes of the cluster's domain. Who carries a migration out is `flynn_aio.domain`.

Source: `resources.md` §9; Flynn `controller/worker/domain_migration`.
"""

import logging

from msgspec.structs import replace

from ...errors import Conflict, FlynnError, ValidationError
from ...model import (
    CA_ENV,
    CERT_ENV,
    DOMAIN_ENV,
    SYSTEM_APPS,
    AppID,
    DomainMigration,
    DomainMigrationEvent,
    Route,
    RouteType,
    TLSCert,
    is_below,
    is_domain,
)
from .. import queries, rows
from ..transaction import Transaction
from .cluster import set_cluster_value
from .routes import create_route
from .system import keep_system_app

logger = logging.getLogger(__name__)


def begin_domain_migration(
    tx: Transaction, *, old_domain: str, domain: str, tls_cert: TLSCert | None
) -> DomainMigration:
    """Wish the cluster to move to another domain.

    Args:
        tls_cert: what the new domain is to be served with; ``None`` has one made. A key or a CA that is missing
            is taken from what the cluster was served with before, if it was with this certificate.

    Raises:
        ValidationError: the cluster is not at the old domain, or the new one is none.
        Conflict: a migration is under way.
    """
    current = queries.domain(tx.db)
    if old_domain != current:
        raise ValidationError(f'Can\'t migrate from "{old_domain}" when currently using "{current}"')
    if not is_domain(domain):
        raise ValidationError("must be a host name in lower case, e.g. flynn.example.com", field="domain")
    if domain == current:
        raise ValidationError("is the cluster's domain already", field="domain")
    if under_way := queries.unfinished_domain_migration(tx.db):
        raise Conflict(f"a migration to {under_way.domain} is under way; wait for its end")
    known = queries.domain_certificates(tx.db)
    if tls_cert and not (tls_cert.key and tls_cert.ca_cert):
        tls_cert = next((cert for cert in known.values() if cert.cert.strip() == tls_cert.cert.strip()), tls_cert)
        if not (tls_cert.key and tls_cert.ca_cert):
            raise ValidationError("must have `cert`, `key` and `ca_cert`, all PEM", field="tls_cert")
    migration = DomainMigration(
        id=tx.new_id(),
        old_tls_cert=known.get(current),
        tls_cert=tls_cert,
        old_domain=old_domain,
        domain=domain,
        created_at=tx.now,
    )
    tx.execute(
        "INSERT INTO domain_migrations (id, finished, doc) VALUES (?, 0, ?)", (migration.id, rows.doc(migration))
    )
    _emit(tx, migration)
    return migration


def switch_domain(tx: Transaction, migration_id: str, cert: TLSCert) -> None:
    """Make the new domain the cluster's: its certificate, routes and system apps. Idempotent.

    Routes of the old domain stay, and each gets a sibling under the new one, unless somebody has that already.
    """
    migration = replace(queries.domain_migration(tx.db, migration_id), tls_cert=cert)
    tx.execute("UPDATE domain_migrations SET doc = ? WHERE id = ?", (rows.doc(migration), migration_id))
    set_cluster_value(tx, queries.DEFAULT_DOMAIN, migration.domain)
    keep_domain_certificate(tx, migration.domain, cert)
    for route in reversed(queries.routes(tx.db)):  # the oldest first: a domain's `/` before its other paths
        if route.type is RouteType.HTTP and is_below(route.domain, migration.old_domain):
            _add_sibling(tx, route, migration)
    env = cluster_env(migration.domain, cert)
    for name in env:
        keep_system_app(tx, SYSTEM_APPS[name], env=env[name])


def finish_domain_migration(tx: Transaction, migration_id: str, *, error: str = "") -> None:
    """End a migration; with an error the cluster is where it was."""
    migration = queries.domain_migration(tx.db, migration_id)
    if not error:
        migration = replace(migration, finished_at=tx.now)
    tx.execute("UPDATE domain_migrations SET finished = 1, doc = ? WHERE id = ?", (rows.doc(migration), migration_id))
    _emit(tx, migration, error)


def keep_domain_certificate(tx: Transaction, domain: str, cert: TLSCert) -> None:
    """Remember what a domain is served with."""
    tx.execute(
        """INSERT INTO domain_certificates (domain, doc) VALUES (?, ?)
           ON CONFLICT (domain) DO UPDATE SET doc = excluded.doc""",
        (domain, rows.doc(cert)),
    )


def cluster_env(domain: str, cert: TLSCert) -> dict[str, dict[str, str]]:
    """Return what the system apps say of the cluster's domain: app -> variables."""
    return {"controller": {DOMAIN_ENV: domain, CA_ENV: cert.ca_cert}, "router": {CERT_ENV: cert.cert}}


def _add_sibling(tx: Transaction, route: Route, migration: DomainMigration) -> None:
    old = migration.old_tls_cert
    of_cluster = old is not None and route.certificate is not None and route.certificate.cert == old.cert.strip()
    host = route.domain.removesuffix(migration.old_domain) + migration.domain
    sibling = replace(route, domain=host, certificate=None if of_cluster else route.certificate)
    try:
        create_route(tx, sibling, AppID(route.parent_ref.rpartition("/")[2]))
    except FlynnError as exc:
        logger.info("no sibling route", extra={"domain": host, "path": route.path, "reason": exc.message})


def _emit(tx: Transaction, migration: DomainMigration, error: str = "") -> None:
    tx.emit("domain_migration", migration.id, DomainMigrationEvent(domain_migration=migration, error=error))
