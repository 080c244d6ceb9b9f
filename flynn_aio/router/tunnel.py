"""Tunnel: two wires joined, bytes both ways. Upgrades end here, and TCP routes live here.

Each direction ends by itself: what one side ends, the other is told, while the way back stays
open. When either wire breaks, both do.
"""

import trio

from .wire import Wire, WireBroken


async def join(one: Wire, other: Wire, *, from_one: bytes = b"", from_other: bytes = b"") -> None:
    """Copy bytes both ways until both directions have ended, or one wire breaks. Closes neither.

    Args:
        from_one: what `one` has sent already.
        from_other: what `other` has sent already.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_pump, one, other, from_one)
        nursery.start_soon(_pump, other, one, from_other)


async def _pump(source: Wire, sink: Wire, early: bytes) -> None:
    try:
        if early:
            await sink.send(early)
        while data := await source.receive():
            await sink.send(data)
        await sink.send_eof()
    except WireBroken as exc:
        source.cut(exc.reason)
        sink.cut(exc.reason)
