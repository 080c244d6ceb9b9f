"""Frames: Podman's stream of a job without a terminal, split anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.engine import Output, Stream
from flynn_aio.engine.frames import OUTPUT_BYTES, Frames
from flynn_aio.errors import EngineError

PIECES = st.lists(st.tuples(st.sampled_from(Stream), st.binary(max_size=40)), max_size=12)


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@given(pieces=PIECES, step=st.integers(min_value=1, max_value=30))
def test_the_cuts_of_the_socket_do_not_matter(pieces, step):
    data = b"".join(frame(stream.value, payload) for stream, payload in pieces)
    frames = Frames()
    got = [output for i in range(0, len(data), step) for output in frames.receive(data[i : i + step])]
    assert got == [Output(stream, payload) for stream, payload in pieces if payload]


def test_a_large_frame_comes_in_pieces_of_the_promised_size():
    outputs = list(Frames().receive(frame(1, b"x" * (OUTPUT_BYTES + 1))))
    assert [len(output.data) for output in outputs] == [OUTPUT_BYTES, 1]


@pytest.mark.parametrize("data", [b"hello world", bytes([3, 0, 0, 0, 0, 0, 0, 1]), bytes([1, 0, 0, 0, 255, 0, 0, 0])])
def test_other_bytes_are_refused(data):
    with pytest.raises(EngineError, match="not made of frames"):
        list(Frames().receive(data))
