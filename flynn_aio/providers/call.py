"""One call to a provider: find it, dial it, ask, and read the answer. The only file here that waits.

A provider is often an app of this very cluster, under a name of `discoverd`: that is looked up in the process, without
a packet, and its port need not be in the URL. Names below `localhost` are this machine (RFC 6761 §6.3), all others are
the host's resolver's to know. Over TLS the cluster's own authority counts as well as the public ones.
"""

import os
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import trio

from ..discoverd import Services, instances_named, is_ours
from ..errors import FlynnError
from ..model import Provider
from ..settings import ProviderSettings
from .place import Place
from .protocol import Answer, Provisioned, deprovisioned, provisioned

LOOPBACK = ("127.0.0.1", "::1")
HEAD_BYTES = 64 * 1024
ANSWER_BYTES = 1024 * 1024
"""An id and some variables are a few hundred bytes."""


class ProviderError(FlynnError):
    """A provider did not do what it was asked. It is no failure of ours, so the wire's code is not that of one.

    Attributes:
        in_doubt: it was asked, and nobody knows what it made of that.
    """

    code = "precondition_failed"

    def __init__(self, message: str, *, in_doubt: bool) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt


class Providers:
    """Asks providers.

    Args:
        services: where apps of ours answer.
    """

    def __init__(self, settings: ProviderSettings, services: Services) -> None:
        self._settings = settings
        self._services = services

    async def provision(self, provider: Provider, config: bytes) -> Provisioned:
        """Have a resource made.

        Args:
            config: a JSON object, which the provider gets as it is.

        Raises:
            ProviderError: it was not made, or that is in doubt.

        Cancellation: it may have been made.
        """
        place = _place(provider)
        what = f"asking provider {provider.name!r} at {place.shown} for a resource"
        answer = await self._ask("POST", place, place.path, config, what)
        try:
            return provisioned(answer)
        except ValueError as error:
            raise ProviderError(
                f"{what}: it {error}; its own log should say more", in_doubt=answer.status == 200
            ) from error

    async def deprovision(self, provider: Provider, external_id: str) -> None:
        """Have a resource removed; one that is gone already is removed.

        Raises:
            ProviderError: it is still there, or that is in doubt.

        Cancellation: it may have been removed.
        """
        place = _place(provider)
        what = f"asking provider {provider.name!r} at {place.shown} to remove {external_id!r}"
        answer = await self._ask("DELETE", place, place.path_of(external_id), b"", what)
        try:
            deprovisioned(answer)
        except ValueError as error:
            raise ProviderError(f"{what}: it {error}; its own log should say more", in_doubt=False) from error

    async def _ask(self, method: str, place: Place, path: str, body: bytes, what: str) -> Answer:
        """Exchange a request and its answer; `what` is being done, for messages."""
        if method == "POST":
            limit_s, setting, doubt = self._settings.provision_timeout_s, "provision_timeout_s", "made something"
        else:
            limit_s, setting, doubt = self._settings.deprovision_timeout_s, "deprovision_timeout_s", "removed it"
        asked = False
        try:
            with trio.fail_after(limit_s):
                async with self._connected(place) as stream:
                    asked = True
                    return await _exchange(stream, _request(method, place, path, body))
        except trio.TooSlowError:
            reason = f"no answer within {limit_s:g} s; if it needs longer, raise providers.{setting}"
        except h11.RemoteProtocolError as error:
            reason = f"what came back is no HTTP answer ({error})"
        except (OSError, trio.BrokenResourceError, _Unreachable) as error:
            reason = f"{_reason(error)}; see to it that it runs and can be reached from here"
        raise ProviderError(f"{what}: {reason}" + (f" (it may have {doubt})" if asked else ""), in_doubt=asked)

    @asynccontextmanager
    async def _connected(self, place: Place) -> AsyncIterator[trio.abc.Stream]:
        stream = await self._dial(place)
        try:
            yield await self._secured(stream, place) if place.secure else stream
        finally:
            await trio.aclose_forcefully(stream)

    async def _dial(self, place: Place) -> trio.SocketStream:
        """Connect to the first address that answers."""
        addresses = self._addresses(place)
        limit_s = self._settings.dial_timeout_s
        failed: Exception | None = None
        for host, port in addresses:
            try:
                with trio.fail_after(limit_s):
                    return await trio.open_tcp_stream(host, port)
            except OSError as error:
                failed = failed or _Unreachable(f"connecting to {host}:{port}: {_reason(error)}")
            except trio.TooSlowError:
                failed = failed or _Unreachable(f"connecting to {host}:{port}: no answer within {limit_s:g} s")
        raise failed or _Unreachable(f"nobody answers for {place.host} in this cluster just now")

    def _addresses(self, place: Place) -> Sequence[tuple[str, int]]:
        if is_ours(place.host):
            found = []
            for instance in instances_named(place.host, self._services.snapshot.value):
                host, _, port = instance.addr.rpartition(":")
                if instance.proto == "tcp":
                    found.append((host.strip("[]"), place.port or int(port)))
            return found
        if place.host == "localhost" or place.host.endswith(".localhost"):
            return [(host, place.plain_port) for host in LOOPBACK]
        return [(place.host, place.plain_port)]

    async def _secured(self, stream: trio.SocketStream, place: Place) -> trio.SSLStream[trio.SocketStream]:
        context = await trio.to_thread.run_sync(_tls, self._settings.ca_certificate)
        secure = trio.SSLStream(stream, context, server_hostname=place.host, https_compatible=True)
        try:
            with trio.fail_after(self._settings.dial_timeout_s):
                await secure.do_handshake()
        except trio.TooSlowError:
            raise _Unreachable(f"TLS with {place.authority}: no answer") from None
        except trio.BrokenResourceError as error:
            raise _Unreachable(f"TLS with {place.authority}: {_reason(error)}") from error
        return secure


