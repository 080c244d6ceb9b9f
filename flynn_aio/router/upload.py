"""Upload: a request's body on its way to the backend, beside the answer that may come meanwhile."""

from .framing import RemoteProtocolError
from .h1 import write_chunk, write_last_chunk
from .headers import passable_trailers
from .visitor import Visitor, VisitorGone
from .wire import Wire, WireBroken

REPLAY_BYTES = 64 * 1024
"""How much of a body is remembered until the answer begins, so that a request whose kept connection
turned out to be closed can be sent again."""


class Upload:
    """The request's body on its way to the backend, and what of it could be sent again.

    Attributes:
        ended: all of it has been written to the backend.
        failed: why it cannot be completed: the client left, or sends what is no body.
    """

    __slots__ = ("_chunked", "_kept", "_kept_bytes", "_visitor", "ended", "failed", "remembers")

    def __init__(self, visitor: Visitor, *, chunked: bool) -> None:
        self._visitor = visitor
        self._chunked = chunked
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self.remembers = True
        self.ended = False
        self.failed: VisitorGone | RemoteProtocolError | None = None

    @property
    def replayable(self) -> bool:
        return self.remembers and self.failed is None

    def forget(self) -> None:
        """Nothing will be sent again: the answer has begun, or the connection was fresh."""
        self.remembers = False
        self._kept.clear()

    async def run(self, wire: Wire) -> None:
        """Send what was sent before, then what comes. A backend that stops reading may still answer."""
        try:
            for piece in tuple(self._kept):  # the answer may begin meanwhile, and empty the list
                await wire.send(piece)
            while not self.ended:
                piece = await self._visitor.receive_body()
                if piece:
                    await self._send(wire, write_chunk(piece) if self._chunked else piece)
                else:
                    if self._chunked:
                        await self._send(wire, write_last_chunk(passable_trailers(self._visitor.trailers)))
                    self.ended = True
        except WireBroken:
            return  # whoever reads the answer learns of it as well
        except (VisitorGone, RemoteProtocolError) as exc:
            self.failed = exc
            wire.cut("the request will not be completed")

    async def _send(self, wire: Wire, piece: bytes) -> None:
        if self.remembers:
            self._kept_bytes += len(piece)
            if self._kept_bytes > REPLAY_BYTES:
                self.forget()
            else:
                self._kept.append(piece)
        await wire.send(piece)
