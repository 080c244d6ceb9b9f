"""Lists that grow without end: sent page by page, so that their length costs no memory.

The bytes are those of the whole list. Such a list is in an order that never changes, with what is new at the
front, so the pages are one list, whenever they are read.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from ..model import encode
from .request import JSON, Reply, Stream, reply

T = TypeVar("T")


async def in_pages(pages: AsyncGenerator[list[T], None]) -> Reply | Stream:
    """Answer with a list.

    Args:
        pages: its pieces in order; none of them is empty.
    """
    first = await anext(pages, None)
    second = await anext(pages, None)
    if first is None or second is None:
        return reply(first or [])
    return Stream(JSON, _opened(first, second, pages))


@asynccontextmanager
async def _opened(
    first: list[T], second: list[T], rest: AsyncGenerator[list[T], None]
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield encode(first)[:-1]
        yield b"," + encode(second)[1:-1]
        async for page in rest:
            yield b"," + encode(page)[1:-1]
        yield b"]"

    async with aclosing(rest):
        yield chunks()
