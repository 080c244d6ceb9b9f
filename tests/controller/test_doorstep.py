"""Heads before Hypercorn: what passes, what is dropped, what is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.controller.doorstep import MAX_HEAD_BYTES, Attach, Doorstep, Follow, Pass, Wait

GET = b"GET /apps HTTP/1.1\r\nHost: x\r\n\r\n"
ATTACH = b"POST /apps/a/jobs HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: flynn-attach/0\r\n\r\n"


def test_a_head_passes_when_it_is_whole():
    doorstep = Doorstep(attaching=True)
    assert doorstep.receive(GET[:10]) == Wait()
    assert doorstep.receive(GET[10:] + b"body") == Pass(GET + b"body")
    assert doorstep.receive(b"more") == Pass(b"more")


def test_bodies_pass_untouched_and_the_next_head_is_looked_at():
    doorstep = Doorstep(attaching=True)
    doorstep.receive(GET)
    assert doorstep.receive(ATTACH) == Pass(ATTACH)
    doorstep.between_requests = True
    assert doorstep.receive(ATTACH) == Attach(ATTACH)


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        (b"Upgrade: websocket\r\n", b""),
        (b"UPGRADE: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", b""),
        (b"Upgrade:\r\n websocket\r\nA: b\r\n", b"A: b\r\n"),
        (b"X-Upgrade: websocket\r\n", b"X-Upgrade: websocket\r\n"),
        (b"Upgrade: websocket\n", b""),
        (b"A: upgrade: x\r\n", b"A: upgrade: x\r\n"),
    ],
)
def test_no_other_upgrade_reaches_hypercorn(sent, passed):
    head = b"GET / HTTP/1.1\r\nHost: x\r\n%s\r\nbody"
    assert Doorstep(attaching=True).receive(head % sent) == Pass(head % passed)


def test_where_nobody_attaches_the_upgrade_is_only_dropped():
    assert Doorstep(attaching=False).receive(ATTACH) == Pass(ATTACH.replace(b"Upgrade: flynn-attach/0\r\n", b""))


EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\n%bAccept: text/event-stream\r\n\r\n"


@pytest.mark.parametrize("accept", [b"text/event-stream", b"*/*, Text/Event-Stream;q=0.5", b"a,\r\n text/event-stream"])
def test_a_request_for_events_is_taken_without_its_upgrade(accept):
    head = b"GET /events HTTP/1.1\r\nHost: x\r\n%bACCEPT: " + accept + b"\r\n\r\n"
    doorstep = Doorstep(attaching=True, following=True)
    assert doorstep.receive(head[:9]) == Wait()
    assert doorstep.receive((head % b"Upgrade: websocket\r\n")[9:]) == Follow(head % b"")
    assert Doorstep(attaching=True).receive(head % b"") == Pass(head % b"")


@pytest.mark.parametrize(
    "head",
    [
        EVENTS % b"" + b"GET / HTTP/1.1\r\n\r\n",
        EVENTS % b"Content-Length: 1\r\n",
        EVENTS % b"Transfer-Encoding: chunked\r\n",
        EVENTS % b"Expect: 100-continue\r\n",
        (EVENTS % b"").replace(b"GET", b"POST"),
        (EVENTS % b"").replace(b"text/event-stream", b"application/json"),
        (EVENTS % b"").replace(b"Accept:", b"X-Accept:"),
    ],
    ids=["pipelined", "length", "chunked", "expecting", "POST", "JSON", "another header"],
)
def test_what_is_more_than_a_wish_for_events_is_left_to_hypercorn(head):
    assert Doorstep(attaching=True, following=True).receive(head) == Pass(head)


def test_the_preface_of_http2_ends_the_connection():
    assert Doorstep(attaching=True).receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == Pass(b"")


def test_a_head_without_an_end_is_passed_on_to_be_refused():
    doorstep = Doorstep(attaching=True)
    assert doorstep.receive(b"a" * MAX_HEAD_BYTES) == Wait()
    assert doorstep.receive(b"a") == Pass(b"a" * (MAX_HEAD_BYTES + 1))


def test_a_client_that_stops_within_a_head_is_passed_on_and_then_over():
    doorstep = Doorstep(attaching=True)
    doorstep.receive(b"GET")
    assert doorstep.receive(b"") == Pass(b"GET")
    assert doorstep.receive(b"") == Pass(b"")


@given(st.lists(st.integers(1, 30)))
def test_it_does_not_matter_how_a_head_is_cut(cuts):
    doorstep, data, result = Doorstep(attaching=True), ATTACH + b"{}", Wait()
    for cut in [*cuts, len(data)]:
        piece, data = data[:cut], data[cut:]
        if piece and result == Wait():
            result = doorstep.receive(piece)
    assert isinstance(result, Attach)
    assert (ATTACH + b"{}").startswith(result.data)
