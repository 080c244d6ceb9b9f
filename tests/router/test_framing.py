"""The one judge of heads: what two servers could read differently is refused."""

import pytest

from flynn_aio.router.framing import (
    CHUNKED,
    HTTP_2,
    NO_BODY,
    UNTIL_CLOSE,
    RemoteProtocolError,
    checked_field,
    host_of,
    request,
    response,
)


def fields(*pairs: tuple[bytes, bytes]):
    return [checked_field(name, value) for name, value in pairs]


HOST = (b"Host", b"a.test")


@pytest.mark.parametrize(
    ("minor", "more", "body"),
    [
        (1, [], NO_BODY),
        (1, [(b"Content-Length", b"0")], NO_BODY),
        (1, [(b"Content-Length", b"12")], 12),
        (0, [(b"Content-Length", b"12")], 12),
        (1, [(b"Transfer-Encoding", b"chunked")], CHUNKED),
        (1, [(b"Transfer-Encoding", b"Chunked")], CHUNKED),
    ],
)
def test_the_length_of_a_request_is_certain(minor, more, body):
    assert request(minor, b"POST", b"/", fields(HOST, *more)).body == body


@pytest.mark.parametrize(
    ("minor", "more", "status"),
    [
        (1, [(b"Content-Length", b"1"), (b"Content-Length", b"1")], 400),
        (1, [(b"Content-Length", b"1"), (b"Content-Length", b"2")], 400),
        (1, [(b"Content-Length", b"1, 1")], 400),
        (1, [(b"Content-Length", b"+1")], 400),
        (1, [(b"Content-Length", b"-1")], 400),
        (1, [(b"Content-Length", b"0x1")], 400),
        (1, [(b"Content-Length", b"1_0")], 400),
        (1, [(b"Content-Length", b"")], 400),
        (1, [(b"Content-Length", b"1" * 19)], 400),
        (1, [(b"Content-Length", b"\xb2")], 400),
        (1, [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"1")], 400),
        (1, [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")], 400),
        (1, [(b"Transfer-Encoding", b"chunked, chunked")], 501),
        (1, [(b"Transfer-Encoding", b"gzip, chunked")], 501),
        (1, [(b"Transfer-Encoding", b"identity")], 501),
        (1, [(b"Transfer-Encoding", b"xchunked")], 501),
        (1, [(b"Transfer-Encoding", b"")], 501),
        (0, [(b"Transfer-Encoding", b"chunked")], 400),
        (HTTP_2, [(b"Transfer-Encoding", b"chunked")], 400),
        (HTTP_2, [(b"Connection", b"close")], 400),
        (1, [(b"Host", b"b.test")], 400),
        (1, [(b"Host", b"a.test")], 400),
    ],
)
def test_an_uncertain_request_is_refused(minor, more, status):
    with pytest.raises(RemoteProtocolError) as caught:
        request(minor, b"POST", b"/", fields(HOST, *more))
    assert caught.value.status == status


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"u@h", b"a\\b", b"a?b", b"a#b", b"a\xff"])
def test_a_host_that_is_none_is_refused(host):
    with pytest.raises(RemoteProtocolError):
        request(1, b"GET", b"/", fields((b"Host", host)))


def test_only_the_oldest_clients_may_leave_the_host_out():
    assert request(0, b"GET", b"/", []).authority == b""
    with pytest.raises(RemoteProtocolError):
        request(1, b"GET", b"/", [])


@pytest.mark.parametrize(
    "target",
    [b"/", b"//foo", b"/%2F/..", b"/?a=b&;c", b"/a{b}|c", b"http://a.test/x", b"HTTP://A.TEST", b"https://a.test?q"],
)
def test_targets_pass_verbatim(target):
    assert request(1, b"GET", target, fields(HOST)).target == target


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b""),
        (b"GET", b"x"),
        (b"GET", b"*"),
        (b"GET", b"/ x"),
        (b"GET", b"/#x"),
        (b"GET", b"/\xc3\xa4"),
        (b"GET", b"/\x00"),
        (b"GET", b"ftp://a.test/"),
        (b"GET", b"http://b.test/"),
        (b"GET", b"http://a.test@b.test/"),
        (b"GET", b"http:///x"),
        (b"CONNECT", b"a.test:443"),
        (b"G ET", b"/"),
        (b"", b"/"),
    ],
)
def test_other_targets_are_refused(method, target):
    with pytest.raises(RemoteProtocolError):
        request(1, method, target, fields(HOST))