def _place(provider: Provider) -> Place:
    try:
        return Place.parse(provider.url)
    except ValueError as error:  # an older version took it
        what = f"the URL of provider {provider.name!r} {error}; remove the provider and add it anew"
        raise ProviderError(what, in_doubt=False) from error


class _Unreachable(Exception):
    """It could not be asked; the text says why."""


def _request(method: str, place: Place, path: str, body: bytes) -> tuple[h11.Connection, bytes]:
    headers = [("Host", place.authority), ("User-Agent", "flynn-aio"), ("Connection", "close")]
    if place.authorization:
        headers.append(("Authorization", place.authorization))
    if method == "POST":
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    data = http.send(h11.Request(method=method, target=path, headers=headers)) or b""
    if body:
        data += http.send(h11.Data(data=body)) or b""
    return http, data + (http.send(h11.EndOfMessage()) or b"")


async def _exchange(stream: trio.abc.Stream, request: tuple[h11.Connection, bytes]) -> Answer:
    http, data = request
    await stream.send_all(data)
    status, location, body = 0, b"", bytearray()
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(HEAD_BYTES)))
            case h11.Response(status_code=code, headers=headers):
                status, location = code, dict(headers).get(b"location", b"")
            case h11.Data(data=piece):
                body += piece
                if len(body) > ANSWER_BYTES:
                    raise h11.RemoteProtocolError(f"it is longer than {ANSWER_BYTES} bytes")
            case h11.EndOfMessage() | h11.ConnectionClosed() | h11.PAUSED:
                return Answer(status=status, body=bytes(body), location=location.decode("latin-1"))


def _tls(ca_certificate: Path) -> ssl.SSLContext:
    """Return whom we trust: read anew for each call, since the cluster's authority may be a new one."""
    context = ssl.create_default_context()
    if ca_certificate.exists():
        context.load_verify_locations(ca_certificate)
    return context


def _reason(error: BaseException) -> str:
    """Say briefly what went wrong: ``connection refused``."""
    if isinstance(error, ExceptionGroup):  # one failure per address of a name
        return _reason(error.exceptions[0])
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError | OSError) and error.__cause__ else error
    if cause is not error:
        return _reason(cause)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"failed TLS handshake ({error.reason or 'closed'})"
    if isinstance(error, OSError) and error.errno:
        text = os.strerror(error.errno) if error.errno > 0 else error.strerror or str(error)  # below 0: of a resolver
        return text[0].lower() + text[1:]
    return str(error) or "the connection was closed"
