"""A provider's URL, taken apart."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.providers import Place


@pytest.mark.parametrize(
    ("url", "host", "port", "plain_port", "secure", "authority", "path"),
    [
        ("http://pg.example.com", "pg.example.com", None, 80, False, "pg.example.com", "/"),
        ("https://pg.example.com/databases", "pg.example.com", None, 443, True, "pg.example.com", "/databases"),
        (
            "http://pg-web.discoverd:3000/a/b?c=d",
            "pg-web.discoverd",
            3000,
            3000,
            False,
            "pg-web.discoverd:3000",
            "/a/b?c=d",
        ),
        ("http://[::1]:80/x", "::1", 80, 80, False, "[::1]:80", "/x"),
        ("HTTP://Example.COM./", "example.com.", None, 80, False, "Example.COM.", "/"),
    ],
)
def test_a_url_is_taken_apart(url, host, port, plain_port, secure, authority, path):
    place = Place.parse(url)
    assert (place.host, place.port, place.plain_port, place.secure) == (host, port, plain_port, secure)
    assert (place.authority, place.path, place.authorization) == (authority, path, "")


def test_user_and_password_become_a_header_and_are_shown_nowhere():
    place = Place.parse("https://me:s%3Acret@example.com/things")
    assert place.authorization == "Basic bWU6czpjcmV0"  # me:s:cret
    assert place.authority == "example.com"
    assert place.shown == "https://example.com/things"


def test_an_id_is_escaped_and_joins_a_query_that_is_there():
    assert Place.parse("http://x/things").path_of("/databases/a:b&c") == "/things?id=%2Fdatabases%2Fa%3Ab%26c"
    assert Place.parse("http://x/things?size=1").path_of("ü") == "/things?size=1&id=%C3%BC"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgres-api", "is not like http://HOST/PATH"),
        ("ftp://example.com/", "is not like"),
        ("http:///databases", "is not like"),
        ("http://example.com:0/", "is not like"),
        ("http://ex*mple.com/", "is not like"),
        ("http://a..b/", "is not like"),
        ("http://.example.com/", "is not like"),
        (f"http://{'a' * 64}.example.com/", "is not like"),
        (f"http://{'a.' * 126}ab/", "is not like"),
        ("http://example.com:port/", "cannot be taken apart"),
        ("http://[::1/", "cannot be taken apart"),
        ("http://example.com/a b", "characters"),
        ("http://exämple.com/", "characters"),
        ("http://example.com/\r\nX: y", "characters"),
    ],
)
def test_what_is_no_provider_is_told_so(url, says):
    with pytest.raises(ValueError, match=says):
        Place.parse(url)


PIECES = st.text("aA0.-_:[]@%/?#é ")


@given(text=st.text() | st.builds("http://{}/{}".format, PIECES, PIECES))
def test_whatever_is_taken_for_a_place_can_be_asked(text):
    """A host that the resolver or TLS cannot even encode would be a bug at the time of asking."""
    try:
        place = Place.parse(text)
    except ValueError:
        return
    place.host.encode("idna")
    headers = [("Host", place.authority), ("Authorization", place.authorization or "x")]
    h11.Request(method="DELETE", target=place.path_of("/a b"), headers=headers)
