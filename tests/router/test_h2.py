"""HTTP/2 bytes to requests, against the h2 library's own client."""

import contextlib

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.router.framing import CHUNKED, HTTP_2, NO_BODY, RemoteProtocolError, field
from flynn_aio.router.h2 import (
    BUDGET,
    BodyReceived,
    ClientEnded,
    Http2Connection,
    RequestBegan,
    RequestCancelled,
    RequestEnded,
    RequestRefused,
    WindowOpened,
)

GET = [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/x?y")]
POST = [(":method", "POST"), *GET[1:]]


class Pair:
    """A client of the library and our core, joined."""

    def __init__(self) -> None:
        config = H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.client = H2Connection(config)
        self.client.initiate_connection()
        self.server = Http2Connection(max_streams=100, max_head_bytes=65536, max_headers=200, now=0.0)
        self.client_events: list[object] = []
        self.to_server()
        self.to_client()

    def to_server(self, now: float = 0.0) -> list[object]:
        events = self.server.receive(self.client.data_to_send(), now)
        return [event for event in events if event != WindowOpened(0)]

    def to_client(self) -> list[object]:
        return self.client.receive_data(self.server.take())

    def ask(self, headers, *, end: bool = True, stream: int = 1) -> list[object]:
        self.client.send_headers(stream, headers, end_stream=end)
        return self.to_server()


def test_a_request_is_read():
    [began, ended] = Pair().ask([*GET, ("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2")])
    assert isinstance(began, RequestBegan)
    head = began.head
    assert (began.stream, began.ended) == (1, True)
    assert (head.minor, head.method, head.target, head.authority, head.body) == (
        HTTP_2, b"GET", b"/x?y", b"a.test", NO_BODY,
    )  # fmt: skip
    assert [(name, value) for name, value, _ in head.fields] == [(b"accept", b"*/*"), (b"cookie", b"a=1; b=2")]
    assert ended == RequestEnded(1, [])


def test_the_host_may_stand_in_for_the_authority():
    [began, _] = Pair().ask([GET[0], GET[1], GET[3], ("host", "b.test")])
    assert isinstance(began, RequestBegan)
    assert began.head.authority == b"b.test"


@pytest.mark.parametrize(("length", "body"), [([], CHUNKED), ([("content-length", "5")], 5)])
def test_a_body_arrives_and_is_paid_for(length, body):
    pair = Pair()
    [began] = pair.ask([*POST, *length], end=False)
    assert isinstance(began, RequestBegan)
    assert began.head.body == body
    window = pair.client.local_flow_control_window(1)
    pair.client.send_data(1, b"hello", end_stream=True)
    assert pair.to_server() == [BodyReceived(1, b"hello", 5), RequestEnded(1, [])]
    pair.to_client()
    assert pair.client.local_flow_control_window(1) == window - 5


def test_flow_control_is_returned_for_what_was_taken_only():
    pair = Pair()
    pair.ask(POST, end=False)
    total = 0
    while room := min(pair.client.local_flow_control_window(1), 16384):
        pair.client.send_data(1, bytes(room))
        total += room
    pair.to_server()
    pair.to_client()
    assert total == 65535
    assert pair.client.local_flow_control_window(1) == 0
    pair.server.acknowledge(1, total)
    pair.to_client()
    assert pair.client.local_flow_control_window(1) == 65535


def test_trailers_arrive():
    pair = Pair()
    pair.ask(POST, end=False)
    pair.client.send_headers(1, [("x-sum", "1")], end_stream=True)
    assert pair.to_server()[0] == RequestEnded(1, [(b"x-sum", b"1", b"x-sum: 1\r\n")])


def test_an_answer_is_written():
    pair = Pair()
    pair.ask(GET)
    pair.server.send_head(1, 103, [field(b"Link", b"x")], end=False)
    pair.server.send_head(1, 200, [field(b"Content-Length", b"5")], end=False)
    pair.server.send_data(1, b"hello")
    pair.server.send_end(1, [field(b"X-Sum", b"1")])
    events = pair.to_client()
    [answer] = [event for event in events if isinstance(event, ResponseReceived)]
    assert answer.headers == [(b":status", b"200"), (b"content-length", b"5")]
    assert [event.data for event in events if isinstance(event, DataReceived)] == [b"hello"]
    assert any(isinstance(event, TrailersReceived) for event in events)
    assert any(isinstance(event, StreamEnded) for event in events)


MALFORMED = {
    "upper case": [*GET, ("X-Y", "1")],
    "blank around": [*GET, ("x", " 1")],
    "connection": [*GET, ("connection", "close")],
    "keep-alive": [*GET, ("keep-alive", "1")],
    "transfer-encoding": [*GET, ("transfer-encoding", "chunked")],
    "upgrade": [*GET, ("upgrade", "h2c")],
    "te": [*GET, ("te", "gzip")],
    "no method": GET[1:],
    "no path": GET[:3],
    "no scheme": [GET[0], *GET[2:]],
    "no authority": [GET[0], GET[1], GET[3]],
    "empty path": [*GET[:3], (":path", "")],
    "path is none": [*GET[:3], (":path", "x")],
    "two paths": [*GET, (":path", "/y")],
    "pseudo late": [GET[0], ("x", "1"), *GET[1:]],
    "pseudo unknown": [*GET, (":x", "1")],
    "response pseudo": [*GET, (":status", "200")],
    "host differs": [*GET, ("host", "b.test")],
    "two hosts": [*GET, ("host", "a.test"), ("host", "a.test")],
    "LF in a value": [*GET, ("x", "1\nHost: b")],
    "CRLF in a value": [*GET, ("x", "1\r\nHost: b")],
    "NUL in a value": [*GET, ("x", "1\0")],
    "blank in a name": [*GET, ("x y", "1")],
    "colon in a name": [*GET, ("x:y", "1")],
    "LF in the path": [*GET[:3], (":path", "/\r\nX: y")],
    "blank in the path": [*GET[:3], (":path", "/ HTTP/1.1")],
    "LF in the method": [(":method", "GET\r\n"), *GET[1:]],
    "blank in the authority": [*GET[:2], (":authority", "a b"), GET[3]],
    "user in the authority": [*GET[:2], (":authority", "u@a.test"), GET[3]],
    "lengths": [*GET, ("content-length", "0"), ("content-length", "0")],
    "length without body": [*GET, ("content-length", "5")],
    "scheme": [GET[0], (":scheme", "ftp"), *GET[2:]],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_never_becomes_one(name):
    pair = Pair()
    try:
        events = pair.ask(MALFORMED[name])
    except RemoteProtocolError:
        assert pair.server.take()  # a connection error: the reason is on its way
        return
    assert not [event for event in events if isinstance(event, RequestBegan)]
    [reset] = [event for event in pair.to_client() if isinstance(event, StreamReset)]
    assert reset.error_code == ErrorCodes.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(":method", "CONNECT"), (":authority", "a.test:443")], 405),
        ([*GET, *[(f"x{n}", "1") for n in range(250)]], 431),
    ],
)
def test_some_requests_get_a_reason(headers, status):
    assert Pair().ask(headers)[0] == RequestRefused(1, status)


