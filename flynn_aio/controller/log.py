"""The log of an app: a JSON object per line, or server-sent events.

Source: `controller-api.md` §7, `logs.md` §4; Flynn `controller/app.go`, `AppLog`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal

import trio
from msgspec import Struct

from ..errors import ValidationError
from ..logs import LogMessage, LogQuery
from ..model import AppID, bare_job_id, encode
from ..store import queries
from . import sse
from .request import EVENT_STREAM, Parts, Request, Stream, decimal
from .shape import EventStream, Lines, Param

MAX_LINES = 10_000
DEFAULT_STREAMS = frozenset({"stdout", "stderr"})
BATCH = 200
"""Lines in one piece of the answer. What is there is sent at once; nothing waits for a full batch."""

EOF = sse.frame(b'{"event":"eof"}')

PARAMS = (
    Param("follow", "keep sending what comes", bool),
    Param(
        "lines", f"at most so many of the newest lines, 0 to {MAX_LINES}; 0 or absent: all, or none when following", int
    ),
    Param("job_id", "only lines of this job"),
    Param("process_type", "only lines of this type; present but empty: of one-off jobs"),
    Param("stream_types", "some of `stdout`, `stderr` and `init`, with commas; without it the first two"),
)


class LogEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One frame of a log as server-sent events; `eof` is the last."""

    event: Literal["message", "eof"]
    data: LogMessage | None = None


GIVES = Lines[LogMessage] | EventStream[LogEvent]


async def get(parts: Parts, request: Request) -> Stream:
    """Show the log of an app, or follow it."""
    follow = request.first("follow") == "true"
    streams = frozenset(kind for kind in request.first("stream_types").split(",") if kind)
    job = request.first("job_id")
    query = LogQuery(
        lines=_lines(request),
        job=bare_job_id(job) if job else None,
        process_type=request.last("process_type"),
        streams=streams or DEFAULT_STREAMS,
    )
    app = await parts.store.read(lambda db: queries.app(db, request.app))
    as_events = EVENT_STREAM in request.accept
    encoded = _event if as_events else _line
    if follow:
        idle_s = parts.settings.event_keepalive_s if as_events else None
        source = _follow(parts, app.id, query, encoded, idle_s)
    else:
        source = _read(parts, app.id, query, encoded, EOF if as_events else b"")
    return Stream(f"{EVENT_STREAM}; charset=utf-8" if as_events else "text/plain", source)


def _lines(request: Request) -> int | None:
    text = request.first("lines")
    if not text:
        return None
    number = decimal(text, at_most=MAX_LINES)
    if number is None:
        raise ValidationError(f"lines must be an integer between 0 and {MAX_LINES}", field="lines")
    return number


def _line(message: LogMessage) -> bytes:
    return encode(message) + b"\n"


def _event(message: LogMessage) -> bytes:
    return sse.frame(b'{"event":"message","data":' + encode(message) + b"}")


Encoded = Callable[[LogMessage], bytes]


@asynccontextmanager
async def _read(
    parts: Parts, app: AppID, query: LogQuery, encoded: Encoded, end: bytes
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    messages = await parts.logs.read(app, query)

    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(messages), BATCH):
            yield b"".join(encoded(message) for message in messages[start : start + BATCH])
        if end:
            yield end

    yield chunks()


@asynccontextmanager
async def _follow(
    parts: Parts, app: AppID, query: LogQuery, encoded: Encoded, idle_s: float | None
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    async with parts.logs.follow(app, query) as messages:

        async def receive() -> bytes:
            batch = [await messages.receive()]
            while len(batch) < BATCH:
                try:
                    batch.append(messages.receive_nowait())
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
            return b"".join(encoded(message) for message in batch)

        yield _lines_until_end(receive) if idle_s is None else _events_until_end(receive, idle_s)


async def _lines_until_end(receive: Callable[[], Awaitable[bytes]]) -> AsyncGenerator[bytes, None]:
    with suppress(trio.EndOfChannel):
        while True:
            yield await receive()


async def _events_until_end(receive: Callable[[], Awaitable[bytes]], idle_s: float) -> AsyncGenerator[bytes, None]:
    with suppress(trio.EndOfChannel):
        while True:
            yield await sse.within(receive, idle_s) or sse.KEEPALIVE
    yield EOF
