"""Certificates for tests: self-signed, made on the spot."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Leaf:
    """Files in PEM form, and what a person would pin."""

    cert: Path
    key: Path
    pin: str


def certificate(domain: str, directory: Path) -> Leaf:
    """Make a certificate for a domain and all names below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain), x509.DNSName(f"*.{domain}")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    leaf = Leaf(
        directory / "leaf.pem",
        directory / "leaf.key",
        b64encode(hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).digest()).decode(),
    )
    leaf.cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    leaf.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return leaf
