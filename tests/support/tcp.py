"""A door on a port of its own, for clients that can only dial one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from .http_client import Dial


@asynccontextmanager
async def on_a_port(dial: Dial) -> AsyncIterator[int]:
    """Accept on 127.0.0.1 and carry each connection to `dial`, byte by byte; give the port."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, partial(_carry, dial), 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _carry(dial: Dial, client: trio.SocketStream) -> None:
    async with client, await dial() as server, trio.open_nursery() as nursery:
        nursery.start_soon(_copy, client, server)
        nursery.start_soon(_copy, server, client)


async def _copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()
