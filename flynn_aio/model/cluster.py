"""The cluster itself: the move to another domain, backups, collections of old releases.

Source: `controller-api.md` §3, *Others*; `resources.md` §6 and §9.
"""

import re
from enum import StrEnum

from msgspec import Struct, field

from .ids import AppID, ReleaseID
from .json import Time

_DOMAIN = re.compile(r"(?=.{1,200}\Z)[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)*")


def is_domain(text: str) -> bool:
    """Tell whether a cluster may have this domain: a host name in lower case, with room for apps in front of it."""
    return bool(_DOMAIN.fullmatch(text))


def is_below(host: str, domain: str) -> bool:
    """Tell whether a host is a domain or anything under it."""
    return host == domain or host.endswith(f".{domain}")


class TLSCert(Struct, frozen=True, kw_only=True):
    """The certificate a domain is served with.

    Attributes:
        ca_cert, cert, key: PEM; `cert` is the leaf, and what clients need to get from it to `ca_cert`.
        pin: base64 of the SHA-256 of the leaf's DER bytes.
    """

    ca_cert: str = ""
    cert: str = ""
    pin: str = ""
    key: str = ""


class DomainMigration(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The move of the cluster to another domain; under way while `finished_at` is ``None``.

    Attributes:
        tls_cert: what the new domain is served with; ``None`` until it is made.
    """

    id: str
    old_tls_cert: TLSCert | None = None
    tls_cert: TLSCert | None = None
    old_domain: str
    domain: str
    created_at: Time | None = None
    finished_at: Time | None = None


class DomainMigrationEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Payload of a `domain_migration` event; with an `error` the cluster stays at the old domain."""

    domain_migration: DomainMigration | None
    error: str = ""


class BackupStatus(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"


class ClusterBackup(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a backup.

    Attributes:
        sha512: of the whole tar, in hex.
        size: of the whole tar, in bytes.
    """

    id: str = ""
    status: BackupStatus
    sha512: str = ""
    size: int = 0
    error: str = ""
    created_at: Time | None = None
    updated_at: Time | None = None
    completed_at: Time | None = None


class AppGarbageCollection(Struct, frozen=True, kw_only=True):
    app_id: AppID
    deleted_releases: list[ReleaseID] = field(default_factory=list)


class AppGarbageCollectionEvent(Struct, frozen=True, kw_only=True):
    """Payload of an `app_garbage_collection` event; with an `error` nothing was collected."""

    app_garbage_collection: AppGarbageCollection
    error: str = ""
