"""The cluster's own CA and leaf: made at the first boot, renewed before they end.

The leaf is good for the cluster's domain and every name right below it. `cryptography` is
imported only while something is made: it costs time and memory that a later boot has better use for.
"""

import base64
import hashlib
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .model import TLSCert

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

CA_FILE, CA_KEY_FILE, LEAF_FILE, LEAF_KEY_FILE = "ca.pem", "ca.key", "leaf.pem", "leaf.key"
DOMAIN_FILE = "domain"
"""Says which domain the files beside it are for, to those who cannot ask the database."""
SCRATCH = ".new-"
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=820)
"""Just below the 825 days that some clients accept at most, also of a private CA."""
RENEW_BEFORE = timedelta(days=60)
NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME: when a certificate ends is compared with the time we are given."""
BACKDATED = timedelta(hours=1)
"""Certificates begin a little in the past: not every clock of a small network agrees."""


def ensure_certificates(directory: Path, domain: str, *, now: datetime) -> bool:
    """Make what is missing or damaged, renew what ends soon; return whether the leaf is new.

    A leaf is good when a client that trusts the CA would take it for this domain. So whatever a
    crash left half renewed, a key without its certificate or a CA without its leaf, is made again.
    A certificate somebody gave us, which is one without the CA's key, is kept to its last day.
    """
    if not (directory / CA_KEY_FILE).exists() and _lasts(_leaf_for(directory, domain), now, at_least=timedelta()):
        return False
    if not _lasts(_authority(directory), now):
        _make_ca(directory, domain, now)
    if _lasts(_leaf_for(directory, domain), now):
        return False
    _make_leaf(directory, domain, now)
    return True


def pin(leaf_pem: str) -> str:
    """Return the pin Flynn's client knows a cluster by: base64 of the SHA-256 of the leaf's DER bytes.

    Args:
        leaf_pem: the leaf and its chain, with whatever text a tool wrote between them.

    Raises:
        ValueError: there is no certificate in it.
    """
    begin, end = leaf_pem.index(BEGIN), leaf_pem.index(END)
    return base64.b64encode(
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf_pem[begin : end + len(END)])).digest()
    ).decode()


def write_private(path: Path, data: bytes) -> None:
    """Replace a file only its owner may read, at once and for good."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def issue(directory: Path, domain: str, *, now: datetime) -> TLSCert:
    """Return a new certificate for another domain, signed by the CA in the directory, and write nothing there.

    Clients that trust the CA then trust the cluster at both domains. Where there is none of ours, a new CA signs.
    """
    with _scratch(directory) as scratch:
        for name in (CA_FILE, CA_KEY_FILE):
            if (directory / name).exists():
                write_private(scratch / name, (directory / name).read_bytes())
        ensure_certificates(scratch, domain, now=now)
        return read_certificates(scratch)


def remove_scratch(directory: Path) -> None:
    """Remove what a crash has left of `issue` or `fault_of`: there are keys in it."""
    for left in directory.glob(f"{SCRATCH}*"):
        shutil.rmtree(left)


def fault_of(cert: TLSCert, directory: Path, domain: str, *, now: datetime) -> str:
    """Return why a domain cannot be served with a certificate; empty when it can.

    Args:
        directory: where a private directory can be made for a moment: `ssl` reads files only.
    """
    with _scratch(directory) as scratch:
        _write(scratch, cert)
        seen = _leaf_for(scratch, domain)
    if seen is None:
        return f"a client that trusts its CA would not take it for {domain} and *.{domain}"
    return "" if _lasts(seen, now, at_least=timedelta()) else "it has ended"


def publish_certificates(directory: Path, domain: str, cert: TLSCert) -> None:
    """Put a domain's certificate in use: everybody who reads the directory's files gets it."""
    if _text(directory / CA_FILE) != cert.ca_cert:
        (directory / CA_KEY_FILE).unlink(missing_ok=True)  # of another CA
    _write(directory, cert)
    name_domain(directory, domain)


def name_domain(directory: Path, domain: str) -> None:
    """Note which domain the files are for."""
    if _text(directory / DOMAIN_FILE) != f"{domain}\n":
        write_private(directory / DOMAIN_FILE, f"{domain}\n".encode())


def are_for(directory: Path, domain: str) -> bool:
    """Tell whether the files are a certificate a client would take for this domain, whenever it ends."""
    return _leaf_for(directory, domain) is not None


def read_certificates(directory: Path) -> TLSCert:
    """Return the certificate in a directory."""
    leaf = (directory / LEAF_FILE).read_text()
    ca, key = (directory / CA_FILE).read_text(), (directory / LEAF_KEY_FILE).read_text()
    return TLSCert(ca_cert=ca, cert=leaf, pin=pin(leaf), key=key)


def _write(directory: Path, cert: TLSCert) -> None:
    write_private(directory / CA_FILE, cert.ca_cert.encode())
    write_private(directory / LEAF_KEY_FILE, cert.key.encode())
    write_private(directory / LEAF_FILE, cert.cert.encode())


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=directory, prefix=SCRATCH) as name:  # 0700
        yield Path(name)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _lasts(certificate: Mapping[str, object] | None, now: datetime, *, at_least: timedelta = RENEW_BEFORE) -> bool:
    """Tell whether there is a certificate, as `ssl` describes one, and it does not end soon."""
    if certificate is None:
        return False
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    return ends - now > at_least


def _authority(directory: Path) -> Mapping[str, object] | None:
    """Return the CA; ``None`` when it, or the key that belongs to it, is not there."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(directory / CA_FILE, directory / CA_KEY_FILE)
        return next(iter(_client(directory).get_ca_certs()), None)
    except (ssl.SSLError, FileNotFoundError):
        return None


def _leaf_for(directory: Path, domain: str) -> Mapping[str, object] | None:
    """Return the leaf as a client sees it that trusts our CA; ``None`` when it would not take it for this domain."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client = _client(directory)
        server.load_cert_chain(directory / LEAF_FILE, directory / LEAF_KEY_FILE)
        asking, answering = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
        for end in (asking, answering) * 3:  # as often as the oldest TLS needs
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
        seen = asking.getpeercert() or {}
    except (ssl.SSLError, FileNotFoundError, ValueError):  # the last: names that are no text
        return None
    names = {("DNS", domain), ("DNS", f"*.{domain}")}
    return seen if names <= set(seen.get("subjectAltName", ())) else None


def _client(directory: Path) -> ssl.SSLContext:
    """Return a client's context that trusts our CA, whatever the time; names are compared by whoever asks."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= NO_CHECK_TIME
    client.load_verify_locations(directory / CA_FILE)
    return client


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
