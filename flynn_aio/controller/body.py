"""The body of a request: bounded, JSON, without NULs, and lenient where Go is.

Flynn decodes as Go does: unknown keys are dropped and ``null`` is the zero value.

Source: `controller-api.md` §2, §4.1; Flynn `pkg/httphelper`, `DecodeJSON`.
"""

import re
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import trio

from ..errors import FlynnError, MalformedInput, ValidationError
from ..model import convert, decode
from .connection import Receive
from .request import JSON, Request

T = TypeVar("T")

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_TEXT_MAPS = frozenset({"env", "meta"})


class BodyTooBig(FlynnError):
    """The body is longer than we read."""

    code = "request_body_too_big"

    def __init__(self, at_most: int) -> None:
        super().__init__("The provided request body is too big", detail={"at_most_bytes": at_most})


class Disconnected(FlynnError):
    """The client went away before its request was complete: nobody reads the answer."""


async def read_body(receive: Receive, *, at_most: int, within_s: float) -> bytes:
    """Return the whole body of a request.

    Raises:
        BodyTooBig: it is longer than `at_most` bytes; the rest is left unread.
        ValidationError: it was not there after `within_s` seconds.
        Disconnected: the client went away in the middle of it.
    """
    try:
        with trio.fail_after(within_s):
            return await _whole(receive, at_most)
    except trio.TooSlowError as exc:
        raise ValidationError(f"The request body did not arrive within {within_s:g} s") from exc


async def _whole(receive: Receive, at_most: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected("the client went away while it sent its request")
        body += message.get("body", b"")
        if len(body) > at_most:
            raise BodyTooBig(at_most)
        if not message.get("more_body", False):
            return bytes(body)


async def read_pieces(request: Request, *, within_s: float) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request that streams, as it comes.

    Args:
        within_s: how long one piece may be waited for.

    Raises:
        ValidationError: there was no piece for so long.
        Disconnected: the client went away in the middle of it.
    """
    assert request.receive is not None
    whole = False
    while not whole:
        with trio.move_on_after(within_s) as waiting:
            message = await request.receive()
        if waiting.cancelled_caught:
            raise ValidationError(f"Nothing more of the request body arrived within {within_s:g} s")
        if message["type"] == "http.disconnect":
            raise Disconnected("the client went away while it sent its request")
        whole = not message.get("more_body", False)
        yield message.get("body", b"")


def read_json(request: Request, wanted: type[T]) -> T:
    """Read the body of a request.

    Raises:
        ValidationError: it is not said to be JSON, or holds a NUL: no name, argument or variable can.
        MalformedInput: it is not JSON, or a value has the wrong type.
    """
    return convert(_plain(request), wanted)


def read_object(request: Request) -> dict[str, Any]:
    """Read the body of a request whose keys and types are checked one by one. Nulls are kept out."""
    return read_json(request, dict[str, Any])


def _plain(request: Request) -> Any:
    if JSON not in request.headers.get("content-type", ""):
        raise ValidationError(f"Content-Type must be {JSON}")
    if _NUL.search(request.body):
        raise ValidationError("The provided JSON input contains a NUL character, which nothing can store")
    try:
        return _without_nulls(decode(request.body, Any))
    except RecursionError as exc:
        raise MalformedInput("The provided JSON input is invalid") from exc


def _without_nulls(value: Any, *, key: str = "") -> Any:
    """Drop nulls as Go's decoder does: a field keeps its zero value, a text in a map becomes empty."""
    match value:
        case dict() if key in _TEXT_MAPS:
            return {name: "" if item is None else item for name, item in value.items()}
        case dict():
            return {name: _without_nulls(item, key=name) for name, item in value.items() if item is not None}
        case list():
            return [_without_nulls(item) for item in value]
        case _:
            return value
