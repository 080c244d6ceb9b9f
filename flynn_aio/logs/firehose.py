"""The firehose: the output of all jobs of all apps, in batches, from a cursor on.

The files are the buffer: whoever takes batches slowly, or not at all, costs no memory but the names of
the files that have changed. What the files do not hold any more, because retention gave it up first, is
counted, and a line in stream `init` says so in its place. A batch that did not arrive is read again.

Lines of one job keep their order; lines of different jobs are in the order of time within a batch.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..clock import Clock
from ..errors import FlynnError
from ..model import JobFacts
from ..settings import LogSettings
from .cursor import START, Cursor, Place, Saved
from .endings import Endings
from .files import OURS, origin_of, survey
from .follow import RunBlocking
from .inotify import Changes
from .line import INIT, Origin
from .live import LiveJobs
from .query import in_order
from .record import Line
from .tail import Tail, tail_at

BATCH_BYTES = 32 * 1024
"""Read at a time: a millisecond or two, for which whoever serves requests may have to wait."""
BATCH_FILES = 16
KNOWN_JOBS = 1000
"""Jobs whose facts are kept. Source: Flynn `host/logmux/sink.go`, `lru.New(1000)`."""

Describe = Callable[[Origin], Awaitable[JobFacts]]
Encode = Callable[[Sequence[tuple[Line, Origin]], Mapping[Origin, JobFacts]], bytes]


class Batch(NamedTuple):
    """Some output, as it is sent, and the places behind it."""

    data: bytes
    places: Mapping[str, Place]


class _Piece(NamedTuple):
    """What was read of one origin.

    Attributes:
        left: bytes still to come.
        gap: bytes given up before it; see `Tail.take_gap`.
    """

    tail: Tail
    lines: list[Line]
    left: int
    gap: int | None


class Firehose:
    """All output from a cursor on, for one sink.

    Args:
        changes: what the directory reports, since before `files` were listed.
        files: name and time of the last write of what there is, the oldest first.
    """

    def __init__(
        self,
        cursor: Cursor,
        changes: Changes,
        files: Iterable[tuple[str, float]],
        *,
        settings: LogSettings,
        live: LiveJobs,
        clock: Clock,
        describe: Describe,
        encode: Encode,
        run_blocking: RunBlocking,
    ) -> None:
        self._cursor = cursor
        self._changes = changes
        self._settings = settings
        self._endings = Endings(live)
        self._clock = clock
        self._describe = describe
        self._encode = encode
        self._run_blocking = run_blocking
        self._tails: dict[str, Tail] = {}
        self._behind = {name: None for name, modified in files if cursor.wants(name, modified)}
        self._facts: OrderedDict[Origin, JobFacts] = OrderedDict()
        self.given_up_bytes = 0
        self.given_up_files = 0

    def look_again(self) -> None:
        """Some job may have ended: its last line may be one without a newline."""
        self._changes.bell.ring()

    async def next(self) -> Batch:
        """Wait for output and return the next of it; a batch may be empty when only the places moved.

        Raises:
            FlynnError: the files or what is known of their jobs cannot be read just now.
        """
        while True:
            seen = self._changes.bell.version
            await self._take_changes()
            self._behind |= dict.fromkeys(tail.name for tail in self._endings.unfinished(self._tails.values()))
            if self._behind:
                return await self._read()
            await self._changes.bell.moved_past(seen)

    def confirm(self, places: Mapping[str, Place]) -> None:
        """Note that batches up to these places have arrived."""
        self._cursor.places.update(places)

    def rewind(self, names: Iterable[str]) -> None:
        """Have everything after the last confirmed place of these files come again."""
        for name in names:
            self._drop(name)
            self._behind[name] = None

    def saved(self, now: float) -> Saved:
        """Return what to save of the cursor, and let go of jobs that have ended and are done."""
        ended = self._endings.have_ended(tail.origin for tail in self._tails.values())
        for name, tail in list(self._tails.items()):
            is_done = name not in self._behind and self._cursor.places.get(name) == tail.place
            if is_done and tail.origin in ended and tail.place.is_clean:
                self._drop(name)
                self._cursor.end(name, now)
        return self._cursor.saved(now, {*self._tails, *self._behind})

    async def _take_changes(self) -> None:
        names, is_lost = self._changes.take()
        if is_lost:
            names |= {file.name for file in await self._run_blocking(partial(survey, self._settings.dir))}
        for name in names:
            if not name.endswith(OURS) and origin_of(name):
                self._behind[name] = None
                self._cursor.go_on(name)

    async def _read(self) -> Batch:
        names = list(self._behind)[:BATCH_FILES]
        origins = {name: origin for name in names if (origin := origin_of(name))}
        facts = {origin: await self._known(origin) for origin in origins.values()}
        ended = self._endings.have_ended(origin for name, origin in origins.items() if self._has_pending(name))
        pieces: list[_Piece] = []
        try:
            data, pieces = await self._run_blocking(partial(self._read_and_encode, origins, facts, ended))
        except OSError as exc:
            raise FlynnError(f"reading the log files in {self._settings.dir}: {exc.strerror}; trying again") from exc
        finally:
            if not pieces:
                self.rewind(names)
        for piece in pieces:
            self._note(piece)
        return Batch(data, {piece.tail.name: piece.tail.place for piece in pieces if not piece.tail.is_gone})

    def _read_and_encode(
        self, origins: Mapping[str, Origin], facts: Mapping[Origin, JobFacts], ended: set[Origin]
    ) -> tuple[bytes, list[_Piece]]:
        share = BATCH_BYTES // len(origins)
        pieces = [self._piece(name, origin, share, ended) for name, origin in origins.items()]
        return self._encode(in_order((piece.tail.origin, piece.lines) for piece in pieces), facts), pieces

    def _piece(self, name: str, origin: Origin, share: int, ended: set[Origin]) -> _Piece:
        directory = self._settings.dir
        tail = self._tails.get(name) or self._tail(name, origin, directory)
        lines, left = tail.read_on(directory, most=share)
        if tail.is_gone:
            return _Piece(tail, [self._said("a file of output was")], 0, 0)
        if left <= 0 and origin in ended:
            lines += tail.decoder.flush()
        gap = tail.take_gap()
        if gap is not None:
            lines.insert(0, self._said(f"{gap} bytes of output were" if gap else "a file of output was"))
        return _Piece(tail, lines, left, gap)

    def _tail(self, name: str, origin: Origin, directory: Path) -> Tail:
        place = self._cursor.places.get(name, START)
        return tail_at(place, origin, name, directory=directory, line_bytes=self._settings.line_bytes)

    def _said(self, what: str) -> Line:
        now = self._clock.now().replace(tzinfo=None).isoformat(timespec="microseconds")
        return Line(f"{now}000", INIT, f"{what} given up here before this log sink took it".encode())

    def _note(self, piece: _Piece) -> None:
        name = piece.tail.name
        del self._behind[name]
        if piece.gap is not None:
            self.given_up_bytes += piece.gap
            self.given_up_files += not piece.gap
        if piece.tail.is_gone:
            self._drop(name)
            self._cursor.forget(name)
            return
        self._tails[name] = piece.tail
        if piece.left > 0:
            self._behind[name] = None  # behind all others

    def _has_pending(self, name: str) -> bool:
        tail = self._tails.get(name)
        return tail is not None and tail.decoder.has_pending

    def _drop(self, name: str) -> None:
        self._tails.pop(name, None)
        self._endings.forget(name)

    async def _known(self, origin: Origin) -> JobFacts:
        """Return what is known of a job. It does not change: what an app is told later concerns later jobs."""
        facts = self._facts.get(origin)
        if facts is None:
            facts = self._facts[origin] = await self._describe(origin)
            if len(self._facts) > KNOWN_JOBS:
                self._facts.popitem(last=False)
        self._facts.move_to_end(origin)
        return facts
