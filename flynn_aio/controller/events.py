"""Events: one, a list of them, or a stream.

Which of the two `GET /events` is, the `Accept` header says: exactly `application/json` is a
list, anything else a stream.

Source: `controller-api.md` §6; Flynn `controller/events.go`.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from ..errors import FlynnError, NotFound, ValidationError
from ..model import Event, EventID, encode
from ..store import EventFilter, Subscription, queries
from . import sse
from .paging import in_pages
from .request import EVENT_STREAM, JSON, Parts, Reply, Request, Stream, decimal, reply
from .shape import EventStream, Param

CONTENT_TYPE = f"{EVENT_STREAM}; charset=utf-8"
MAX_ID = 2**63 - 1
PIECE_BYTES = 16 * 1024
"""Events that happened together go out together, up to about here."""

GIVES = list[Event] | EventStream[Event]
PARAMS = (
    Param("app_id", "only events of this app: its id or its name"),
    Param("object_types", "only events of these types, with commas"),
    Param("object_id", "only events of this object"),
    Param("count", "at most so many of the newest events; of a stream: of those it replays", int),
    Param("before_id", "list: only events with a smaller id", int),
    Param("since_id", "list: only events with a greater id", int),
    Param("past", "stream: replay what has happened, then go on", bool),
    Param("Last-Event-Id", "stream: replay events with a greater id, then go on; 0 is as if absent", int, "header"),
)


async def get(parts: Parts, request: Request) -> Reply:
    """Show an event."""
    text = request.params["event"]
    number = decimal(text, at_most=MAX_ID)
    if number is None:
        raise NotFound(f"event {text!r} does not exist: its id is not a number")
    return reply(await parts.store.read(lambda db: queries.event(db, number)))


async def get_many(parts: Parts, request: Request) -> Reply | Stream:
    """List what happened, or follow it: `Accept` must be exactly `application/json` for a list."""
    wanted = await _filter(parts, request)
    count = _number(request.first("count"), "count")
    if count is not None and count <= 0:
        count = None  # as in Flynn: no limit
    if request.accept == JSON:
        before = _number(request.first("before_id"), "before_id")
        since = _number(request.first("since_id"), "since_id")
        return await in_pages(_pages(parts, wanted, _event(since), _event(before), count))
    last_id = _number(request.headers.get("last-event-id", ""), "Last-Event-Id")
    since = last_id if last_id is not None and last_id > 0 else None
    past = request.first("past") == "true"
    return Stream(CONTENT_TYPE, _follow(parts, wanted, _event(since), past, count))


async def _filter(parts: Parts, request: Request) -> EventFilter:
    """Read what is asked for. The app is looked up now: the stream goes on when it is deleted."""
    app = request.first("app_id")
    return EventFilter(
        app=(await parts.store.read(lambda db: queries.app(db, app))).id if app else None,
        object_types=frozenset(kind for kind in request.first("object_types").split(",") if kind),
        object_id=request.first("object_id") or None,
    )


def _number(text: str, name: str) -> int | None:
    if not text:
        return None
    number = decimal(text.removeprefix("-"), at_most=MAX_ID)
    if number is None:
        raise ValidationError("is invalid", field=name)
    return -number if text.startswith("-") else number


def _event(number: int | None) -> EventID | None:
    return None if number is None else EventID(number)


async def _pages(
    parts: Parts, wanted: EventFilter, since: EventID | None, before: EventID | None, count: int | None
) -> AsyncGenerator[list[Event], None]:
    while count is None or count > 0:
        query = partial(queries.events, wanted=wanted, before=before, since=since, count=count)
        page = await parts.store.read(query)
        if not page:
            return
        yield page
        before = page[-1].id
        count = None if count is None else count - len(page)


@asynccontextmanager
async def _follow(
    parts: Parts, wanted: EventFilter, since: EventID | None, past: bool, count: int | None
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    async with parts.store.subscribe(wanted, since=since, past=past, count=count, patient=True) as subscription:
        yield _frames(subscription, parts.settings.event_keepalive_s)


async def _frames(subscription: Subscription, idle_s: float) -> AsyncGenerator[bytes, None]:
    try:
        while True:
            event = await sse.within(subscription.receive, idle_s)
            if event is None:
                yield sse.KEEPALIVE
            else:
                yield _whole(event, subscription)
    except FlynnError as error:  # the reader was too slow, or what it missed cannot be read just now
        yield sse.error_frame(error.message)


def _whole(event: Event, subscription: Subscription) -> bytes:
    """Return an event, and those that are there already behind it, as one piece."""
    piece = sse.frame(encode(event))
    while len(piece) < PIECE_BYTES and (following := subscription.receive_nowait()) is not None:
        piece += sse.frame(encode(following))
    return piece
