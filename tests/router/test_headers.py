"""What a backend is told about a request, and a client about a response."""

import pytest

from flynn_aio.router.framing import HTTP_2, Request, checked_field, request, response
from flynn_aio.router.headers import Hop, passable_trailers, request_lines, response_fields

HOP = Hop(b"127.0.0.1", b"http", b"80")
ID = "7b6c1f2e-0000-4000-8000-000000000000"


def head(*pairs: tuple[bytes, bytes], minor: int = 1, method: bytes = b"GET") -> Request:
    fields = [checked_field(name, value) for name, value in ((b"Host", b"A.test:80"), *pairs)]
    return request(minor, method, b"/", fields)


def sent(*pairs: tuple[bytes, bytes], **more) -> dict[bytes, bytes]:
    lines = b"".join(request_lines(head(*pairs), HOP, now_ms=1234567890123, new_id=lambda: ID, **more))
    return dict(line.split(b": ", 1) for line in lines.split(b"\r\n") if line)


def test_a_backend_learns_who_asked():  # TestHTTPHeaders
    assert sent((b"Accept", b"*/*")) == {
        b"Host": b"A.test:80",  # TestHostPortStripping, TestCaseInsensitiveDomain: as received
        b"Accept": b"*/*",
        b"X-Forwarded-For": b"127.0.0.1",
        b"X-Forwarded-Proto": b"http",
        b"X-Forwarded-Port": b"80",
        b"X-Request-Id": ID.encode(),
        b"X-Request-Start": b"1234567890123",
    }


