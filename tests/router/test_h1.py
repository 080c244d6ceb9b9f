"""HTTP/1.1 bytes, split anywhere, and held against h11."""

import contextlib
import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.router.framing import RemoteProtocolError, checked_field
from flynn_aio.router.h1 import (
    RequestReader,
    ResponseReader,
    write_chunk,
    write_last_chunk,
    write_request,
    write_response,
)

LIMITS = {"max_head_bytes": 64 * 1024, "max_headers": 200}
Message = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]


def read_requests(pieces: list[bytes]) -> list[Message]:
    """Return all requests in some bytes: method, target, fields, body."""
    reader = RequestReader(**LIMITS)
    waiting = list(pieces)
    found: list[Message] = []
    while True:
        head = reader.next_head()
        if head is None:
            if not waiting:
                return found
            reader.receive(waiting.pop(0))
            continue
        body = b""
        while (piece := reader.next_body()) != b"":
            if piece is None:
                if not waiting:
                    return found
                reader.receive(waiting.pop(0))
            else:
                body += piece
        fields = [(name, value) for name, value, _ in (*head.fields, *reader.trailers)]
        found.append((head.method, head.target, fields, body))


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(points)]


POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = (
    b"POST /b HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5\r\nhello\r\n006;x="y"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n'
)
GET = b"GET /c HTTP/1.1\r\nHost:a.test\r\nX:\r\nY: \t a  b\t \r\n\r\n"
PIPELINE = POST + CHUNKS + GET
WANTED = [
    (b"POST", b"/a", [(b"host", b"a.test"), (b"content-length", b"5")], b"hello"),
    (
        b"POST",
        b"/b",
        [(b"host", b"a.test"), (b"transfer-encoding", b"chunked"), (b"x-sum", b"1")],
        b"hello world",
    ),
    (b"GET", b"/c", [(b"host", b"a.test"), (b"x", b""), (b"y", b"a  b")], b""),
]


def test_a_pipeline_is_read_in_one_piece():
    assert read_requests([PIPELINE]) == WANTED


@pytest.mark.parametrize("at", range(len(PIPELINE)))
def test_a_pipeline_is_read_split_at_every_byte(at):
    assert read_requests([PIPELINE[:at], PIPELINE[at:]]) == WANTED


def test_a_pipeline_is_read_byte_by_byte():
    assert read_requests([PIPELINE[at : at + 1] for at in range(len(PIPELINE))]) == WANTED


