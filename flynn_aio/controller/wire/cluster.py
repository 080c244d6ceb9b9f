"""The cluster's domain."""

from msgspec import Struct


class TLSCertRequest(Struct, frozen=True, kw_only=True):
    ca_cert: str = ""
    cert: str = ""
    key: str = ""


class DomainMigrationRequest(Struct, frozen=True, kw_only=True):
    old_domain: str = ""
    domain: str = ""
    tls_cert: TLSCertRequest | None = None
