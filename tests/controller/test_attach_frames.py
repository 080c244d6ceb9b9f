"""The frames of an attached job: any bytes, split anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.controller.attach_frames import (
    ClientFrames,
    EndOfInput,
    FrameError,
    Input,
    Resize,
    Signal,
    data_frame,
    error_frame,
    exit_frame,
)

from ..support.attach_client import resize, signal, stdin

U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
SENT = st.one_of(
    st.builds(Input, st.binary(min_size=1, max_size=200)),
    st.just(EndOfInput()),
    st.builds(Signal, U32),
    st.builds(Resize, U16, U16),
)


def wire(frame):
    match frame:
        case Input(data=data):
            return stdin(data)
        case EndOfInput():
            return stdin(b"")
        case Signal(number=number):
            return signal(number)
        case Resize(rows=rows, columns=columns):
            return resize(rows, columns)


def joined(frames):
    """Join neighbouring pieces of input, except that two frames of it may not be told apart any more."""
    whole = []
    for frame in frames:
        if isinstance(frame, Input) and whole and isinstance(whole[-1], Input):
            whole[-1] = Input(whole[-1].data + frame.data)
        else:
            whole.append(frame)
    return whole


@given(st.lists(SENT), st.lists(st.integers(1, 40)))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(sent, cuts):
    data = b"".join(wire(frame) for frame in sent)
    reader, received = ClientFrames(), []
    for cut in cuts:
        received += reader.receive(data[:cut])
        data = data[cut:]
    received += reader.receive(data)
    assert joined(received) == joined(sent)


@given(st.binary())
def test_any_bytes_are_frames_or_an_error(data):
    try:
        frames = ClientFrames().receive(data)
    except FrameError:
        return
    assert sum(len(wire(frame)) for frame in frames) <= len(data) + 6 * len(frames)


def test_a_long_input_frame_is_not_collected():
    reader = ClientFrames()
    assert reader.receive(stdin(b"x" * 100)[:10]) == [Input(b"xxxx")]
    assert reader.receive(b"xx") == [Input(b"xx")]
    assert reader.receive(b"x" * 94 + signal(2)) == [Input(b"x" * 94), Signal(2)]


@pytest.mark.parametrize("data", [b"\x00", b"\x01", b"\x02\0\0\0\0", b"\x05\0\0\0\0", b"\xff", b"\x03\x01\0\0\0\x01x"])
def test_what_no_client_sends_is_an_error(data):
    with pytest.raises(FrameError):
        ClientFrames().receive(data)


def test_frames_are_written_as_flynns_client_reads_them():
    assert data_frame(1, b"hi") == b"\x03\x01\x00\x00\x00\x02hi"
    assert data_frame(2, b"") == b"\x03\x02\x00\x00\x00\x00"
    assert exit_frame(42) == b"\x05\x00\x00\x00\x2a"
    assert error_frame("né") == b"\x02\x00\x00\x00\x03n\xc3\xa9"
