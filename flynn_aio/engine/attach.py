"""Attach: the live streams of one job, over the bare stream Podman hands us.

The end of the stream is not the end of the job: a killed service also ends it (`findings.md` §1). So a
stream that ends while its service is gone is a loss, and the job's own end comes from its process.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

import trio

from ..errors import EngineError
from .client import BareStream
from .frames import OUTPUT_BYTES, Frames
from .protocol import JobStatus, Output, Stream
from .service import PodmanService
from .watcher import Container

logger = logging.getLogger(__name__)


class Resize(Protocol):
    def __call__(self, id: str, *, rows: int, columns: int) -> Awaitable[None]: ...


class PodmanAttachment:
    """An `Attachment` to a container. One task may read, another may write.

    Args:
        tty: whether the stream is a terminal's, bare bytes, and not made of frames.
    """

    def __init__(
        self,
        container: Container,
        bare: BareStream,
        *,
        service: PodmanService,
        tty: bool,
        resize: Resize,
    ) -> None:
        self._container = container
        self._stream = bare.stream
        self._resize = resize
        self._output = _OutputReader(container, bare, service=service, tty=tty)

    @property
    def output(self) -> AsyncIterator[Output]:
        return self._output

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()

    async def resize(self, *, rows: int, columns: int) -> None:
        if self._container.ended.is_set():
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._resize(self._container.id, rows=rows, columns=columns)
        except EngineError as exc:  # it may just have ended; and a size is no reason to end a session
            logger.info("terminal not resized", extra={"job": self._container.status.id, "why": exc.message})

    async def signal(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        if not self._container.ended.is_set():
            self._container.deliver(number)

    async def wait(self) -> JobStatus:
        await self._container.ended.wait()
        return self._container.status


class _OutputReader:
    """What the job prints, piece by piece."""

    def __init__(self, container: Container, bare: BareStream, *, service: PodmanService, tty: bool) -> None:
        self._container = container
        self._stream = bare.stream
        self._server = service.process
        self._frames = None if tty else Frames()
        self._ready: deque[Output] = deque(self._take(bare.first))

    def __aiter__(self) -> "_OutputReader":
        return self

    async def __anext__(self) -> Output:
        while not self._ready:
            data = await self._receive()
            if not data:
                await self._mind_loss()
                raise StopAsyncIteration
            self._ready += self._take(data)
        return self._ready.popleft()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(OUTPUT_BYTES))
        except trio.BrokenResourceError:
            return b""

    def _take(self, data: bytes) -> list[Output]:
        if self._frames is not None:
            return list(self._frames.receive(data))
        return [Output(Stream.STDOUT, data)] if data else []

    async def _mind_loss(self) -> None:
        """Tell an end of the output from the loss of it.

        Raises:
            EngineError: Podman's service went, and the streams with it.
        """
        await trio.lowlevel.checkpoint()
        if self._server.is_ending:  # also if the job ended: perhaps only because its stdin did
            raise EngineError(
                f"lost the streams of job {self._container.status.id}: Podman's service was restarted; run it again"
            )