def test_a_header_list_too_large_ends_the_connection():
    pair = Pair()
    with pytest.raises(RemoteProtocolError):
        pair.ask([*GET, *[(f"x{n}", "y" * 4000) for n in range(100)]])
    [end] = [event for event in pair.to_client() if isinstance(event, ConnectionTerminated)]
    assert end.error_code == ErrorCodes.ENHANCE_YOUR_CALM


def flood_pings(pair: Pair, n: int) -> None:
    pair.client.ping(n.to_bytes(8, "big"))


def flood_settings(pair: Pair, n: int) -> None:
    pair.client.update_settings({4: 65535 + n % 2})


def flood_resets(pair: Pair, n: int) -> None:
    stream = 2 * n + 1
    pair.client.send_headers(stream, GET, end_stream=False)
    pair.client.reset_stream(stream)


def flood_empty_data(pair: Pair, n: int) -> None:
    if n == 0:
        pair.client.send_headers(1, POST, end_stream=False)
    pair.client.send_data(1, b"")


def flood_priorities(pair: Pair, n: int) -> None:
    pair.client.prioritize(2 * n + 1, weight=16)


FLOODS = [flood_pings, flood_settings, flood_resets, flood_empty_data, flood_priorities]


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_told_to_calm_down(flood):
    pair = Pair()
    with pytest.raises(RemoteProtocolError):
        for n in range(int(BUDGET) * 2):
            flood(pair, n)
            pair.to_server()
    data = pair.server.take()
    assert data[-4:] == int(ErrorCodes.ENHANCE_YOUR_CALM).to_bytes(4, "big")


@pytest.mark.parametrize("flood", FLOODS)
def test_the_same_at_leisure_is_fine(flood):
    pair = Pair()
    for n in range(int(BUDGET) * 2):
        flood(pair, n)
        pair.to_server(now=n / 10)
        pair.server.take()


def test_a_cancelled_request_is_told():
    pair = Pair()
    pair.ask(POST, end=False)
    pair.client.reset_stream(1)
    assert pair.to_server() == [RequestCancelled(1)]
    with pytest.raises(RemoteProtocolError):
        pair.server.send_head(1, 200, [], end=True)
    pair.server.reset(1, ErrorCodes.CANCEL)  # says nothing more
    pair.server.acknowledge(1, 100)
    assert pair.server.window(99) == 0


def test_going_away_lets_open_requests_finish_and_takes_no_new_ones():
    pair = Pair()
    pair.ask(GET)
    pair.server.go_away()
    pair.server.go_away()
    data = pair.server.take()
    assert data.endswith(bytes.fromhex("000008 07 00 00000000 00000001 00000000"))
    pair.client.send_headers(3, GET, end_stream=True)  # was on its way already
    assert not [event for event in pair.to_server() if isinstance(event, RequestBegan)]
    [reset] = [event for event in pair.to_client() if isinstance(event, StreamReset)]
    assert (reset.stream_id, reset.error_code) == (3, ErrorCodes.REFUSED_STREAM)
    pair.server.send_head(1, 204, [], end=True)
    assert any(isinstance(event, ResponseReceived) for event in pair.to_client())


def test_a_client_that_goes_away_is_heard():
    pair = Pair()
    pair.client.close_connection()
    assert pair.to_server() == [ClientEnded()]


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_read_or_refused(data: bytes, at: int):
    pair = Pair()
    pair.client.send_headers(1, POST)
    pair.client.send_data(1, b"x" * 50)
    pair.client.send_headers(3, GET, end_stream=True)
    good = pair.client.data_to_send()
    with contextlib.suppress(RemoteProtocolError):
        pair.server.receive(good[:at] + data + good[at:], 0.0)
    pair.server.take()


@given(st.lists(st.tuples(st.binary(max_size=10), st.binary(max_size=10)), max_size=6))
def test_any_fields_make_a_clean_head_or_none(fields):
    pair = Pair()
    with contextlib.suppress(RemoteProtocolError):
        for event in pair.ask([*GET, *fields]):
            if isinstance(event, RequestBegan):
                for name, value, line in event.head.fields:
                    assert line == name + b": " + value + b"\r\n"
                    assert line.count(b"\r") == line.count(b"\n") == 1
                    assert b"\0" not in line
