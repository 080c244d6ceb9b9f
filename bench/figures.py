"""Figures, rows and the report made of them. Pure: nothing here measures or prints."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

RATIO = "x"


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured at least once.

    Attributes:
        unit: ``s``, ``ms``, ``MB`` (10^6 bytes), ``%`` of one core, or what is counted; `RATIO` for a quotient.
        samples: in the order they were taken.
    """

    unit: str
    samples: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median: one disturbed sample among several does not move it."""
        return median(self.samples)

    @property
    def text(self) -> str:
        """The value in three digits with its unit, and the range when there is one: ``1.23 s (1.20-1.31)``."""
        joint = "" if self.unit in {RATIO, "%"} else " "
        shown = f"{_digits(self.value)}{joint}{self.unit}"
        if len(self.samples) == 1:
            return shown
        return f"{shown} ({_digits(min(self.samples))}-{_digits(max(self.samples))})"


def figure(unit: str, samples: Iterable[float]) -> Figure:
    """Return a figure of samples that are in its unit already."""
    return Figure(unit, tuple(samples))


def ratio(measured: Figure, yardstick: Figure) -> Figure:
    """Return how often the yardstick fits into what was measured: the quotient of the medians.

    Not the median of quotients: pairs would have to be taken at the same moment to belong together.
    """
    return Figure(RATIO, (measured.value / yardstick.value,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report.

    Attributes:
        key: short name, for programs and the command line's results.
        title: what was measured, as a person says it.
        shown: the figure that counts: the ratio, or where no yardstick makes sense the quantity itself.
        judged: the figure the target is about, when that is not `shown`.
        target: the most it may be, in the judged figure's unit; ``None`` when nobody promised anything.
        beside: absolute figures by what they are.
    """

    key: str
    title: str
    shown: Figure
    judged: Figure | None = None
    target: float | None = None
    beside: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def is_missed(self) -> bool:
        return self.target is not None and (self.judged or self.shown).value > self.target

    @property
    def verdict(self) -> str:
        """``ok, <= 80 MB``, ``MISSED, <= 80 MB``, or nothing without a target."""
        if self.target is None:
            return ""
        limit = Figure((self.judged or self.shown).unit, (self.target,)).text
        return f"{'MISSED' if self.is_missed else 'ok'}, <= {limit}"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a person reads them: the figure that counts, the verdict, and the absolute figures below."""
    title = max(len(row.title) for row in rows)
    shown = max(len(row.shown.text) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row.title:{title}}  {row.shown.text:>{shown}}  {row.verdict}".rstrip())
        lines += [f"    {name:{title - 4}}  {beside.text}" for name, beside in row.beside.items()]
    return "\n".join(lines)


def as_json(rows: Sequence[Row], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that was measured and where, for the results file."""
    return {"machine": dict(machine), "rows": [_row_json(row) for row in rows]}


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "title": row.title,
        "shown": _figure_json(row.shown),
        **({"judged": _figure_json(row.judged)} if row.judged else {}),
        "target": row.target,
        "missed": row.is_missed,
        "beside": {name: _figure_json(beside) for name, beside in row.beside.items()},
    }


def _figure_json(one: Figure) -> dict[str, Any]:
    return {"value": round(one.value, 4), "unit": one.unit, "samples": [round(sample, 4) for sample in one.samples]}


def _digits(value: float) -> str:
    """Three significant digits, never in powers of ten: ``0.042``, ``1.23``, ``163``."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, 4)}f}"
