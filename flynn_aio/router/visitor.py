"""Visitor: the client's end of one request, whichever version it came over.

What `forward` needs of it, and nothing of how it is done.
"""

from typing import Protocol

from .framing import Field, Response
from .headers import Hop
from .wire import Wire


class VisitorGone(Exception):
    """The client has left, or cancelled this request: nobody waits for an answer any more."""


class Visitor(Protocol):
    """The client's end of one request.

    Attributes:
        extra_port: the listener's port for route matching; 0 on the default ports.
        partner: the backend's wire while one works for this request; cut when the client leaves.
        gone: the client has left.
    """

    hop: Hop
    extra_port: int
    partner: Wire | None
    gone: bool

    def whole_body(self) -> bytes | None:
        """Return the body if all of it is here already, without trailers; else ``None``."""

    async def receive_body(self) -> bytes:
        """Wait for the next piece of the body; ``b""`` at its end. Asking says that the last piece was taken.

        Raises:
            VisitorGone: the client has left.
            RemoteProtocolError: what comes is no body.
        """

    @property
    def trailers(self) -> list[Field]:
        """The fields behind the body."""

    async def send_interim(self, response: Response, fields: list[Field]) -> None:
        """Pass on a 1xx, where the client's version knows them."""

    async def send_head(self, response: Response, fields: list[Field], data: bytes, *, end: bool) -> None:
        """Begin the response; `data` is what is there of its body, and `end` tells that there is no more.

        Raises:
            VisitorGone: the client has left.
        """

    async def send_body(self, data: bytes) -> None:
        """Pass on a piece of the response, and wait until there is room for another."""

    async def send_end(self, trailers: list[Field]) -> None:
        """End the response."""

    async def abort(self) -> None:
        """End the response so that the client can tell it is not whole."""

    async def take_over(self, response: Response, fields: list[Field]) -> tuple[Wire, bytes] | None:
        """Answer 101 and give the wire away, with what came early; ``None`` where there is no such thing."""
