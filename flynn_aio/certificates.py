"""The cluster's own CA and leaf: made at the first boot, renewed before they end.

The leaf is good for the cluster's domain and every name right below it. `cryptography` is
imported only while something is made: it costs memory that a running appliance has better use for.
"""

import base64
import hashlib
import os
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

CA_FILE, CA_KEY_FILE, LEAF_FILE, LEAF_KEY_FILE = "ca.pem", "ca.key", "leaf.pem", "leaf.key"
CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=820)
"""Just below the 825 days that some clients accept at most, also of a private CA."""
RENEW_BEFORE = timedelta(days=60)
BACKDATED = timedelta(hours=1)
"""Certificates begin a little in the past: not every clock of a small network agrees."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate file says of itself."""

    names: frozenset[str]
    ends: datetime


def ensure_certificates(directory: Path, domain: str, *, now: datetime) -> bool:
    """Make what is missing, renew what ends soon or names another domain; return whether the leaf is new.

    Files are replaced whole and in an order that leaves a working pair after a crash at any moment:
    a leaf that does not match its key is made again.
    """
    ca, ca_key, leaf, leaf_key = (directory / name for name in (CA_FILE, CA_KEY_FILE, LEAF_FILE, LEAF_KEY_FILE))
    made_ca = not (ca.exists() and ca_key.exists() and _facts(ca).ends - now > RENEW_BEFORE)
    if made_ca:
        _make_ca(directory, domain, now)
    names = frozenset({domain, f"*.{domain}"})
    good = leaf.exists() and leaf_key.exists() and _matches(leaf, leaf_key)
    if good and not made_ca and _facts(leaf).names >= names and _facts(leaf).ends - now > RENEW_BEFORE:
        return False
    _make_leaf(directory, domain, now)
    return True


def pin(leaf_pem: str) -> str:
    """Return the pin Flynn's client knows a cluster by: base64 of the SHA-256 of the leaf's DER bytes."""
    first = leaf_pem[: leaf_pem.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----\n")]
    return base64.b64encode(hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest()).decode()


def write_private(path: Path, data: bytes) -> None:
    """Replace a file only its owner may read, at once and for good."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _facts(path: Path) -> Facts:
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Facts(frozenset(), certificate.not_valid_after_utc)
    return Facts(frozenset(names.get_values_for_type(x509.DNSName)), certificate.not_valid_after_utc)


def _matches(certificate: Path, key: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError):
        return False
    return True


def _make_ca(directory: Path, domain: str, now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Flynn CA of {domain}")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(directory / CA_KEY_FILE, _key_pem(key))
    write_private(directory / CA_FILE, _certificate_pem(certificate))


def _make_leaf(directory: Path, domain: str, now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer = x509.load_pem_x509_certificate((directory / CA_FILE).read_bytes())
    issuer_key = serialization.load_pem_private_key((directory / CA_KEY_FILE).read_bytes(), None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{directory / CA_KEY_FILE} does not hold an EC key")
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName(domain), x509.DNSName(f"*.{domain}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(domain))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LEAF_LIFE)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    write_private(directory / LEAF_KEY_FILE, _key_pem(key))
    write_private(directory / LEAF_FILE, _certificate_pem(certificate))


def _name(common: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    # An X.520 common name has 64 characters at most; nobody has looked at it since SANs exist.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _key_pem(key: "ec.EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_pem(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)
