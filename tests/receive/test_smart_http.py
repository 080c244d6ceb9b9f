import base64
import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.receive.smart_http import (
    INFLATE_BYTES,
    Ask,
    Inflate,
    Refusal,
    advertisement_head,
    basic_password,
    read_ask,
    wire_protocol,
)

FETCH = Ask(app="hello", service="upload-pack", advertise=True)
PUSH = Ask(app="hello", service="receive-pack", advertise=True)


@pytest.mark.parametrize(
    ("method", "path", "query", "ask"),
    [
        ("GET", "/hello.git/info/refs", "service=git-upload-pack", FETCH),
        ("GET", "/hello.git/info/refs", "service=git-receive-pack", PUSH),
        ("POST", "/a-1.git/git-upload-pack", "", Ask(app="a-1", service="upload-pack", advertise=False)),
        ("POST", "/a-1.git/git-receive-pack", "", Ask(app="a-1", service="receive-pack", advertise=False)),
    ],
)
def test_the_smart_protocol_is_understood(method, path, query, ask):
    assert read_ask(method, path, query) == ask


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/hello.git/info/refs", "", 404),  # the dumb protocol
        ("GET", "/hello.git/HEAD", "", 404),
        ("GET", "/hello.git/objects/info/packs", "", 404),
        ("GET", "/", "", 404),
        ("GET", "/hello/info/refs", "service=git-upload-pack", 404),
        ("GET", "/hello.git/info/refs", "service=git-shell", 403),
        ("GET", "/hello.git/info/refs", "service=upload-pack", 403),
        ("GET", "/hello.git/info/refs", "service=", 403),
        ("GET", "/Hello.git/info/refs", "service=git-upload-pack", 403),
        ("GET", "/../hello.git/info/refs", "service=git-upload-pack", 403),
        ("GET", "/a/b.git/info/refs", "service=git-upload-pack", 403),
        ("GET", "/.git/info/refs", "service=git-upload-pack", 403),
        ("GET", f"/{'a' * 101}.git/info/refs", "service=git-upload-pack", 403),
        ("GET", "/he\nllo.git/info/refs", "service=git-upload-pack", 403),
        ("GET", "/hello.git/git-receive-pack", "", 405),
        ("POST", "/hello.git/info/refs", "service=git-upload-pack", 405),
        ("HEAD", "/hello.git/info/refs", "service=git-upload-pack", 405),
    ],
)
def test_everything_else_is_refused(method, path, query, status):
    refusal = read_ask(method, path, query)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status


def _basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "password"),
    [
        (_basic("user:key"), "key"),
        (_basic(":key"), "key"),
        (_basic("user:k:e:y"), "k:e:y"),
        (_basic("user:").replace("Basic", "basic"), ""),
        (_basic("user"), None),
        ("Basic ???", None),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), None),
        ("Bearer key", None),
        ("", None),
    ],
)
def test_the_password_is_the_key_whoever_the_user_is(header, password):
    assert basic_password(header) == password


@pytest.mark.parametrize(
    ("ask", "value", "protocol"),
    [
        (FETCH, "version=2", "version=2"),
        (FETCH, "version=2:key=value", "version=2:key=value"),
        (FETCH, "version=2\nEVIL=1", ""),
        (FETCH, "v" * 300, ""),
        (PUSH, "version=2", ""),
    ],
)
def test_only_fetches_know_protocol_versions(ask, value, protocol):
    assert wire_protocol(ask, value) == protocol


def test_an_advertisement_begins_with_its_name_except_in_version_2():
    assert advertisement_head(PUSH, "") == b"001f# service=git-receive-pack\n0000"
    assert advertisement_head(FETCH, "version=1") == b"001e# service=git-upload-pack\n0000"
    assert advertisement_head(FETCH, "version=2") == b""


@given(st.binary(max_size=2000), st.integers(1, 100))
def test_gzip_is_undone_whatever_the_pieces(data, step):
    packed, inflate, out = gzip.compress(data), Inflate(), b""
    for start in range(0, len(packed), step):
        out += b"".join(inflate.feed(packed[start : start + step]))
    inflate.end()
    assert out == data


def test_a_bomb_unpacks_in_bounded_pieces():
    packed = gzip.compress(bytes(5_000_000))
    assert max(map(len, Inflate().feed(packed))) <= INFLATE_BYTES
    assert sum(map(len, Inflate().feed(packed))) == 5_000_000


@pytest.mark.parametrize("data", [b"not gzip", gzip.compress(b"x") + b"more", os.urandom(64)])
def test_what_is_not_gzip_is_refused(data):
    with pytest.raises(ValueError):
        list(Inflate().feed(data))


def test_gzip_that_ends_too_early_is_refused():
    inflate = Inflate()
    list(inflate.feed(gzip.compress(b"hello")[:-3]))
    with pytest.raises(ValueError, match="too early"):
        inflate.end()
