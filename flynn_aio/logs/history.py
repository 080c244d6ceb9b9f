"""History: the newest lines of an app, gathered from the files of its jobs. Blocks: for threads."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..model import JobID
from ..settings import LogSettings
from .files import LogFile, opened
from .line import Origin
from .query import LogQuery, Newest
from .record import Decoder, Line
from .ring import read_back
from .tail import Tail

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Text one query returns at most: ten thousand lines of the longest kind would be six times that."""
CLOCK_SLACK_S = 1.0
"""A file's time of change lags behind the times in it, by the kernel's tick."""


class History:
    """What was written up to a moment: lines, and the places at which they end."""

    def __init__(self, tails: list[Tail], newest: Newest) -> None:
        self.tails = tails
        self._newest = newest

    def lines(self, ended: frozenset[JobID], streams: frozenset[str]) -> list[tuple[Line, Origin]]:
        """Return the newest lines, oldest first.

        Args:
            ended: jobs that write no more, so that their last line is one even without a newline.
        """
        for tail in self.tails:
            if tail.origin.job in ended:
                self._newest.add(tail.origin, [line for line in tail.decoder.flush() if line.stream in streams])
        return self._newest.result()


def gather(
    files: Sequence[LogFile],
    query: LogQuery,
    *,
    directory: Path,
    settings: LogSettings,
    wanted: int,
    live: frozenset[JobID] = frozenset(),
) -> History:
    """Read the last `wanted` lines of the files a query wants, the ones written last first.

    A file that was written last before the oldest line wanted holds none of them and is not read,
    except for the line under way if its job is `live`.
    """
    newest = Newest(wanted=wanted, max_bytes=MAX_TEXT_BYTES)
    tails = []
    for file in sorted(files, key=lambda one: one.modified, reverse=True):
        if not query.wants(file.origin):
            continue
        share = wanted if _utc(file.modified + CLOCK_SLACK_S) >= newest.threshold else 0
        with opened(directory, file.name) as parts:
            if share or file.origin.job in live:
                lines, decoder = read_back(
                    parts,
                    wanted=share,
                    streams=query.streams,
                    line_bytes=settings.line_bytes,
                    max_bytes=MAX_TEXT_BYTES,
                )
                newest.add(file.origin, lines)
            else:
                decoder = Decoder(line_bytes=settings.line_bytes)
            end = parts[-1] if parts else None
        inode, offset = (end.inode, end.size) if end else (None, 0)
        tails.append(Tail(file.origin, file.name, decoder, inode=inode, offset=offset))
    return History(tails, newest)


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
