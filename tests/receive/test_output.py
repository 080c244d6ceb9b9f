from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.receive.output import LINE_MAX, Lines, side_band


def test_lines_are_whole_whatever_the_pieces():
    lines = Lines()
    assert lines.feed(b"one\ntw") == ["one"]
    assert lines.feed(b"o\r\nthree") == ["two"]
    assert lines.end() == ["three"]
    assert lines.end() == []


def test_a_line_without_end_is_shown_in_pieces():
    lines = Lines()
    assert lines.feed(b"x" * (LINE_MAX + 5)) == ["x" * LINE_MAX]
    assert lines.end() == ["xxxxx"]


def test_the_side_band_erases_gits_own_prefix():
    assert side_band("-----> Building") == b"\x1b[1G\x1b[K-----> Building\n"


@given(st.lists(st.binary(max_size=50)))
def test_cutting_loses_nothing(pieces):
    lines = Lines()
    shown = [line for piece in pieces for line in lines.feed(piece)] + lines.end()
    whole = b"".join(pieces)
    expected = whole.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert shown == [line.decode(errors="replace").removesuffix("\r") for line in expected]
