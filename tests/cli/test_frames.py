"""The bytes of `flynn-attach/0`."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.cli import frames
from flynn_aio.cli.failure import Failure
from flynn_aio.cli.frames import Exited, Failed, Output, Receiver


def data(stream: int, content: bytes) -> bytes:
    return struct.pack(">BBI", 3, stream, len(content)) + content


def test_what_we_send():
    assert frames.stdin(b"ls\n") == b"\x03\x00\x00\x00\x00\x03ls\n"
    assert frames.stdin(b"") == b"\x03\x00\x00\x00\x00\x00"
    assert frames.signal(15) == b"\x04\x00\x00\x00\x0f"
    assert frames.resize(40, 132) == b"\x06\x00\x28\x00\x84"


def together(happenings):
    """Join neighbouring pieces of one stream, so that it does not matter how the bytes were cut."""
    joined = []
    for each in happenings:
        if joined and isinstance(each, Output) and isinstance(joined[-1], Output) and joined[-1].stream == each.stream:
            joined[-1] = Output(each.stream, joined[-1].data + each.data)
        else:
            joined.append(each)
    return joined


OUTPUTS = st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.binary(min_size=1, max_size=20)), max_size=6)
ENDS = st.one_of(st.integers(0, 2**32 - 1).map(Exited), st.text(max_size=10).map(Failed))


@given(OUTPUTS, ENDS, st.data())
def test_any_session_is_understood_however_it_is_cut(outputs, end, cuts):
    wire = b"\x00" + b"".join(data(*each) for each in outputs) + b"\x01"
    if isinstance(end, Exited):
        wire += struct.pack(">BI", 5, end.status)
    else:
        text = end.text.encode()
        wire += struct.pack(">BI", 2, len(text)) + text
    receiver, happenings = Receiver(), []
    while wire:
        size = cuts.draw(st.integers(1, len(wire)))
        happenings += receiver.feed(wire[:size])
        wire = wire[size:]
    assert together(happenings) == together([*(Output(*each) for each in outputs), end])


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"\x09", "attach: unknown frame 9"),
        (b"\x03\x00", "attach: unknown stream 0"),
        (b"\x03\x07\x00", "attach: unknown stream 7"),
        (data(1, b"") + data(1, b"x"), "attach: got frame for stdout, but no writer available"),
        (data(2, b"") + data(2, b"x"), "attach: got frame for stderr / initLog, but no writer available"),
    ],
)
def test_what_is_no_session(wire, text):
    with pytest.raises(Failure, match=text):
        Receiver().feed(wire)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_session_or_refused(wire):
    try:
        happenings = Receiver().feed(wire)
    except Failure as failure:
        refused = str(failure)
    else:
        refused = "attach: "
        assert all(isinstance(each, Output | Exited | Failed) for each in happenings)
    assert refused.startswith("attach: ")
