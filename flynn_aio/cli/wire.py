"""Getting a connection to a cluster: names, patience, TLS and the pin.

Only this file dials. `*.localhost` is mapped to loopback here, since neither glibc nor Python does it (RFC 6761
§6.3). A refused connection is tried again for a while: an appliance that restarts is back in a second or two.

Source: `controller-api.md` §1.1; Flynn `pkg/dialer`, `pkg/pinned`.
"""

import socket
import ssl
import sys
import time
from collections.abc import Iterable, Mapping
from io import BufferedReader
from urllib.parse import urlsplit

from .failure import ADD_LINE, Failure
from .http1 import HTTPError, Response, read_response, request_bytes

DIAL_PATIENCE_S = 30.0
DIAL_QUIET_S = 2.0  # then a person is told what the silence is about
DIAL_PAUSE_S = 0.5
DIAL_TIMEOUT_S = 5.0  # for one try; a packet lost twice still makes it
_KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 3}  # seconds, as Flynn's dialer has them
HANDSHAKE_TIMEOUT_S = 10.0  # a server that is up but overloaded still makes it

_LOOPBACK = ("127.0.0.1", "::1")


class PinMismatch(OSError):
    """The server's leaf certificate is not the one the person pinned."""

    def __init__(self) -> None:
        super().__init__("pinned: the peer leaf certificate did not match the provided pin")


class Door:
    """Where a cluster's controller is, and how to know that it is the right one.

    Args:
        url: ``https://host[:port]``, or ``http://`` for a controller behind something else that encrypts.
        pin: SHA-256 of the leaf certificate's DER form; replaces checking it against CAs and its host name.

    Attributes:
        authority: host and port as the URL has them: what the `Host` header says, and thus what routes go by.

    Raises:
        Failure: no such URL.
    """

    def __init__(self, url: str, pin: bytes | None) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise Failure(f"invalid controller URL {url}: {exc}", hint=ADD_LINE) from exc
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.netloc.isascii():
            raise Failure(
                f"invalid controller URL {url}: it should look like https://controller.example.com", hint=ADD_LINE
            )
        self.host = parts.hostname
        self.secure = parts.scheme == "https"
        self.port = port or (443 if self.secure else 80)
        self.authority = parts.netloc.rpartition("@")[2]
        self._pin = pin
        self._tls: ssl.SSLContext | None = None

    def dial(self) -> socket.socket:
        """Return a new connection, encrypted if the door is.

        Raises:
            OSError: nobody answers, in spite of `DIAL_PATIENCE_S`, or it is not who it should be.
        """
        raw = _dial_patiently(self.host, self.port)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _keep_alive(raw)
        if not self.secure:
            return raw
        try:
            return self._encrypted(raw)
        except BaseException:
            raw.close()
            raise

    def _encrypted(self, raw: socket.socket) -> ssl.SSLSocket:
        if self._tls is None:
            self._tls = _tls_context(pinned=self._pin is not None)
        raw.settimeout(HANDSHAKE_TIMEOUT_S)
        # As bytes: a `str` would be sent through IDNA, whose tables take 5 ms to import.
        secure = self._tls.wrap_socket(raw, server_hostname=self.host.encode())
        secure.settimeout(None)
        if self._pin is not None:
            import hashlib

            leaf = secure.getpeercert(binary_form=True) or b""
            if hashlib.sha256(leaf).digest() != self._pin:
                secure.close()
                raise PinMismatch
        return secure


def _keep_alive(raw: socket.socket) -> None:
    """Notice within two minutes that the other machine is gone: an answer may take as long as it likes."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE.items():
        if hasattr(socket, option):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _tls_context(*, pinned: bool) -> ssl.SSLContext:
    if not pinned:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the pin says more
    return context


def addresses(host: str) -> tuple[str, ...]:
    """Return what to dial for a host: loopback for `localhost` and all names below it, else the host itself."""
    name = host.rstrip(".").lower()
    return _LOOPBACK if name == "localhost" or name.endswith(".localhost") else (host,)


def _dial_patiently(host: str, port: int) -> socket.socket:
    began = time.monotonic()
    told = not sys.stderr.isatty()  # a program gets what Flynn's client prints, and no more
    while True:
        try:
            return _dial_once(host, port)
        except (ConnectionRefusedError, TimeoutError):
            waited = time.monotonic() - began
            if waited + DIAL_PAUSE_S > DIAL_PATIENCE_S:
                raise
            if not told and waited >= DIAL_QUIET_S:
                print(f"{host}:{port} does not answer; trying for {DIAL_PATIENCE_S:.0f} s", file=sys.stderr)
                told = True
            time.sleep(DIAL_PAUSE_S)


def _dial_once(host: str, port: int) -> socket.socket:
    first: OSError | None = None
    for address in addresses(host):
        try:
            dialled = socket.create_connection((address, port), timeout=DIAL_TIMEOUT_S)
        except UnicodeError as exc:  # a label of more than 63 letters
            raise OSError(f"no such host: {exc}") from exc
        except OSError as exc:
            first = first or exc
        else:
            dialled.settimeout(None)
            return dialled
    raise first or OSError(f"{host} has no address")


class Connection:
    """One HTTP/1.1 connection through a `Door`, dialled by the first request.

    Attributes:
        wire: the socket itself, for whoever sets timeouts on a stream or takes the connection over.
        used: it has carried a request before, so the server may have closed it since.
    """

    def __init__(self, door: Door) -> None:
        self.used = False
        self._door = door
        self._reader: BufferedReader | None = None

    def exchange(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        """Send a request; return its response when its head is there.

        Raises:
            OSError: nobody answers, or the connection broke.
            HTTPError: what came is no response.
        """
        reader = self._dialled()
        self.wire.sendall(request_bytes(method, target, headers, body))
        return read_response(reader)

    def upload(self, target: str, pieces: Iterable[bytes], length: int, headers: Mapping[str, str]) -> Response:
        """Send a POST whose body comes in pieces, `length` bytes in all; return its response when its head is there.

        Raises: as `exchange`.
        """
        reader = self._dialled()
        self.wire.sendall(request_bytes("POST", target, headers, None, to_follow=length))
        try:
            for piece in pieces:
                self.wire.sendall(piece)
        except OSError as exc:
            try:
                return read_response(reader)  # it need not see everything to say no
            except (OSError, HTTPError):
                raise exc from None
        return read_response(reader)

    def _dialled(self) -> BufferedReader:
        if self._reader is None:
            self.wire = self._door.dial()
            self._reader = self.wire.makefile("rb")
        return self._reader

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self.wire.close()


def reason(exc: Exception) -> str:
    """Return why a request failed below HTTP, in the words of Flynn's client where it has some."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"x509: {exc.verify_message}"
    if isinstance(exc, ConnectionRefusedError):
        return "connect: connection refused"
    if isinstance(exc, TimeoutError):
        return "i/o timeout"
    if isinstance(exc, socket.gaierror):
        return "no such host"
    return (isinstance(exc, OSError) and exc.strerror) or str(exc) or type(exc).__name__
