"""The bytes of an attached session, both ways, as a flow has them. Pure."""

from collections.abc import Iterator
from struct import unpack
from typing import Any

Word = list[Any]
"""``["stdin", text]``, ``["end of stdin"]``, ``["signal", number]``, ``["resize", rows, columns]``."""

STREAMS = {1: "stdout", 2: "stderr", 3: "init"}


def sent_words(data: bytes) -> Iterator[Word]:
    """Yield what a client sent."""
    while data:
        match data[0]:
            case 3:
                length = unpack(">I", data[2:6])[0]
                yield ["stdin", data[6 : 6 + length].decode()] if length else ["end of stdin"]
                data = data[6 + length :]
            case 4:
                yield ["signal", unpack(">I", data[1:5])[0]]
                data = data[5:]
            case 6:
                yield ["resize", *unpack(">HH", data[1:5])]
                data = data[5:]
            case other:
                raise ValueError(f"a client sent a frame of type {other}")


def received(data: bytes) -> dict[str, Any]:
    """Return what a client got: the text of each stream, and how it ended (``exit`` or ``error``)."""
    streams: dict[int, bytes] = {}
    end: dict[str, Any] = {}
    while data:
        match data[0]:
            case 3 if len(data) >= 6:
                stream, length = unpack(">BI", data[1:6])
                streams[stream] = streams.get(stream, b"") + data[6 : 6 + length]
                data = data[6 + length :]
            case 5:
                end, data = {"exit": unpack(">I", data[1:5])[0]}, data[5:]
            case 2:
                length = unpack(">I", data[1:5])[0]
                end, data = {"error": data[5 : 5 + length].decode()}, data[5 + length :]
            case _:
                break
    return {STREAMS[number]: text.decode() for number, text in sorted(streams.items()) if text} | end
