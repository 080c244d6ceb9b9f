"""Following: an app's lines as they are written, after a backlog.

A follower stands at a place in each file and reads on when the directory says that something
changed. The file is its buffer, so a slow reader costs no memory; one that falls too far
behind is taken ahead, and told how many lines it has missed. No other line is missed and none
comes twice: the backlog ends, and reading on begins, at the same byte.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, TypeVar

import trio

from ..clock import Clock
from ..model import AppID
from ..settings import LogSettings
from .endings import Endings
from .files import OURS, origin_of, survey
from .history import History
from .inotify import Changes
from .line import INIT, LogMessage, message
from .live import LiveJobs
from .query import LogQuery, in_order
from .record import Decoder, Line
from .tail import Tail

T = TypeVar("T")

CHUNK_BYTES = 64 * 1024
"""Read between two checkpoints: a few hundred lines, some milliseconds."""
LAG_BYTES = 8 * 1024 * 1024
"""How far behind a follower may be in one file."""
KEEP_BYTES = 256 * 1024
"""How much of the end it still gets after having been taken ahead."""


class RunBlocking(Protocol):
    """How to run a blocking function: in a thread, or at once in a test with a virtual clock."""

    async def __call__(self, blocking: Callable[[], T], /) -> T: ...


class Follower:
    """One reader of one app.

    Args:
        changes: what the directory reports about the app's files, since before `history` was read.
    """

    def __init__(
        self,
        app: AppID,
        query: LogQuery,
        changes: Changes,
        history: History,
        *,
        settings: LogSettings,
        clock: Clock,
        live: LiveJobs,
        run_blocking: RunBlocking,
    ) -> None:
        self._app = app
        self._query = query
        self._changes = changes
        self._settings = settings
        self._clock = clock
        self._endings = Endings(live)
        self._run_blocking = run_blocking
        self._tails = {tail.name: tail for tail in history.tails}

    def look_again(self) -> None:
        """Some job may have ended: its last line may be one without a newline."""
        self._changes.bell.ring()

    async def run(self, backlog: Iterable[LogMessage], send: trio.MemorySendChannel[LogMessage]) -> None:
        """Send the backlog and then every new line, until cancelled or nobody receives any more."""
        with send:
            try:
                for old in backlog:
                    await send.send(old)
                while True:
                    seen = self._changes.bell.version
                    await self._catch_up(send)
                    await self._changes.bell.moved_past(seen)
            except trio.BrokenResourceError:
                return

    async def _catch_up(self, send: trio.MemorySendChannel[LogMessage]) -> None:
        """Send everything that is there, a piece of each file in turn.

        A job that prints without end does not keep the others from being heard: each round takes
        in what else has changed.
        """
        behind: set[Tail] = set()
        while behind := behind | await self._changed() | self._endings.unfinished(self._tails.values()):
            batch = []
            for tail in list(behind):
                lines, left = tail.read_on(self._settings.dir, most=CHUNK_BYTES)
                if left <= 0:
                    behind.discard(tail)
                    lines += self._last_words(tail)
                wanted = [line for line in lines if line.stream in self._query.streams]
                if left > LAG_BYTES:
                    wanted.append(await self._skip(tail))
                batch.append((tail.origin, wanted))
                await trio.lowlevel.checkpoint()
            for line, origin in in_order(batch):
                await send.send(message(line, origin))

    def _last_words(self, tail: Tail) -> list[Line]:
        """Return the unfinished line of a job that has ended. All it wrote has just been read."""
        has_ended = tail.decoder.has_pending and self._endings.have_ended([tail.origin])
        return tail.decoder.flush() if has_ended else []

    async def _skip(self, tail: Tail) -> Line:
        """Take a place ahead, and return the line that says so."""
        settings = self._settings
        skip = partial(tail.skip, settings.dir, keep=KEEP_BYTES, line_bytes=settings.line_bytes)
        lines = await self._run_blocking(skip)
        text = f"{lines} lines were left out here: they came faster than they were read; `flynn log -n` has the newest"
        now = self._clock.now().replace(tzinfo=None).isoformat(timespec="microseconds")
        return Line(f"{now}000", INIT, text.encode())

    async def _changed(self) -> set[Tail]:
        """Return the places behind which something may have been written."""
        names, is_lost = self._changes.take()
        if is_lost:
            files = await self._run_blocking(partial(survey, self._settings.dir, app=self._app))
            names |= {file.name for file in files}
        return {tail for name in names if (tail := self._tails.get(name) or self._begin(name))}

    def _begin(self, name: str) -> Tail | None:
        """Return the beginning of a new file; ``None`` when nobody wants it."""
        origin = origin_of(name)
        if origin is None or name.endswith(OURS) or origin.app != self._app or not self._query.wants(origin):
            return None
        tail = self._tails[name] = Tail(origin, name, Decoder(line_bytes=self._settings.line_bytes))
        return tail
