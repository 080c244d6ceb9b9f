"""Records: any bytes, split anywhere."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.logs.record import MAX_RECORD, Decoder, Line

T = "2026-11-23T05:15:06.300763679"


def record(text: bytes, flag: str = "F", stream: str = "stdout", time: str = T + "+00:00") -> bytes:
    return f"{time} {stream} {flag} ".encode() + text + b"\n"


def decode(data: bytes, *, line_bytes: int = 10_000, flush: bool = False) -> list[Line]:
    decoder = Decoder(line_bytes=line_bytes)
    lines = decoder.feed(data)
    return lines + decoder.flush() if flush else lines


def texts(lines: list[Line]) -> list[tuple[str, bytes]]:
    return [(line.stream, line.text) for line in lines]


def test_a_record_is_a_line():
    assert decode(record(b"hello")) == [Line(T, "stdout", b"hello")]
    assert decode(record(b"")) == [Line(T, "stdout", b"")]
    assert decode(record(b"  kept as it is \r")) == [Line(T, "stdout", b"  kept as it is \r")]


def test_partial_records_are_joined_per_stream():
    data = (
        record(b"out ", "P")
        + record(b"err ", "P", "stderr")
        + record(b"goes ", "P")
        + record(b"done", "F", "stderr")
        + record(b"on", "F")
    )
    assert texts(decode(data)) == [("stderr", b"err done"), ("stdout", b"out goes on")]


def test_a_line_has_the_time_of_its_last_piece():
    data = record(b"a", "P") + record(b"b", "F", time="2026-11-23T05:15:07+00:00")
    assert decode(data) == [Line("2026-11-23T05:15:07.000000000", "stdout", b"ab")]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-23T05:15:06.300763679+00:00", T),
        ("2026-11-23T05:15:06.3Z", "2026-11-23T05:15:06.300000000"),
        ("2026-11-23T05:15:06Z", "2026-11-23T05:15:06.000000000"),
        ("2026-11-23T06:45:06.300763679+01:30", T),
        ("2026-11-22T21:15:06.300763679-08:00", T),
        ("0001-01-01T00:00:00.1+14:00", "0001-01-01T00:00:00.100000000"),
        ("2026-99-99T05:15:06.3+02:00", "2026-99-99T05:15:06.300000000"),
    ],
)
def test_times_are_utc_with_nine_digits(time, expected):
    assert [line.time for line in decode(record(b"x", time=time))] == [expected]


def test_an_unfinished_line_is_one_when_the_job_has_ended():
    data = record(b"whole") + record(b"prompt> ", "P") + record(b"oops", "P", "stderr")
    decoder = Decoder(line_bytes=100)
    assert texts(decoder.feed(data)) == [("stdout", b"whole")]
    assert decoder.has_pending
    assert texts(decoder.flush()) == [("stdout", b"prompt> "), ("stderr", b"oops")]
    assert not decoder.has_pending
    assert decoder.flush() == []


def test_a_record_without_its_newline_counts_when_the_job_has_ended():
    assert texts(decode(record(b"a") + record(b"b")[:-1])) == [("stdout", b"a")]
    assert texts(decode(record(b"a") + record(b"b")[:-1], flush=True)) == [("stdout", b"a"), ("stdout", b"b")]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (9_999, [9_999]),
        (10_000, [10_000]),
        (10_001, [10_000, 1]),
        (10_050, [10_000, 50]),
        (20_000, [10_000, 10_000]),
        (25_000, [10_000, 10_000, 5_000]),
    ],
)
def test_long_lines_are_cut(size, expected):
    text = b"0123456789" * 2500
    whole = decode(record(text[:size]))
    assert [len(line.text) for line in whole] == expected
    assert b"".join(line.text for line in whole) == text[:size]
    pieces = [text[at : min(at + 4096, size)] for at in range(0, size, 4096)]
    piecewise = b"".join(record(piece, "P") for piece in pieces[:-1]) + record(pieces[-1], "F")
    assert [line.text for line in decode(piecewise)] == [line.text for line in whole]


def test_what_follows_a_torn_record_on_its_line_is_not_lost():
    """The disk was full in the middle of a record: the next one came right behind it."""
    assert texts(decode(record(b"cut he")[:-1] + record(b"next"))) == [("stdout", b"cut he"), ("stdout", b"next")]
    assert texts(decode(record(b"x")[:20] + record(b"next", stream="stderr"))) == [("stderr", b"next")]
    assert texts(decode(record(b"x")[:-2] + record(b"y")[:30] + record(b"last"))) == [
        ("stdout", b"" + record(b"y")[:30]),
        ("stdout", b"last"),
    ]


def test_the_zeros_of_a_hole_are_passed_over():
    assert texts(decode(bytes(5000) + b"of a record\n" + record(b"next"))) == [("stdout", b"next")]
    assert texts(decode(bytes(5000) + record(b"next"))) == [("stdout", b"next")]


def test_bytes_that_never_end_a_record_do_not_fill_the_memory():
    decoder = Decoder(line_bytes=100)
    for _ in range(100):
        assert decoder.feed(b"x" * MAX_RECORD) == []
    assert len(decoder._rest) <= MAX_RECORD
    assert texts(decoder.feed(b"\n" + record(b"fine"))) == [("stdout", b"fine")]


def test_from_the_middle_only_lines_with_their_beginning_are_taken():
    data = record(b"tail of a line") + record(b"err") + record(b"b", "P") + record(b"c") + record(b"e", stream="stderr")
    data += record(b"f", stream="stderr")
    decoder = Decoder(line_bytes=100, from_start=False)
    assert texts(decoder.feed(b"half a record\n" + data)) == [
        ("stdout", b"err"),
        ("stdout", b"bc"),
        ("stderr", b"f"),
    ]


def test_from_the_middle_a_line_under_way_is_noticed():
    decoder = Decoder(line_bytes=100, from_start=False)
    decoder.feed(b"\n" + record(b"b", "P"))
    assert decoder.misses_a_beginning
    decoder.feed(record(b"c"))
    assert not decoder.misses_a_beginning


class Job:
    """A random job: what it prints, the records conmon makes of it, and the lines there should be."""

    def __init__(self, seed: int, *, line_bytes: int) -> None:
        rng = random.Random(seed)
        self.data = b""
        self.lines: list[tuple[str, bytes]] = []
        under_way = {"stdout": b"", "stderr": b""}
        for _ in range(rng.randrange(1, 40)):
            stream = rng.choice(["stdout", "stderr"])
            text = rng.randbytes(rng.choice([0, 1, 5, 30])).replace(b"\n", b"\xff")
            is_whole = rng.random() < 0.6
            self.data += record(text, "F" if is_whole else "P", stream)
            under_way[stream] += text
            if is_whole:
                self.lines += [(stream, piece) for piece in self.cut(under_way[stream], line_bytes)]
                under_way[stream] = b""
        self.lines += [
            (stream, piece) for stream, text in under_way.items() if text for piece in self.cut(text, line_bytes)
        ]

    @staticmethod
    def cut(text: bytes, line_bytes: int) -> list[bytes]:
        return [text[at : at + line_bytes] for at in range(0, len(text), line_bytes)] or [b""]


def in_streams(lines: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    return {name: [text for stream, text in lines if stream == name] for name in ("stdout", "stderr")}


@given(st.integers(0, 2**32), st.lists(st.integers(1, 60), max_size=30))
def test_records_split_anywhere_give_the_same_lines(seed, sizes):
    job = Job(seed, line_bytes=20)
    decoder = Decoder(line_bytes=20)
    lines, rest = [], job.data
    for size in sizes:
        lines += decoder.feed(rest[:size])
        rest = rest[size:]
    lines += decoder.feed(rest) + decoder.flush()
    assert in_streams(texts(lines)) == in_streams(job.lines)


@given(st.integers(0, 2**32), st.integers(0, 3000))
def test_from_anywhere_the_lines_are_the_last_of_all(seed, begin):
    job = Job(seed, line_bytes=1000)
    decoder = Decoder(line_bytes=1000, from_start=False)
    found, expected = in_streams(texts(decoder.feed(job.data[begin:]) + decoder.flush())), in_streams(job.lines)
    for stream, lines in found.items():
        assert not lines or lines == expected[stream][-len(lines) :]


@given(st.binary(max_size=500), st.integers(0, 500))
def test_any_bytes_are_survived(noise, at):
    decoder = Decoder(line_bytes=10)
    lines = decoder.feed(noise[:at]) + decoder.feed(noise[at:]) + decoder.flush()
    assert all(len(line.text) <= 10 for line in lines)
