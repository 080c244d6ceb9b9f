"""How values look to a person: tables, times, durations, sizes. Pure.

The forms are those of Flynn's client, which scripts cut to pieces with awk: two spaces between columns,
Go's `time.Duration` and `%.4g`, Docker's words for "how long ago".

Source: `cli.md` §4; Go `text/tabwriter`, `time/time.go`; `github.com/docker/go-units`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

PADDING = 2
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def table(rows: Iterable[Sequence[object]]) -> str:
    """Return rows laid out in columns, each row ending in a newline.

    A column is a run of consecutive rows that have a further cell after it; the last cell of a row is not padded
    and widens nothing. Tabs and newlines inside cells act as cell and row ends, as they do in Flynn's client.
    """
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    lines = [line.split("\t") for line in text.split("\n")[:-1]]
    widths: list[list[int]] = [[] for _ in lines]
    _measure(lines, widths, 0, len(lines))
    return "".join(
        "".join(cell + " " * (width - visible(cell)) for cell, width in zip(cells, [*columns, 0], strict=True)) + "\n"
        for cells, columns in zip(lines, widths, strict=True)
    )


def _measure(lines: Sequence[Sequence[str]], widths: list[list[int]], first: int, last: int) -> None:
    """Fill in the widths of lines `first` to `last` from the column they all have got to onwards."""
    index = first
    while index < last:
        column = len(widths[index])
        if column >= len(lines[index]) - 1:
            index += 1
            continue
        end = index
        while end < last and column < len(lines[end]) - 1:
            end += 1
        width = max(visible(lines[row][column]) for row in range(index, end)) + PADDING
        for row in range(index, end):
            widths[row].append(width)
        _measure(lines, widths, index, end)
        index = end


def visible(cell: str) -> int:
    """Return how many columns a cell takes: colours take none."""
    return len(_COLOUR.sub("", cell)) if "\x1b" in cell else len(cell)


def moment(text: str | None) -> datetime | None:
    """Return an RFC 3339 time; ``None`` for none and for Go's zero time."""
    if not text or text.startswith("0001-01-01T00:00:00"):
        return None
    return datetime.fromisoformat(text)


def ago(text: str | None, now: datetime) -> str:
    """Return how long before `now` that time was, ``About a minute ago``; empty for no time."""
    then = moment(text)
    return "" if then is None else f"{human_duration(now - then)} ago"


def human_duration(span: timedelta) -> str:
    """Return a span of time in one rough word, as Docker says it."""
    seconds = max(int(span / timedelta(seconds=1)), 0)
    minutes, hours = seconds // 60, seconds // 3600
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 90:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def absolute(text: str | None) -> str:
    """Return a time as Go prints it in UTC, ``2026-11-23 04:01:05.5 +0000 UTC``; ``<nil>`` for none."""
    if not text:
        return "<nil>"
    utc = datetime.fromisoformat(text).astimezone(UTC)
    seconds = utc.replace(tzinfo=None).isoformat(" ")
    return (seconds.rstrip("0") if "." in seconds else seconds) + " +0000 UTC"


def log_time(text: str) -> str:
    """Return a log line's time with exactly six decimals."""
    utc = datetime.fromisoformat(text).astimezone(UTC)
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def duration(nanoseconds: int) -> str:
    """Return a span as Go prints a `time.Duration`: ``185.81ms``, ``1m4.5s``, ``2h0m0s``."""
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 1_000 and nanoseconds < 1_000_000_000:
            return f"{_decimal(nanoseconds, size)}{unit}" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest, 1_000_000_000)}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(amount: int, unit: int) -> str:
    """Return `amount / unit` exactly, without zeros at the end; `unit` is a power of ten."""
    whole, fraction = divmod(amount, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0") if unit > 1 else ""
    return f"{whole}.{digits}" if digits else str(whole)


def byte_size(size: int) -> str:
    """Return a number of bytes in binary units and four digits: ``512MB``, ``1.5GB``."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB"):
        if amount < 1024:
            return f"{amount:.4g}{unit}"
        amount /= 1024
    return f"{amount:.4g}YB"


def quoted(text: str) -> str:
    """Return `text` in double quotes, as Go's `%q` does."""
    return '"' + "".join(map(_escaped, text)) + '"'


_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    code = ord(letter)
    if letter.isprintable():
        return letter
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_MAPS = frozenset({"env", "meta", "processes", "resources"})


def one_line_json(value: Mapping[str, Any]) -> str:
    """Return an object as compact JSON in Go's form: keys of maps sorted, ``<>&`` escaped, other text as it is.

    The fields of objects keep the order in which the controller sends them.
    """
    import json

    text = json.dumps(_with_sorted_maps(value), ensure_ascii=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _with_sorted_maps(value: Any, name: str = "") -> Any:
    if not isinstance(value, dict):
        return value
    items = sorted(value.items()) if name in _MAPS else value.items()
    return {key: _with_sorted_maps(each, key) for key, each in items}
