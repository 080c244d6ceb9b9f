"""The sticky cookie: which backend a visitor was sent to, readable by us alone. Pure.

Upstream seals it with NaCl's secretbox. Ours is the same idea from the standard library: a keyed
BLAKE2b gives the key stream, a second one authenticates nonce and text. A cookie that does not
open is ignored, so there is nothing to compare across versions.

Source: `router.md` §7.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from hashlib import blake2b

COOKIE_NAME = b"_backend"
NONCE_BYTES = 24
_TAG_BYTES = 16
_MAX_TEXT_BYTES = blake2b.MAX_DIGEST_SIZE


class CookieKey:
    """Seals and opens addresses.

    Args:
        key: 32 secret bytes; with another one all visitors are balanced anew.
    """

    def __init__(self, key: bytes) -> None:
        self._stream_key = blake2b(key, person=b"flynn-stream").digest()
        self._tag_key = blake2b(key, person=b"flynn-tag").digest()

    def seal(self, addr: str, nonce: bytes) -> bytes:
        """Return the cookie value for an address; `nonce` is `NONCE_BYTES` fresh random bytes."""
        text = self._mix(addr.encode(), nonce)
        return b64encode(nonce + self._tag(nonce + text) + text)

    def open(self, value: bytes) -> str:
        """Return the address in a cookie value, or an empty string when it is not one of ours."""
        try:
            sealed = b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return ""
        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        tag, text = rest[:_TAG_BYTES], rest[_TAG_BYTES:]
        if not 0 < len(text) <= _MAX_TEXT_BYTES or not hmac.compare_digest(tag, self._tag(nonce + text)):
            return ""
        return self._mix(text, nonce).decode()

    def _mix(self, text: bytes, nonce: bytes) -> bytes:
        stream = blake2b(nonce, key=self._stream_key).digest()
        return bytes(a ^ b for a, b in zip(text, stream, strict=False))

    def _tag(self, data: bytes) -> bytes:
        return blake2b(data, key=self._tag_key, digest_size=_TAG_BYTES).digest()


def cookie_value(cookies: bytes) -> bytes:
    """Return the value of our cookie in a `Cookie` field, or ``b""``."""
    for pair in cookies.split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == COOKIE_NAME:
            return value.strip(b'"')
    return b""