def test_options_may_ask_about_the_whole_server():
    assert request(1, b"OPTIONS", b"*", fields(HOST)).target == b"*"


@pytest.mark.parametrize(
    ("minor", "connection", "keep_alive"),
    [(1, b"", True), (1, b"Close", False), (1, b"x , close", False), (0, b"", False), (0, b"Keep-Alive", True)],
)
def test_keep_alive_is_what_the_version_and_the_tokens_say(minor, connection, keep_alive):
    head = request(minor, b"GET", b"/", fields(HOST, (b"Connection", connection)))
    assert head.keep_alive is keep_alive


@pytest.mark.parametrize("token", [b"upgrade", b"Upgrade", b"upGradE", b"upGrade, a,   ,b   "])
def test_an_upgrade_needs_its_token_in_any_case(token):
    head = request(1, b"GET", b"/", fields(HOST, (b"Connection", token), (b"Upgrade", b"WebSocket")))
    assert head.upgrade == b"WebSocket"


@pytest.mark.parametrize(
    ("minor", "more"),
    [
        (1, [(b"Upgrade", b"websocket")]),
        (1, [(b"Connection", b"upgrade")]),
        (0, [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket")]),
        (1, [(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", b"h2c")]),
    ],
)
def test_anything_less_is_no_upgrade(minor, more):
    assert request(minor, b"GET", b"/", fields(HOST, *more)).upgrade == b""


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"\xe4", b"a\x00", b"a\n", b"(a)"])
def test_a_field_name_is_a_token(name):
    with pytest.raises(RemoteProtocolError):
        checked_field(name, b"x")


@pytest.mark.parametrize("value", [b"a\x00", b"a\r", b"a\nb", b"\x1b", b"\x7f"])
def test_a_field_value_has_no_control_characters(value):
    with pytest.raises(RemoteProtocolError):
        checked_field(b"a", value)


@pytest.mark.parametrize(
    ("status", "minor", "method", "more", "body", "keep_alive"),
    [
        (200, 1, b"GET", [(b"Content-Length", b"3")], 3, True),
        (200, 1, b"HEAD", [(b"Content-Length", b"3")], NO_BODY, True),
        (204, 1, b"GET", [(b"Content-Length", b"3")], NO_BODY, True),
        (304, 1, b"GET", [(b"Content-Length", b"3")], NO_BODY, True),
        (100, 1, b"GET", [], NO_BODY, True),
        (200, 1, b"GET", [(b"Transfer-Encoding", b"chunked")], CHUNKED, True),
        (200, 1, b"HEAD", [(b"Transfer-Encoding", b"chunked")], NO_BODY, True),
        (200, 1, b"GET", [], UNTIL_CLOSE, False),
        (200, 0, b"GET", [(b"Content-Length", b"3")], 3, False),
        (200, 0, b"GET", [(b"Content-Length", b"3"), (b"Connection", b"keep-alive")], 3, True),
        (200, 1, b"GET", [(b"Content-Length", b"3"), (b"Connection", b"close")], 3, False),
    ],
)
def test_the_length_of_a_response_is_certain(status, minor, method, more, body, keep_alive):
    head = response(minor, status, b"", fields(*more), method=method)
    assert (head.body, head.keep_alive) == (body, keep_alive)


@pytest.mark.parametrize(
    "more",
    [
        [(b"Content-Length", b"1"), (b"Content-Length", b"2")],
        [(b"Content-Length", b"x")],
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"gzip")],
        [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
    ],
)
def test_a_backend_that_lies_about_lengths_is_not_believed(more):
    with pytest.raises(RemoteProtocolError):
        response(1, 200, b"OK", fields(*more), method=b"GET")


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"X.Test", "x.test"),
        (b"x:80", "x"),
        (b"x:", "x"),
        (b"[::1]:80", "[::1]"),
        (b"[::1]", "[::1]"),
        (b"", ""),
        (b"x:y", "x:y"),
    ],
)
def test_the_host_is_what_the_table_knows(authority, host):
    assert host_of(authority) == host
