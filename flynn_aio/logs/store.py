"""Logs: the door behind which an app's output is kept, read and followed.

conmon's files are the store of record: nothing is copied, nothing is lost while we are down, and
starting reads nothing. What runs here all the time is one inotify watch without writes, and
the upkeep of the files.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import trio

from ..clock import Clock
from ..engine import Engine, write_init_line
from ..errors import FlynnError
from ..model import AppID, JobID
from ..settings import LogSettings
from .cursor import Cursor
from .files import LogFile, survey
from .firehose import Describe, Encode, Firehose
from .follow import Follower, RunBlocking
from .history import gather
from .inotify import DirectoryWatch
from .line import LogMessage, message
from .live import LiveJobs
from .query import LogQuery
from .record import STREAMS
from .retention import carry_out, hold_on, is_over, plan, remove

logger = logging.getLogger(__name__)

T = TypeVar("T")

READERS = 2
"""Threads at work on log files at a time. They run to their end, which is never far: see `ring.MAX_REACH`."""
UPKEEP_S = 30.0
"""Between two looks at how much the files hold. New files are looked at at once."""


class Logs:
    """The output of all jobs; see `open_logs`."""

    def __init__(
        self,
        settings: LogSettings,
        engine: Engine,
        clock: Clock,
        *,
        watch: DirectoryWatch,
        nursery: trio.Nursery,
        run_blocking: RunBlocking,
    ) -> None:
        self._settings = settings
        self._nursery = nursery
        self._live = LiveJobs(engine)
        self._clock = clock
        self._watch = watch
        self._run_blocking = run_blocking
        self._followers: set[Follower | Firehose] = set()

    @property
    def directory(self) -> Path:
        return self._settings.dir

    async def read(self, app: AppID, query: LogQuery) -> list[LogMessage]:
        """Return an app's newest lines, oldest first: those wanted, and of these the last `query.lines`."""
        return await self._read(query, app=app, wanted=self._wanted(query) or self._settings.ring_lines)

    async def tail(self, job: JobID, lines: int) -> list[str]:
        """Return the last lines of one job, whatever stream they are in, for telling why it failed."""
        found = await self._read(LogQuery(job=job, streams=STREAMS), app="", wanted=lines)
        return [one.msg for one in found]

    async def note(self, app: AppID, job: JobID, type: str, text: str) -> None:
        """Put a line of the appliance's own into an app's log, in stream `init` of one of its jobs.

        Raises:
            FlynnError: it could not be written.
        """
        write = partial(write_init_line, self._settings.dir, app, job, type, text=text, moment=self._clock.now())
        try:
            await self._run_blocking(write)
        except OSError as exc:
            raise FlynnError(f"cannot write a line into the log of job {job}: {exc.strerror}") from exc

    @asynccontextmanager
    async def follow(self, app: AppID, query: LogQuery) -> AsyncIterator[trio.MemoryReceiveChannel[LogMessage]]:
        """Yield the last `query.lines` lines and then every new one, as they come, until the block is left.

        The channel holds `follower_lines`. A reader that does not keep up loses lines from the
        middle: a line in stream `init` says how many.
        """
        with self._watch.reader(app, writes=True) as changes:  # from here on nothing is missed
            files = await self._survey(app)
            listed = await self._live.ask()
            present = frozenset(file.origin.job for file in files)
            live = present if listed is None else present & listed
            wanted = self._wanted(query)
            look = partial(gather, files, query, directory=self._settings.dir, settings=self._settings)
            history = await self._run_blocking(partial(look, wanted=wanted, live=live))
            backlog = [message(*found) for found in history.lines(present - live, query.streams)]
            follower = Follower(
                app,
                query,
                changes,
                history,
                settings=self._settings,
                clock=self._clock,
                live=self._live,
                run_blocking=self._run_blocking,
            )
            send, receive = trio.open_memory_channel[LogMessage](self._settings.follower_lines)
            scope = trio.CancelScope()
            self._nursery.start_soon(self._run, follower, backlog, send, scope)
            try:
                with receive:
                    yield receive
            finally:
                scope.cancel()

    async def _run(
        self,
        follower: Follower,
        backlog: list[LogMessage],
        send: trio.MemorySendChannel[LogMessage],
        scope: trio.CancelScope,
    ) -> None:
        """Run a follower in our nursery, so that what happens in its reader's block is not wrapped in groups.

        Files that cannot be read, for want of descriptors or because the disk fails, end it like the end of the log.
        """
        self._followers.add(follower)
        try:
            with scope:
                await follower.run(backlog, send)
        except OSError as exc:
            logger.warning("log not followed any more", extra={"reason": str(exc)})
        finally:
            self._followers.discard(follower)

    @asynccontextmanager
    async def firehose(
        self, cursor: Cursor, *, describe: Describe, encode: Encode, run_blocking: RunBlocking
    ) -> AsyncIterator[Firehose]:
        """Have the output of all apps from a cursor on, while the block runs."""
        with self._watch.reader("", writes=True) as changes:  # from here on nothing is missed
            files = await run_blocking(partial(survey, self._settings.dir))
            firehose = Firehose(
                cursor,
                changes,
                sorted(((file.name, file.modified) for file in files), key=itemgetter(1)),
                settings=self._settings,
                live=self._live,
                clock=self._clock,
                describe=describe,
                encode=encode,
                run_blocking=run_blocking,
            )
            self._followers.add(firehose)
            try:
                yield firehose
            finally:
                self._followers.discard(firehose)

    async def forget(self, app: AppID) -> None:
        """Delete an app's files. Jobs that still run write into nothing."""
        files = await self._survey(app)
        await self._run_blocking(partial(self._remove, [file.name for file in files]))

    async def keep_only(self, apps: set[AppID]) -> None:
        """Delete the files of all other apps: those that were deleted while we could not see it."""
        files = await self._survey("")
        await self._run_blocking(partial(self._remove, [file.name for file in files if file.origin.app not in apps]))

    async def watch_jobs(self) -> None:
        """Have followers look again whenever a job may have ended, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._live.run)
            seen = self._live.bell.version
            while True:
                await self._live.bell.moved_past(seen)
                seen = self._live.bell.version
                for follower in self._followers:
                    follower.look_again()

    async def upkeep(self) -> None:
        """Hold on to what conmon leaves, and give up what is too much, until cancelled."""
        with self._watch.reader("", writes=False) as changes:
            while True:
                seen = changes.bell.version
                changes.take()
                await self._tidy()
                with trio.move_on_after(UPKEEP_S):
                    await changes.bell.moved_past(seen)

    async def _tidy(self) -> None:
        directory = self._settings.dir
        try:
            files = await self._run_blocking(partial(hold_on, directory))
            if not is_over(files, app_bytes=self._settings.app_bytes):
                return
            live = await self._live.ask()
            if live is not None and (made := plan(files, live, app_bytes=self._settings.app_bytes)):
                await self._run_blocking(partial(carry_out, made, directory))
                logger.info("log files shortened", extra={"deleted": len(made.delete), "punched": len(made.punch)})
        except OSError as exc:
            logger.warning("log files not tidied, trying again", extra={"reason": str(exc)})

    async def _read(self, query: LogQuery, *, app: str, wanted: int) -> list[LogMessage]:
        files = await self._survey(app)
        look = partial(gather, files, query, directory=self._settings.dir, settings=self._settings, wanted=wanted)
        history = await self._run_blocking(look)
        jobs = frozenset(tail.origin.job for tail in history.tails)
        live: frozenset[JobID] | None = frozenset()
        if any(tail.decoder.has_pending for tail in history.tails):
            live = await self._live.ask()
        ended = frozenset() if live is None else jobs - live
        return [message(*found) for found in history.lines(ended, query.streams)]

    def _wanted(self, query: LogQuery) -> int:
        return min(query.lines or 0, self._settings.ring_lines)

    async def _survey(self, app: str) -> list[LogFile]:
        return await self._run_blocking(partial(survey, self._settings.dir, app=app))

    def _remove(self, names: list[str]) -> None:
        for name in names:
            remove(self._settings.dir, name)


@asynccontextmanager
async def open_logs(
    settings: LogSettings, engine: Engine, clock: Clock, *, run_blocking: RunBlocking | None = None
) -> AsyncIterator[Logs]:
    """Keep the output of jobs readable while the block runs. Nothing is read at the start.

    Args:
        run_blocking: how to read files; in threads of our own by default.

    Raises:
        FlynnError: the directory cannot be made or watched.
    """
    try:
        os.makedirs(settings.dir, mode=0o700, exist_ok=True)
        watch = DirectoryWatch(settings.dir)
    except OSError as exc:
        raise FlynnError(
            f"cannot watch the log directory {settings.dir}: {exc.strerror}; check that it is a directory of ours, "
            "and that fs.inotify.max_user_instances is not used up"
        ) from exc
    with closing(watch):
        async with trio.open_nursery() as nursery:
            run = run_blocking or in_threads(READERS)
            logs = Logs(settings, engine, clock, watch=watch, nursery=nursery, run_blocking=run)
            nursery.start_soon(watch.run)
            nursery.start_soon(logs.watch_jobs)
            nursery.start_soon(logs.upkeep)
            yield logs
            nursery.cancel_scope.cancel()


def in_threads(most: int) -> RunBlocking:
    """Return a way to run blocking functions, so many at a time."""
    limiter = trio.CapacityLimiter(most)

    async def run(blocking: Callable[[], T], /) -> T:
        return await trio.to_thread.run_sync(blocking, limiter=limiter)

    return run