def test_what_the_client_was_told_before_is_kept():  # TestHTTPHeadersFromClient, TestFwdProtoHandler
    got = sent(
        (b"X-Forwarded-For", b"192.168.1.1"),
        (b"X-Forwarded-For", b"10.0.0.1, 10.0.0.2"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Port", b"443"),
        (b"X-Request-Start", b"17"),
        (b"X-Request-Id", b"asdf1234asdf"),
    )
    assert got[b"X-Forwarded-For"] == b"192.168.1.1, 10.0.0.1, 10.0.0.2, 127.0.0.1"
    assert got[b"X-Forwarded-Proto"] == b"https, http"
    assert got[b"X-Forwarded-Port"] == b"443, 80"
    assert got[b"X-Request-Start"] == b"1234567890123"
    assert got[b"X-Request-Id"] == ID.encode()


@pytest.mark.parametrize(
    ("value", "kept"),
    [(b"a" * 19, False), (b"a" * 20, True), (b"a" * 200, True), (b"a" * 201, False), (b"a" * 19 + b"!", False)],
)
def test_a_request_id_of_the_client_is_kept_when_it_is_one(value, kept):  # TestClientProvidedRequestID
    assert (sent((b"X-Request-Id", value))[b"X-Request-Id"] == value) is kept


def test_fields_of_the_proxy_pass():  # TestHTTPProxyHeadersFromClient
    pairs = [(b"Proxy-Authenticate", b"x"), (b"Proxy-Authorization", b"y"), (b"Proxy-Connection", b"z")]
    assert {name: value for name, value in sent(*pairs).items() if name.startswith(b"Proxy")} == dict(pairs)


HOP_FIELDS = [
    (b"Keep-Alive", b"1"),
    (b"Upgrade", b"x"),
    (b"Name1", b"1"),
    (b"Name2", b"2"),
    (b"Proxy-Connection", b"1"),
]
EXPECTED = [
    (b"", {b"Keep-Alive", b"Name1", b"Name2", b"Proxy-Connection"}),
    (b"keep-alive", {b"Name1", b"Name2", b"Proxy-Connection"}),
    (b"Name1", {b"Keep-Alive", b"Name2", b"Proxy-Connection"}),
    (b"name1,   ,name2   ", {b"Keep-Alive", b"Proxy-Connection"}),
    (b"upgrade", {b"Connection", b"Keep-Alive", b"Upgrade", b"Name1", b"Name2", b"Proxy-Connection"}),
    (b"upGrade, a,   ,b   ", {b"Connection", b"Keep-Alive", b"Upgrade", b"Name1", b"Name2", b"Proxy-Connection"}),
]


@pytest.mark.parametrize(("connection", "left"), EXPECTED)
def test_connection_names_what_stays_behind(connection, left):  # TestConnectionHeaders, to the backend
    pairs = ([(b"Connection", connection)] if connection else []) + HOP_FIELDS
    got = sent(*pairs)
    assert {name for name in got if name in dict(HOP_FIELDS) or name == b"Connection"} == left


@pytest.mark.parametrize(("connection", "left"), EXPECTED)
def test_connection_names_what_stays_behind_on_the_way_back(connection, left):  # TestConnectionHeaders
    pairs = ([(b"Connection", connection)] if connection else []) + HOP_FIELDS
    answer = response(
        1, 101 if b"pgrade" in left else 200, b"", [checked_field(*pair) for pair in pairs], method=b"GET"
    )
    upgraded = b"Upgrade" in left
    names = {line.split(b":")[0] for _, _, line in response_fields(answer, method=b"GET", upgraded=upgraded)}
    assert names == left


def test_te_and_trailers_are_for_one_hop():
    got = sent((b"Te", b"trailers"), (b"Trailers", b"x"), (b"Trailer", b"y"), (b"HTTP2-Settings", b"z"))
    assert {b"Te", b"Trailers", b"HTTP2-Settings"}.isdisjoint(got)
    assert got[b"Trailer"] == b"y"


def test_the_host_cannot_be_taken_away():
    assert sent((b"Connection", b"host, content-length, x-forwarded-for"))[b"Host"] == b"A.test:80"


def test_a_client_cannot_take_away_what_we_say_about_it():
    got = sent((b"Connection", b"x-forwarded-for"), (b"X-Forwarded-For", b"6.6.6.6"))
    assert got[b"X-Forwarded-For"] == b"127.0.0.1"


@pytest.mark.parametrize(
    ("pairs", "framing"),
    [
        ([], {}),
        ([(b"Content-Length", b"0")], {b"Content-Length": b"0"}),
        ([(b"Content-Length", b"007")], {b"Content-Length": b"7"}),
        ([(b"Content-Length", b"7"), (b"Connection", b"content-length")], {b"Content-Length": b"7"}),
        ([(b"Transfer-Encoding", b"CHUNKED")], {b"Transfer-Encoding": b"chunked"}),
    ],
)
def test_framing_is_written_anew(pairs, framing):
    got = sent(*pairs)
    assert {name: got[name] for name in (b"Content-Length", b"Transfer-Encoding") if name in got} == framing


def test_an_empty_body_is_said_to_be_empty():
    lines = request_lines(head(method=b"POST"), HOP, now_ms=1, new_id=lambda: ID)
    assert b"Content-Length: 0\r\n" in lines


def test_we_answer_an_expectation_ourselves_and_pass_on_others():
    assert b"Expect" not in sent((b"Expect", b"100-Continue"))
    assert sent((b"Expect", b"a-lot"))[b"Expect"] == b"a-lot"


def test_a_connection_that_is_not_used_again_says_so():
    assert sent((b"Connection", b"keep-alive"), keep_alive=False)[b"Connection"] == b"close"
    assert b"Connection" not in sent((b"Connection", b"close"))  # TestConnectionCloseHeaderFromClient


def test_an_authority_of_http_2_becomes_the_host():
    wanted = head(minor=HTTP_2)._replace(fields=[])
    lines = request_lines(wanted, HOP, now_ms=1, new_id=lambda: ID)
    assert lines[0] == b"Host: A.test:80\r\n"


def answer(*pairs: tuple[bytes, bytes], status: int = 200, method: bytes = b"GET", **more) -> list[bytes]:
    head = response(1, status, b"", [checked_field(*pair) for pair in pairs], method=method)
    return [line for _, _, line in response_fields(head, method=method, **more)]


def test_the_length_of_a_response_is_kept_where_it_means_something():
    length = [b"Content-Length: 5\r\n"]
    assert answer((b"Content-Length", b"5")) == length
    assert answer((b"Content-Length", b"05")) == length
    assert answer((b"Content-Length", b"5"), method=b"HEAD") == length
    assert answer((b"Content-Length", b"5"), status=304) == length
    assert answer((b"Content-Length", b"0"), status=204) == []
    assert answer((b"Transfer-Encoding", b"chunked"), method=b"HEAD") == []


def test_the_sticky_cookie_is_added():
    assert answer((b"Content-Length", b"0"), sticky=b"xyz")[-1] == b"Set-Cookie: _backend=xyz; Path=/\r\n"


def test_trailers_cannot_change_what_came_first():
    fields = [checked_field(name, b"1") for name in (b"Content-Length", b"Host", b"Set-Cookie", b"X-Checksum")]
    assert [name for name, _, _ in passable_trailers(fields)] == [b"x-checksum"]
