"""Server-sent events, byte for byte as Flynn's client parses them.

That parser takes the rest of a line that starts with ``data: `` and is done with a frame when
the next byte is a line feed. Hence the rules: LF only, one JSON object per frame, and a
keep-alive of exactly ``:\\n`` – followed by an empty line it would count as an empty frame, and
the client would reconnect without delay, for ever.

Source: `controller-api.md` §6.2; Flynn `pkg/sse/sse.go`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable

import trio

KEEPALIVE = b":\n"


def frame(data: bytes) -> bytes:
    """Return one event. `data` is a JSON text, so it holds no line break."""
    return b"data: " + data + b"\n\n"


def error_frame(text: str) -> bytes:
    """Return the last event of a stream that failed; the client resumes by id."""
    return b"event: error\ndata: " + " ".join(text.split()).encode() + b"\n\n"


async def with_keepalive(receive: Callable[[], Awaitable[bytes]], *, idle_s: float) -> AsyncGenerator[bytes, None]:
    """Yield what `receive` returns, and a keep-alive whenever it took longer than `idle_s` seconds.

    Args:
        receive: returns the next frame; loses nothing when it is cancelled while it waits.
    """
    while True:
        chunk = KEEPALIVE
        with trio.move_on_after(idle_s):
            chunk = await receive()
        yield chunk
