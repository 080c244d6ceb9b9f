"""TLS: which certificate a handshake gets, replaced live.

Every context a listener may hand to a handshake is made beforehand, in a thread, and kept per
certificate: a handshake only looks it up. The session tickets stay valid across them, since OpenSSL
keeps those with the first context of a connection.

Source: `router.md` §4.
"""

import logging
import os
import ssl
from collections.abc import Callable, Iterable

import trio

from .domains import Domains
from .table import Keypair

logger = logging.getLogger(__name__)

ALPN = ("h2", "http/1.1")
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption, nothing else."""

FindContext = Callable[[str], ssl.SSLContext | None]
"""Host (lower case) -> the context its handshake gets; ``None`` when nobody answers there. Empty: no host was named."""


def make_context(cert: bytes, key: bytes) -> ssl.SSLContext:
    """Return a server's context for a chain and its key, PEM. Blocks for a few milliseconds.

    Raises:
        ssl.SSLError: they are no certificate and key, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(ALPN)
    # The ssl module reads files only, and a key of a user has no business on the disk.
    descriptor = os.memfd_create("keypair", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(cert + b"\n" + key + b"\n")
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


class Certificates:
    """The contexts in use.

    Args:
        first: what is served where a route has no certificate of its own, until `prepare` knows better.
    """

    def __init__(self, first: ssl.SSLContext) -> None:
        self._first = first
        self._contexts: dict[Keypair, ssl.SSLContext] = {}
        self._domains = Domains()

    async def prepare(self, keypairs: Iterable[Keypair], domains: Domains) -> None:
        """Make the contexts that are missing, and forget those no longer named.

        A certificate that OpenSSL refuses was stored before somebody could check it; its domain
        gets the default one rather than none.
        """
        contexts: dict[Keypair, ssl.SSLContext] = {}
        for keypair in {*keypairs, *domains.keypairs.values()}:
            known = self._contexts.get(keypair)
            if known is None:
                try:
                    known = await trio.to_thread.run_sync(make_context, keypair.cert.encode(), keypair.key.encode())
                except (ssl.SSLError, OSError, ValueError) as exc:
                    logger.error("certificate refused", extra={"reason": str(exc)})
                    continue
            contexts[keypair] = known
        self._contexts, self._domains = contexts, domains

    def context(self, keypair: Keypair | None, host: str = "") -> ssl.SSLContext:
        """Return the context for a site's certificate, or that of the cluster's domain the host is below."""
        for one in (keypair, self._domains.keypair(host)):
            if one is not None and (found := self._contexts.get(one)):
                return found
        return self._first


def listening_context(cert: bytes, key: bytes, find: FindContext) -> ssl.SSLContext:
    """Return the context handshakes begin with: it holds the default certificate and asks `find` by SNI.

    A client that names no host gets what `find` has for the empty name; one that names a host nobody
    answers for gets an alert, so that no certificate vouches for a stranger.
    """
    context = make_context(cert, key)

    def choose(sock: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        found = find((name or "").lower())
        if found is None:
            return None if name is None else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        sock.context = found
        return None

    context.sni_callback = choose
    return context
