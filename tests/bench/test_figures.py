"""The report: medians, ratios, verdicts, and what is written down."""

import pytest

from bench.figures import Figure, Row, as_json, figure, ratio, table


def row(**changed):
    return Row(**{"key": "k", "title": "something", "shown": figure("s", [1.0]), **changed})


def test_a_disturbed_sample_does_not_move_a_figure():
    assert figure("s", [1.0, 9.0, 1.1]).value == 1.1


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (Figure("s", (1.234,)), "1.23 s"),
        (Figure("s", (0.0421, 0.05, 0.06)), "0.0500 s (0.0421-0.0600)"),
        (Figure("MB", (163.4,)), "163 MB"),
        (Figure("x", (2.5,)), "2.50x"),
        (Figure("%", (0.0,)), "0%"),
        (Figure("ms", (999.7,)), "1000 ms"),
    ],
)
def test_figures_are_shown_in_three_digits(one, text):
    assert one.text == text


def test_a_ratio_is_that_of_the_medians():
    assert ratio(figure("s", [3.0, 4.0, 9.0]), figure("s", [2.0])) == Figure("x", (2.0,))


def test_a_target_is_judged_in_its_own_unit():
    met = row(shown=figure("x", [70.0]), judged=figure("s", [1.4]), target=1.5)
    missed = row(shown=figure("x", [3.1]), target=3.0)
    assert (met.is_missed, met.verdict) == (False, "ok, <= 1.50 s")
    assert (missed.is_missed, missed.verdict) == (True, "MISSED, <= 3.00x")
    assert (row().is_missed, row().verdict) == (False, "")


def test_the_table_has_the_absolute_figures_below_each_row():
    rows = [row(title="a long title", target=2.0, beside={"alone": figure("s", [0.5])}), row(title="short")]
    assert table(rows).splitlines() == [
        "a long title  1.00 s  ok, <= 2.00 s",
        "    alone     0.500 s",
        "short         1.00 s",
    ]


def test_the_file_has_every_sample_and_the_machine():
    written = as_json([row(target=0.5, beside={"alone": figure("s", [0.25, 0.75])})], {"cores": 2})
    assert written["machine"] == {"cores": 2}
    [one] = written["rows"]
    assert (one["key"], one["missed"], one["shown"]) == ("k", True, {"value": 1.0, "unit": "s", "samples": [1.0]})
    assert one["beside"]["alone"] == {"value": 0.5, "unit": "s", "samples": [0.25, 0.75]}