BAD_REQUESTS = {
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "LF inside": (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    "CR inside": (b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
    "continued line": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    "first line continued": (b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", 400),
    "blank before colon": (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\n", 400),
    "tab before colon": (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
    "no name": (b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
    "CL.TE": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "TE.TE": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 400),
    "TE folded": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", 400),
    "TE with junk": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400),
    "TE in 1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "unknown coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "two blanks": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tab in the line": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "blank at the end": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    "blank in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no version": (b"GET /\r\nHost: a\r\n\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    "lower case": (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "host of the target": (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "head too large": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431),
    "whole head too large": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    "too many fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 201 + b"\r\n", 431),
    "line too long": (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "line too long, no end": (b"GET /" + b"x" * 17_000, 414),
}
BAD_CHUNKS = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "blank first": b" 5\r\nhello\r\n0\r\n\r\n",
    "bare LF": b"5\nhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "longer than it said": b"5\r\nhello!\r\n0\r\n\r\n",
    "no end": b"5\r\nhello0\r\n\r\n",
    "huge": b"F" * 16 + b"\r\n",
    "endless extension": b"5;" + b"x" * 300,
    "bad trailer": b"0\r\nX : y\r\n\r\n",
    "endless trailer": b"0\r\nX: " + b"y" * 9000,
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_what_could_be_read_differently_is_refused(name):
    data, status = BAD_REQUESTS[name]
    with pytest.raises(RemoteProtocolError) as caught:
        read_requests([data])
    assert caught.value.status == status


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_chunks_that_could_be_read_differently_are_refused(name):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(RemoteProtocolError):
        read_requests([head + BAD_CHUNKS[name]])
    with pytest.raises(RemoteProtocolError):
        read_requests([bytes([byte]) for byte in head + BAD_CHUNKS[name]])


def test_a_blank_line_before_a_request_is_forgiven():
    assert read_requests([POST + b"\r\n" + GET]) == [WANTED[0], WANTED[2]]


def test_a_body_that_breaks_off_is_an_error():
    for head in (b"Content-Length: 9", b"Transfer-Encoding: chunked"):
        reader = RequestReader(**LIMITS)
        reader.receive(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n3\r\nabc\r\n" % head)
        assert reader.next_head() is not None
        reader.receive(b"")
        assert reader.next_body()
        with pytest.raises(RemoteProtocolError):
            reader.next_body()


def test_what_follows_an_upgrade_is_not_touched():
    reader = RequestReader(**LIMITS)
    reader.receive(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n\0\1raw")
    head = reader.next_head()
    assert head is not None
    assert head.upgrade == b"x"
    assert reader.take_rest() == b"\0\1raw"


def read_response(data: bytes, method: bytes = b"GET") -> tuple[list[int], bytes, bool]:
    """Return the statuses, the body, and whether the connection may be used again."""
    reader = ResponseReader(**LIMITS)
    reader.receive(data)
    statuses = []
    while head := reader.next_head(method):
        statuses.append(head.status)
        if head.status >= 200:
            break
    reader.receive(b"")
    body = b""
    while piece := reader.next_body():
        body += piece
    assert head is not None
    return statuses, body, head.keep_alive


@pytest.mark.parametrize(
    ("data", "method", "wanted"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"GET", ([200], b"hi", True)),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", b"GET", ([200], b"hi", True)),
        (b"HTTP/1.1 200 Gr\xc3\xbcn\r\nContent-Length: 0\r\n\r\n", b"GET", ([200], b"", True)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD", ([200], b"", True)),
        (b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", b"GET", ([204], b"", True)),
        (b"HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n", b"GET", ([304], b"", True)),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"GET", ([200], b"until the end", False)),
        (b"HTTP/1.0 200 OK\r\n\r\n", b"GET", ([200], b"", False)),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            b"GET",
            ([100, 103, 200], b"hi", True),
        ),
    ],
)
def test_responses_end_where_they_should(data, method, wanted):
    assert read_response(data, method) == wanted


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nX y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    ],
)
def test_what_is_no_response_is_an_error(data):
    with pytest.raises(RemoteProtocolError):
        read_response(data)


# Against h11

tokens = st.from_regex(rb"\A[A-Za-z!#$%&'*+.^_`|~0-9-]{1,12}\Z")
values = st.from_regex(rb"\A(?:[!-~](?:[ -~]{0,20}[!-~])?)?\Z")
framing_names = {b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade", b"expect"}
plain_fields = st.lists(st.tuples(tokens.filter(lambda name: name.lower() not in framing_names), values), max_size=5)
targets = st.from_regex(rb"\A/[!\"$-~]{0,20}\Z")


@st.composite
def requests(draw) -> tuple[bytes, Message]:
    """A request as bytes, and what it says."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"]))
    fields = [(b"Host", b"a.test"), *draw(plain_fields)]
    pieces = draw(st.lists(st.binary(min_size=1, max_size=50), max_size=4))
    body = b"".join(pieces)
    if draw(st.booleans()):
        fields.append((b"Transfer-Encoding", b"chunked"))
        wire = b"".join(map(write_chunk, pieces)) + write_last_chunk()
    else:
        wire = body
        if body or draw(st.booleans()):
            fields.append((b"Content-Length", b"%d" % len(body)))
    target = draw(targets)
    lines = [checked_field(name, value)[2] for name, value in fields]
    message = (method, target, [(name.lower(), value) for name, value in fields], body)
    return write_request(method, target, lines) + wire, message


def with_h11(data: bytes) -> list[Message]:
    """What h11 reads from the same bytes; raises where it refuses."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    found: list[Message] = []
    head, body = None, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            head, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            fields = [(bytes(name), bytes(value)) for name, value in (*head.headers, *event.headers)]
            found.append((bytes(head.method), bytes(head.target), fields, body))
            connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return found
            connection.start_next_cycle()
        else:
            return found


@given(st.lists(requests(), min_size=1, max_size=3), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_was_written_is_read_however_it_is_split(made, cuts):
    data = b"".join(wire for wire, _ in made)
    assert read_requests(split(data, cuts)) == [message for _, message in made]
    assert with_h11(data) == [message for _, message in made]


MUTATIONS = [b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"\x0b", b"\xff", b"chunked", b"5", b""]


@given(
    requests(), st.integers(0, 10_000), st.integers(0, 3), st.sampled_from(MUTATIONS), st.lists(st.integers(0, 10_000))
)
def test_what_we_accept_h11_reads_the_same(made, at, cut, inserted, cuts):
    """We may refuse more than h11 does. What we would forward, it must understand as we do."""
    wire, _ = made
    at %= len(wire)
    data = wire[:at] + inserted + wire[at + cut :]
    try:
        ours = read_requests(split(data, cuts))
    except RemoteProtocolError:
        return
    try:
        theirs = with_h11(data[2:] if data.startswith(b"\r\n") else data)
    except h11.RemoteProtocolError:
        theirs = None
    if theirs is None:
        # h11 refuses what comes behind a complete request as well; then nothing of that was ours.
        assert len(ours) <= 1
    else:
        assert ours[: len(theirs)] == theirs[: len(ours)]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_any_bytes_are_read_or_refused(data, cuts):
    with contextlib.suppress(RemoteProtocolError):
        read_requests(split(data, cuts))
    with contextlib.suppress(RemoteProtocolError):
        read_response(b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n")


def test_heads_are_written_canonically():
    lines = [checked_field(b"A", b"b")[2]]
    assert write_request(b"GET", b"/x", lines) == b"GET /x HTTP/1.1\r\nA: b\r\n\r\n"
    assert write_response(200, b"OK", lines) == b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
