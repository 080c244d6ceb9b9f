"""Streams that catch up: what there is, a mark that this was all, and then every change as it comes.

The backlog and the number of the newest event come from one snapshot, and the events after that number
follow: there is no gap between the two, and nothing comes twice. The mark is an object of zero values. A
reader that falls too far behind gets an error frame, and the end; it begins anew.

Source: `controller-api.md` §5.4, §5.9; Flynn `controller/formation.go`, `streamFormations`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC

from ..errors import FlynnError, ValidationError
from ..model import Event, Time, encode
from ..store import Database, EventFilter, Subscription, queries
from . import sse
from .request import EVENT_STREAM, Parts, Request, Stream
from .shape import Param

CONTENT_TYPE = f"{EVENT_STREAM}; charset=utf-8"
SINCE = Param("since", "stream: begin with what has changed since this time, RFC 3339; without it with all there is")

Backlog = Callable[[Database], Sequence[object]]
Live = Callable[[Event], Awaitable[object | None]]


def since(request: Request) -> Time:
    """Return from when on the backlog is wanted.

    Raises:
        ValidationError: it is not a time with a zone.
    """
    text = request.first("since")
    try:
        return Time.parse(text) if text else Time.of(Time.min.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as exc:
        raise ValidationError("is invalid", field="since") from exc


def is_since(updated_at: Time | None, moment: Time) -> bool:
    """Tell whether a noun belongs to the backlog from `moment` on."""
    return updated_at is None or updated_at >= moment


def stream(parts: Parts, object_types: Collection[str], *, backlog: Backlog, mark: object, live: Live) -> Stream:
    """Return a stream of nouns.

    Args:
        object_types: of the events to follow.
        backlog: what there is, as a query.
        mark: an object of zero values, sent after the backlog.
        live: what to send for an event; ``None`` sends nothing.
    """
    return Stream(CONTENT_TYPE, _open(parts, EventFilter(object_types=frozenset(object_types)), backlog, mark, live))


@asynccontextmanager
async def _open(
    parts: Parts, wanted: EventFilter, backlog: Backlog, mark: object, live: Live
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    past, newest = await parts.store.read(lambda db: (backlog(db), queries.newest_event(db)))
    async with parts.store.subscribe(wanted, since=newest, patient=True) as subscription:
        yield _frames([*past, mark], subscription, live, parts.settings.event_keepalive_s)


async def _frames(
    past: Sequence[object], subscription: Subscription, live: Live, idle_s: float
) -> AsyncGenerator[bytes, None]:
    for noun in past:
        yield sse.frame(encode(noun))
    try:
        while True:
            event = await sse.within(subscription.receive, idle_s)
            if event is None:
                yield sse.KEEPALIVE
            elif (changed := await live(event)) is not None:
                yield sse.frame(encode(changed))
    except FlynnError as error:  # the reader was too slow, or the store cannot be read just now
        yield sse.error_frame(error.message)
