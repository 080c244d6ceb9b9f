"""The cookie that remembers a backend."""

from base64 import b64decode, b64encode

from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.router.sticky import NONCE_BYTES, CookieKey, cookie_value

KEY = CookieKey(bytes(range(32)))
NONCE = bytes(NONCE_BYTES)


@given(st.from_regex(r"\A[0-9.:\[\]a-f]{3,56}\Z"), st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES))
def test_what_was_sealed_opens(addr: str, nonce: bytes):
    sealed = KEY.seal(addr, nonce)
    assert KEY.open(sealed) == addr
    assert addr.encode() not in b64decode(sealed)


def test_another_key_opens_nothing():
    assert CookieKey(bytes(32)).open(KEY.seal("10.0.0.1:80", NONCE)) == ""


def test_a_changed_cookie_opens_nothing():
    sealed = b64decode(KEY.seal("10.0.0.1:80", NONCE))
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        assert KEY.open(b64encode(changed)) == ""


@given(st.binary())
def test_anything_else_is_ignored(value: bytes):
    assert KEY.open(value) == ""
    assert KEY.open(b64encode(value)) == ""


def test_the_cookie_is_found_among_others():
    assert cookie_value(b"a=b; _backend=xyz==; c=d") == b"xyz=="
    assert cookie_value(b"_backendx=1; x_backend=2") == b""
    assert cookie_value(b"") == b""
