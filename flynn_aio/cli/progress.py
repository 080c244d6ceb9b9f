"""A progress bar on standard error, for a person at a terminal and for nobody else.

Source: `cli.md` §4; Flynn `cli/export.go` (`pb.ProgressBar`).
"""

import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from .render import byte_size
from .talk import understands_escapes

REDRAWN_EVERY_S = 0.1
_BAR_WIDTH = 24
_CLEAR_LINE = "\r\x1b[K"


def line(label: str, done: int, total: int | None, seconds: float, width: int) -> str:
    """Return the bar as it looks now, at most `width` columns. Pure.

    Args:
        done: bytes so far.
        total: bytes in all; ``None`` when nobody knows.
        seconds: since it began.
    """
    rate = f"{byte_size(int(done / seconds))}/s" if seconds > 0 else ""
    if total:
        share = min(done / total, 1.0)
        bar = ("#" * int(share * _BAR_WIDTH)).ljust(_BAR_WIDTH)
        text = f"{label} [{bar}] {share:4.0%} {byte_size(done)} of {byte_size(total)} {rate}"
    else:
        text = f"{label} {byte_size(done)} {rate}"
    return text.rstrip()[:width]


class Progress:
    """How many bytes have gone by. Used as a context manager; the bar is gone when the block ends.

    Args:
        total: bytes expected, if known.
        quiet: draw nothing (``--quiet``).
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        *,
        quiet: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.done = 0
        self._label = label
        self._total = total
        self._shown = not quiet and understands_escapes(sys.stderr)
        self._now = now
        self._began = now()
        self._drawn_at = float("-inf")

    def advance(self, count: int) -> None:
        """Count bytes, and redraw when it is time."""
        self.done += count
        now = self._now()
        if self._shown and now - self._drawn_at >= REDRAWN_EVERY_S:
            self._drawn_at = now
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(_CLEAR_LINE + line(self._label, self.done, self._total, now - self._began, width))
            sys.stderr.flush()

    def hide(self) -> None:
        """Take the bar away until bytes go by again: somebody else writes to standard error."""
        if self._shown and self._drawn_at > float("-inf"):
            self._drawn_at = float("-inf")
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.hide()
