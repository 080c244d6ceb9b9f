"""The forms of values, against what Flynn's client prints."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.cli import render


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([("ID", "NAME")], "ID  NAME\n"),
        ([("ID", "NAME"), ("abcd", "x")], "ID    NAME\nabcd  x\n"),
        ([("A", "B", "C"), ("1", "", "3"), ("1", "22", "")], "A  B   C\n1      3\n1  22  \n"),
        # A row with a further cell widens nothing for rows that end before it.
        ([("N", "URL"), ("one", "u"), ("two", "long", "(default)")], "N    URL\none  u\ntwo  long  (default)\n"),
        ([("a", "b"), ("lonely",), ("cccc", "d")], "a  b\nlonely\ncccc  d\n"),
        ([("k", "two\nlines"), ("key", "v")], "k  two\nlines\nkey  v\n"),
        ([("é", "x"), ("ab", "y")], "é   x\nab  y\n"),
        ([], ""),
    ],
)
def test_tables(rows, text):
    assert render.table(rows) == text


@given(st.lists(st.lists(st.text("ab ", max_size=4), min_size=1, max_size=4), max_size=6))
def test_a_table_has_a_line_per_row_and_keeps_every_cell_in_order(rows):
    lines = render.table(rows).split("\n")[:-1]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        start = 0
        for cell in row:
            start = line.index(cell, start) + len(cell)


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=-5), "Less than a second"),
        (timedelta(milliseconds=999), "Less than a second"),
        (timedelta(seconds=1), "1 seconds"),
        (timedelta(seconds=59), "59 seconds"),
        (timedelta(seconds=60), "About a minute"),
        (timedelta(seconds=119), "About a minute"),
        (timedelta(minutes=2), "2 minutes"),
        (timedelta(minutes=59), "59 minutes"),
        (timedelta(minutes=60), "About an hour"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(hours=48), "2 days"),
        (timedelta(days=13), "13 days"),
        (timedelta(days=14), "2 weeks"),
        (timedelta(days=89), "12 weeks"),
        (timedelta(days=90), "3 months"),
        (timedelta(days=729), "24 months"),
        (timedelta(days=730), "2 years"),
    ],
)
def test_how_long_ago(span, text):
    then = (NOW - span).isoformat().replace("+00:00", "Z")
    assert render.ago(then, NOW) == f"{text} ago"


@pytest.mark.parametrize("nothing", [None, "", "0001-01-01T00:00:00Z"])
def test_no_time_was_never(nothing):
    assert render.ago(nothing, NOW) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-23T04:01:05.536513Z", "2026-11-23 04:01:05.536513 +0000 UTC"),
        ("2026-11-23T04:11:15.01603Z", "2026-11-23 04:11:15.01603 +0000 UTC"),
        ("2026-11-23T04:11:15Z", "2026-11-23 04:11:15 +0000 UTC"),
        ("2026-11-23T06:11:15+02:00", "2026-11-23 04:11:15 +0000 UTC"),
        (None, "<nil>"),
    ],
)
def test_absolute_times(text, shown):
    assert render.absolute(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2020-01-02T03:04:05.123456Z", "2020-01-02T03:04:05.123456Z"),
        ("2020-01-02T03:04:05.12Z", "2020-01-02T03:04:05.120000Z"),
        ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05.000000Z"),
        ("2020-01-02T03:04:05.123456789Z", "2020-01-02T03:04:05.123456Z"),
    ],
)
def test_times_of_log_lines_have_six_decimals(text, shown):
    assert render.log_time(text) == shown


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (999, "999ns"),
        (1_000, "1µs"),
        (1_500, "1.5µs"),
        (999_999, "999.999µs"),
        (1_000_000, "1ms"),
        (185_810_000, "185.81ms"),
        (999_999_999, "999.999999ms"),
        (1_000_000_000, "1s"),
        (3_944_629_056, "3.944629056s"),
        (59_999_999_999, "59.999999999s"),
        (60_000_000_000, "1m0s"),
        (64_500_000_000, "1m4.5s"),
        (7_200_000_000_000, "2h0m0s"),
        (3_661_000_000_001, "1h1m1.000000001s"),
    ],
)
def test_durations(nanoseconds, text):
    assert render.duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1kB"),
        (512 * 1024**2, "512MB"),
        (1536 * 1024**2, "1.5GB"),
        (1234567, "1.177MB"),
        (1024**3, "1GB"),
        (1023 * 1024**2 + 1024**2 - 1, "1024MB"),
        (1024**5, "1PB"),
    ],
)
def test_sizes(size, text):
    assert render.byte_size(size) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("x", '"x"'), ('a"b\\', '"a\\"b\\\\"'), ("\n\t\x00\x7f", '"\\n\\t\\x00\\x7f"'), ("é\u2028", '"é\\u2028"')],
)
def test_quoting(text, shown):
    assert render.quoted(text) == shown


def test_a_release_in_one_line_is_what_go_would_write():
    release = {
        "id": "r",
        "env": {"B": "<a&b>", "A": "é"},
        "processes": {"web": {"args": ["z", "a"], "env": {"Z": "", "Y": ""}}},
    }
    assert render.one_line_json(release) == (
        '{"id":"r","env":{"A":"é","B":"\\u003ca\\u0026b\\u003e"},'
        '"processes":{"web":{"args":["z","a"],"env":{"Y":"","Z":""}}}}'
    )
