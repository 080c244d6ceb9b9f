"""A sender: takes what the firehose gives to one log server, again and again until it is stopped.

Nobody waits for it. A server that is slow, dead or hostile costs one connection attempt every ten
seconds; meanwhile the output stays where it is, in the files, and the cursor says from where on it is owed.

Source: `logs.md` §7; Flynn `host/logmux/logmux.go`, `addSink`.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from ..clock import Clock
from ..errors import FlynnError
from . import cursor
from .cursor import Place
from .firehose import Firehose
from .follow import RunBlocking
from .outlet import Connection, Outlet

logger = logging.getLogger(__name__)

RECONNECT_S = 10.0
SAVE_S = 10.0
MAX_UNCONFIRMED = 64
"""Batches whose arrival is watched one by one; more are watched together."""
STEADY_S = 60.0
"""A connection that holds so long is well again, and worth a new line in the diary when it is lost."""


@dataclass(slots=True)
class _Sent:
    """A batch on its way; without a `mark` it is not sent yet."""

    places: dict[str, Place]
    mark: int | None = None


class Sender:
    """Sends one sink what it does not have yet.

    Args:
        name: of the sink, for the diary.
        path: where its cursor lies.
    """

    def __init__(
        self,
        name: str,
        outlet: Outlet,
        firehose: Firehose,
        path: Path,
        *,
        clock: Clock,
        run_blocking: RunBlocking,
    ) -> None:
        self._name = name
        self._outlet = outlet
        self._firehose = firehose
        self._path = path
        self._clock = clock
        self._run_blocking = run_blocking
        self._on_its_way: deque[_Sent] = deque()
        self._connection: Connection | None = None
        self._connected_at = 0.0
        self._complaint = ""
        self._told_of = (0, 0)

    async def run(self) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._save_now_and_then)
            while True:
                try:
                    async with self._outlet.open() as connection:
                        if not self._complaint:
                            logger.info("log sink connected", extra={"sink": self._name})
                        await self._use(connection)
                except FlynnError as exc:
                    self._complain(exc.message)
                await trio.sleep(RECONNECT_S)

    async def save(self) -> None:
        """Write down how far the sink is."""
        if self._connection:
            self._confirm(self._connection.taken())
        saved = self._firehose.saved(self._clock.now().timestamp())
        try:
            await self._run_blocking(partial(cursor.save, self._path, saved))
        except OSError as exc:
            reason = exc.strerror
            logger.warning("cursor of a log sink not saved", extra={"sink": self._name, "reason": reason})

    async def _use(self, connection: Connection) -> None:
        """Send over a connection until it breaks.

        Raises:
            FlynnError: it did, or there is nothing to read from.
        """
        failures: list[FlynnError] = []

        async def until_failure(work: Callable[[], Awaitable[None]]) -> None:
            try:
                await work()
            except FlynnError as exc:
                failures.append(exc)
                nursery.cancel_scope.cancel()

        self._connection, self._connected_at = connection, trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(until_failure, connection.wait_broken)
                nursery.start_soon(until_failure, partial(self._pass_on, connection))
        finally:
            self._connection = None
            self._confirm(connection.taken())
            lost = {name for sent in self._on_its_way for name in sent.places}
            self._on_its_way.clear()
            self._firehose.rewind(lost)
        raise failures[0]

    async def _pass_on(self, connection: Connection) -> None:
        while True:
            batch = await self._firehose.next()
            sent = self._note(batch.places)
            sent.mark = await connection.send(batch.data)
            self._confirm(connection.taken())

    def _note(self, places: Mapping[str, Place]) -> _Sent:
        if len(self._on_its_way) < MAX_UNCONFIRMED:
            self._on_its_way.append(_Sent({}))
        newest = self._on_its_way[-1]
        newest.places.update(places)
        newest.mark = None
        return newest

    def _confirm(self, taken: int) -> None:
        while self._on_its_way:
            mark = self._on_its_way[0].mark
            if mark is None or mark > taken:
                return
            self._firehose.confirm(self._on_its_way.popleft().places)

    async def _save_now_and_then(self) -> None:
        while True:
            await trio.sleep(SAVE_S)
            await self.save()
            if self._complaint and self._connection and trio.current_time() - self._connected_at >= STEADY_S:
                logger.info("log sink served again", extra={"sink": self._name})
                self._complaint = ""
            given_up = self._firehose.given_up_bytes, self._firehose.given_up_files
            if given_up != self._told_of:
                self._told_of = given_up
                size, files = given_up
                logger.warning(
                    "log sink too far behind: output was given up, see logs.app_bytes",
                    extra={"sink": self._name, "bytes": size, "files": files},
                )

    def _complain(self, reason: str) -> None:
        """Tell the diary why, but not every ten seconds."""
        if reason != self._complaint:
            logger.warning(
                "log sink not served, trying again",
                extra={"sink": self._name, "reason": reason, "every_s": RECONNECT_S},
            )
        self._complaint = reason
