"""Event streams: reading their frames, and outliving their connections.

A stream that breaks is opened again at once and asks for what came after the last event seen, so whoever waits
for an event need not know.

Source: `controller-api.md` §6; Flynn `pkg/httpclient/stream.go`, `pkg/sse`.
"""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .client import Answer, Client
from .failure import Failure, NotFound, Refused

CONNECT_FOR_S = 20.0
CONNECT_PAUSE_S = 0.1
SILENCE_S = 90.0  # the server says something every 30 s, so three times nothing is a dead connection


class Expired(Exception):
    """The caller's time was up before the stream said what it waited for."""


class Frames:
    """The lines of an event stream, put together to events. Pure.

    Comments (keep-alives) are no frames, wherever they stand; a frame without data is none either, however many
    empty lines a proxy adds. Both `data: x` and `data:x` are data, lines may end in CRLF.
    """

    def __init__(self) -> None:
        self._data: list[bytes] = []
        self._failed = False

    def line(self, line: bytes) -> dict[str, Any] | None:
        """Return the event this line completes, if any.

        Raises:
            Failure: the server ends the stream with an error, or sent what is not an event.
        """
        line = line.removesuffix(b"\r")
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._failed = value == b"error"
        if line:
            return None
        data, failed = b"\n".join(self._data), self._failed
        self._data, self._failed = [], False
        if not data and not failed:
            return None
        if failed:
            raise Failure(f"Server error: {data.decode(errors='replace')}")
        try:
            event = json.loads(data)
        except ValueError as exc:
            raise Failure(f"the event stream sent what is not JSON: {data[:200]!r}") from exc
        if not isinstance(event, dict):
            raise Failure(f"the event stream sent what is not an event: {data[:200]!r}")
        return event


class Events:
    """A subscription to events, from entering the block to leaving it.

    Once entered, the server has registered it: what happens from now on will be seen.

    Args:
        query: which events; `controller-api.md` §6.1.
    """

    def __init__(self, client: Client, query: Mapping[str, str]) -> None:
        self._client = client
        self._query = query
        self._last_id = 0
        self._answer: Answer | None = None

    def __enter__(self) -> "Events":
        self._answer = self._connect()
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def until(self, seconds: float | None = None) -> Iterator[dict[str, Any]]:
        """Yield events in order, each once.

        Args:
            seconds: how long the caller is ready to wait in all; ``None`` for as long as it takes.

        Raises:
            Expired: that time is over.
            Failure: the stream broke and could not be opened again.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            before = self._last_id
            try:
                for event in self._events(deadline):
                    self._last_id = max(self._last_id, event.get("id", 0))
                    yield event
            except Failure:
                pass  # a broken connection, or an overflow at the server: resume behind the last event
            self._close()
            if self._last_id == before:
                time.sleep(CONNECT_PAUSE_S)  # a server that sends nothing and closes must not be hammered
            self._answer = self._connect()

    def _events(self, deadline: float | None) -> Iterator[dict[str, Any]]:
        """Yield what comes on the present connection until it ends or falls silent."""
        assert self._answer is not None
        frames = Frames()
        lines = self._answer.lines()
        while True:
            left = SILENCE_S if deadline is None else min(SILENCE_S, deadline - time.monotonic())
            if left <= 0:
                raise Expired
            self._answer.connection.wire.settimeout(left)
            try:
                line = next(lines, None)
            except TimeoutError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise Expired from None
                return
            if line is None:
                return
            event = frames.line(line)
            if event is not None:
                yield event

    def _connect(self) -> Answer:
        give_up_at = time.monotonic() + CONNECT_FOR_S
        while True:
            try:
                return self._client.open(
                    "GET",
                    "/events",
                    query=self._query,
                    accept="text/event-stream",
                    headers={"Last-Event-Id": str(self._last_id)},
                )
            except (NotFound, Refused):
                raise
            except Failure:
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(CONNECT_PAUSE_S)

    def _close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
