"""The client's end of HTTP/1.1: what is sent, and what is made of any answer."""

import io
import subprocess
import sys
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.cli.http1 import Disconnected, HTTPError, Response, Truncated, read_response, request_bytes


class Pieces(io.RawIOBase):
    """A wire on which bytes come as they were cut, then the end."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self._pieces:
            return 0
        piece = self._pieces[0][: len(buffer)]
        self._pieces[0] = self._pieces[0][len(piece) :]
        self._pieces = [piece for piece in self._pieces if piece]
        buffer[: len(piece)] = piece
        return len(piece)


def answer(*pieces: bytes) -> Response:
    return read_response(io.BufferedReader(Pieces(*pieces)))


def test_a_request_has_its_length_when_it_has_a_body_or_could():
    assert request_bytes("GET", "/apps", {"Host": "c"}, None) == (
        b"GET /apps HTTP/1.1\r\nAccept-Encoding: identity\r\nHost: c\r\n\r\n"
    )
    assert request_bytes("POST", "/apps", {}, b"{}").endswith(b"\r\nContent-Length: 2\r\n\r\n{}")
    assert request_bytes("PUT", "/apps", {}, None).endswith(b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "body", "stays_open"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"[]", True),
        (b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 \r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\nx", b"x", False),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]", b"[]", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"[]", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\n[]", b"[]", True),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n[1\r\nA\r\n,2,3,4,5,6\r\n0\r\n\r\n",
         b"[1,2,3,4,5,6", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: yes\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", b"1", True),
    ],
)  # fmt: skip
def test_bodies_end_where_they_should(sent, body, stays_open):
    response = answer(sent)
    assert response.read() == body
    assert response.leaves_it_open is stays_open


def test_a_body_that_was_not_read_keeps_its_connection():
    assert not answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]").leaves_it_open


def test_pieces_are_there_as_soon_as_they_have_come():
    response = answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\none\r\n", b"5\r\ntw", b"o..\r\n", b"0\r\n\r\n"
    )
    assert list(iter(response.piece, b"")) == [b"one", b"tw", b"o.."]


def test_behind_an_upgrade_the_other_protocol_begins():
    response = answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: flynn-attach/0\r\n\r\nhello")
    assert (response.status, response.reader.read1()) == (101, b"hello")


@pytest.mark.parametrize(
    ("sent", "error", "text"),
    [
        (b"", Disconnected, "EOF"),
        (b"SSH-2.0-OpenSSH\r\n", HTTPError, 'malformed HTTP response "SSH-2.0-OpenSSH"'),
        (b"HTTP/1.1 2xx\r\n\r\n", HTTPError, "malformed HTTP response"),
        (b"HTTP/1.1 200 OK\r\nContent-", Truncated, "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300, HTTPError, "more than 200 headers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[]", Truncated, "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[", Truncated, "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[", Truncated, "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[]]\r\n", HTTPError, "malformed chunked"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", HTTPError, "malformed chunked"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", HTTPError, "malformed chunked"),
    ],
)
def test_what_is_no_whole_response_is_told(sent, error, text):
    with pytest.raises(error, match=text):
        answer(sent).read()


@given(chunks=st.lists(st.binary(min_size=1)), cuts=st.lists(st.integers(1, 40)))
def test_it_does_not_matter_where_the_bytes_are_cut(chunks, cuts):
    sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    places = [0, *(place for place in accumulate(cuts) if place < len(sent)), len(sent)]
    response = answer(*(sent[start:end] for start, end in pairwise(places)))
    assert response.read() == b"".join(chunks)
    assert response.leaves_it_open


def test_a_prompt_does_not_wait_for_the_import_of_email():
    code = (
        "import sys, flynn_aio.cli.client, flynn_aio.cli.jobs; assert not {'email', 'http.client'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
