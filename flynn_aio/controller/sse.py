"""Server-sent events, byte for byte as Flynn's client parses them.

That parser takes the rest of a line that starts with ``data: `` and is done with a frame when
the next byte is a line feed. Hence the rules: LF only, one JSON object per frame, and a
keep-alive of exactly ``:\\n`` – followed by an empty line it would count as an empty frame, and
the client would reconnect without delay, for ever.

Source: `controller-api.md` §6.2; Flynn `pkg/sse/sse.go`.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")

KEEPALIVE = b":\n"


def frame(data: bytes) -> bytes:
    """Return one event. `data` is a JSON text, so it holds no line break."""
    return b"data: " + data + b"\n\n"


def error_frame(text: str) -> bytes:
    """Return the last event of a stream that failed; the client resumes by id."""
    return b"event: error\ndata: " + " ".join(text.split()).encode() + b"\n\n"


async def within(receive: Callable[[], Awaitable[T]], idle_s: float) -> T | None:
    """Return what `receive` returns; ``None`` when it takes longer than `idle_s` seconds: time for a keep-alive.

    Args:
        receive: loses nothing when it is cancelled while it waits.
    """
    with trio.move_on_after(idle_s):
        return await receive()
    return None
