"""Fetching the manifest of an artifact whose creator only says where it is, how long, and what it hashes to.

Source: `controller-api.md` §4.2; Flynn `controller/data/artifact.go`, `downloadManifest`, and `pkg/verify`.
"""

import hashlib
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import h11
import trio

from ..errors import MalformedInput, ValidationError
from ..model import decode

WITHIN_S = 30.0
"""For the whole of it: a manifest is a few kilobytes."""
RECEIVE_BYTES = 64 * 1024
ALGORITHMS = {"sha256": "sha256", "sha512": "sha512", "sha512_256": "sha512_256"}
"""The hashes that can be checked, as Flynn calls them, and as OpenSSL does. Others are passed over."""


class Unverified(Exception):
    """What came is not what it should be, or did not come; the text says why."""


async def download_manifest(uri: str, hashes: Mapping[str, str], size: int, *, at_most: int) -> dict[str, Any]:
    """Return the manifest at `uri`.

    Args:
        hashes: algorithm to hex digest; at least one must be known.
        size: its length in bytes, above 0.
        at_most: the longest one we take.

    Raises:
        ValidationError: it cannot be had, or is another; the field is `manifest`.
    """
    try:
        if not hashes.keys() & ALGORITHMS.keys():
            raise Unverified("verify: no hashes provided")
        if size > at_most:
            raise Unverified(f"its size is above the {at_most} bytes of controller.max_body_bytes")
        with trio.fail_after(WITHIN_S):
            data = await _fetched(uri, size)
        check(data, hashes, size)
        return decode(data, dict[str, Any])
    except (Unverified, OSError, trio.BrokenResourceError, h11.ProtocolError, ValueError, MalformedInput) as exc:
        reason = str(exc) or "the connection broke"
    except trio.TooSlowError:
        reason = f"it did not arrive within {WITHIN_S:g} s"
    raise ValidationError(f"failed to download from {uri}: {reason}", field="manifest")


def check(data: bytes, hashes: Mapping[str, str], size: int) -> None:
    """Compare what came with what was said of it.

    Raises:
        Unverified: it is another.
    """
    if len(data) < size:
        raise Unverified("verify: data too short")
    for name, algorithm in ALGORITHMS.items():
        if name in hashes and (found := hashlib.new(algorithm, data).hexdigest()) != hashes[name]:
            raise Unverified(f'verify: expected {name} hash "{hashes[name]}" but got "{found}"')


async def _fetched(uri: str, size: int) -> bytes:
    """Return the first `size` bytes of a page: what is longer shows by its hash."""
    data = bytearray()
    async with aclosing(_pieces(uri)) as pieces:
        async for piece in pieces:
            data += piece
            if len(data) >= size:
                break
    return bytes(data[:size])


async def _pieces(uri: str) -> AsyncGenerator[bytes, None]:
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unverified("only http and https are understood")
    stream: trio.abc.Stream = await trio.open_tcp_stream(
        parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    )
    if parts.scheme == "https":
        context = await trio.to_thread.run_sync(ssl.create_default_context)
        stream = trio.SSLStream(stream, context, server_hostname=parts.hostname, https_compatible=True)
    connection = h11.Connection(h11.CLIENT)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [("Host", parts.netloc.rpartition("@")[2]), ("Accept", "application/json"), ("Connection", "close")]
    request = connection.send(h11.Request(method="GET", target=target, headers=headers)) or b""
    try:
        await stream.send_all(request + (connection.send(h11.EndOfMessage()) or b""))
        while True:
            match connection.next_event():
                case h11.NEED_DATA:
                    connection.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
                case h11.Response(status_code=status) if status != HTTPStatus.OK:
                    raise Unverified(f"unexpected HTTP status: {_named(status)}")
                case h11.Data(data=data):
                    yield bytes(data)
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    return
    finally:
        await trio.aclose_forcefully(stream)


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
