"""The cluster itself: its keys, its own values, its domain and its backups."""

from sqlite_utils import Database

from ...model import BackupStatus, ClusterBackup, DomainMigration, Key, Time, TLSCert, decode
from .. import rows
from .sql import fetch_all, fetch_one


def keys(db: Database) -> list[Key]:
    """Return the controller's keys, oldest first."""
    found = fetch_all(db, "SELECT name, created_at FROM keys ORDER BY created_at, name")
    return [Key(name=name, created_at=Time.parse(created_at)) for name, created_at in found]


def key_hashes(db: Database) -> dict[str, bytes]:
    """Return what the controller's keys are compared with, by name."""
    return dict(fetch_all(db, "SELECT name, hash FROM keys ORDER BY name"))


DEFAULT_DOMAIN = "default_domain"
"""The cluster's own value that names its domain."""


def cluster_value(db: Database, key: str) -> str | None:
    """Return one of the cluster's own values, e.g. ``default_domain``; ``None`` before it is set."""
    found = fetch_all(db, "SELECT value FROM cluster WHERE key = ?", (key,))
    return found[0][0] if found else None


def domain(db: Database) -> str:
    """Return the domain the cluster has now; empty before its first boot."""
    return cluster_value(db, DEFAULT_DOMAIN) or ""


def domain_certificates(db: Database) -> dict[str, TLSCert]:
    """Return what the domains are served with that the cluster has moved to or from; none before it ever moved."""
    return {name: decode(text, TLSCert) for name, text in fetch_all(db, "SELECT domain, doc FROM domain_certificates")}


def domain_migration(db: Database, migration_id: str) -> DomainMigration:
    sql = "SELECT doc FROM domain_migrations WHERE id = ?"
    return rows.domain_migration(fetch_one(db, "domain migration", migration_id, sql, (migration_id,))[0])


def unfinished_domain_migration(db: Database) -> DomainMigration | None:
    found = fetch_all(db, "SELECT doc FROM domain_migrations WHERE NOT finished")
    return rows.domain_migration(found[0][0]) if found else None


def backup(db: Database, backup_id: str) -> ClusterBackup:
    return rows.backup(fetch_one(db, "backup", backup_id, "SELECT doc FROM backups WHERE id = ?", (backup_id,))[0])


def latest_backup(db: Database) -> ClusterBackup:
    return rows.backup(fetch_one(db, "backup", "latest", "SELECT doc FROM backups ORDER BY seq DESC LIMIT 1", ())[0])


def running_backups(db: Database) -> list[ClusterBackup]:
    found = fetch_all(db, "SELECT doc FROM backups WHERE status = ? ORDER BY seq", (BackupStatus.RUNNING,))
    return [rows.backup(text) for (text,) in found]
