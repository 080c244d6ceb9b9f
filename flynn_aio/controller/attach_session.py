"""Attach session: one job and one client, and the frames between them.

Whoever ends first ends both: the job's exit goes out as the last frame; a client that has gone
leaves a job nobody listens to, which is stopped.

Source: `controller-api.md` §8.2; Flynn `host/attach.go`.
"""

import logging
import math
import select
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from ..engine import OOM_TEXT, Attachment, JobSpec, JobStatus
from ..errors import EngineError, FlynnError, NotFound, StartError, Unavailable
from ..model import JobState
from ..store import queries
from . import attach_frames as frames
from .attach_frames import ClientFrame, ClientFrames, EndOfInput, FrameError, Input, Resize, Signal
from .jobs import cannot_start
from .request import Parts

logger = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
HANG_UP_KILL_S = 10.0
"""From SIGTERM to SIGKILL once nobody listens any more; as long as Flynn's client itself waits."""
HANG_UP_CHECK_S = 1.0
"""How often to look after a client whose input the job does not take: nothing is read from it then."""
RECORD_S = 2.0
"""How long an ended job stays with the engine at most, so that the scheduler can write down its end."""
LINGER_S = 1.0
"""How long to read on after the last frame. Closing on input that is still under way would reset the
connection, and the frame could be lost."""
LAST_WORDS_S = 1.0
SIGNALS = range(1, 65)


class Session:
    """Runs one attached job.

    Args:
        begin: tells the client that the job runs.
        early: what the client sent behind its request, without waiting for that.
    """

    def __init__(
        self,
        parts: Parts,
        stream: trio.SocketStream,
        spec: JobSpec,
        *,
        begin: Callable[[], Awaitable[None]],
        early: bytes,
    ) -> None:
        self._parts = parts
        self._stream = stream
        self._spec = spec
        self._begin = begin
        self._early = early
        self._frames = ClientFrames()
        self._begun = False
        self._gone = trio.Event()
        self._everything = trio.CancelScope()
        self._mid_frame = False
        self._failure: FlynnError | None = None

    async def run(self) -> None:
        """Start the job, carry frames both ways, and send how it ended.

        Raises:
            FlynnError: the job could not be started; nothing was sent to the client.

        Cancellation: the job is killed.
        """
        with self._everything:
            async with trio.open_nursery() as nursery:
                commands_in, commands = trio.open_memory_channel[ClientFrame](0)
                nursery.start_soon(self._listen, commands_in)
                nursery.start_soon(self._look_for_hang_up)
                nursery.start_soon(self._end_when_leaving)
                await self._run_job(commands)
                nursery.cancel_scope.cancel()
        if self._failure is None:
            return
        if not self._begun:
            raise self._failure
        if not self._mid_frame:
            with trio.move_on_after(LAST_WORDS_S):
                await self._send(frames.error_frame(self._failure.message))

    async def _run_job(self, commands: trio.MemoryReceiveChannel[ClientFrame]) -> None:
        timeout_s = self._parts.settings.attach_start_timeout_s
        try:
            with trio.CancelScope(deadline=trio.current_time() + timeout_s) as starting:
                async with self._parts.engine.attach(self._spec) as attachment:
                    starting.deadline = math.inf
                    await self._converse(attachment, commands)
            if starting.cancelled_caught:
                self._failure = EngineError(f"job {self._spec.id} did not start within {timeout_s:g} s; try again")
        except StartError as error:
            self._failure = cannot_start(error)
        except FlynnError as error:
            self._failure = error

    async def _converse(self, attachment: Attachment, commands: trio.MemoryReceiveChannel[ClientFrame]) -> None:
        """Carry frames until the job has ended, then say how, and see that it is written down."""
        try:
            await self._begin()
        except trio.BrokenResourceError:
            self._hang_up()
        self._begun = True
        async with trio.open_nursery() as talking:
            talking.start_soon(self._obey, attachment, commands)
            talking.start_soon(self._stop_when_alone, talking.cancel_scope)
            try:
                async for piece in attachment.output:
                    await self._send(frames.data_frame(piece.stream.value, piece.data))
                status = await attachment.wait()
            except EngineError as error:
                self._failure = error
            else:
                await self._send_end(status)
                with trio.move_on_after(LINGER_S):
                    await self._gone.wait()
            talking.cancel_scope.cancel()
        await self._until_recorded()

    async def _send_end(self, status: JobStatus) -> None:
        if status.oom:
            await self._send(frames.data_frame(frames.INIT_LOG, OOM_TEXT.encode() + b"\n"))
        if status.exit_code is None or status.exit_code < 0:
            reason = status.error or "its exit status is lost"
            await self._send(frames.error_frame(f"job {self._spec.id} has ended: {reason}"))
        else:
            if status.error:
                await self._send(frames.data_frame(frames.INIT_LOG, status.error.encode() + b"\n"))
            await self._send(frames.exit_frame(status.exit_code))
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_eof()

    async def _send(self, data: bytes) -> None:
        """Send a whole frame. A client that has gone is noticed elsewhere; the job's output goes on."""
        self._mid_frame = True
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._hang_up()
        self._mid_frame = False

    # What the client says

    async def _listen(self, commands: trio.MemorySendChannel[ClientFrame]) -> None:
        """Pass on the client's frames until it goes, or says something that is none."""
        with commands:
            try:
                data = self._early or await self._stream.receive_some(READ_BYTES)
                while data:
                    for frame in self._frames.receive(data):
                        await commands.send(frame)
                    data = await self._stream.receive_some(READ_BYTES)
            except FrameError as error:
                logger.info("an attached client is not understood", extra={"job": self._spec.id, "reason": str(error)})
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # gone without a word
        self._hang_up()

    async def _obey(self, attachment: Attachment, commands: trio.MemoryReceiveChannel[ClientFrame]) -> None:
        async for command in commands:
            try:
                match command:
                    case Input(data=data):
                        await attachment.send(data)
                    case EndOfInput():
                        await attachment.send_eof()
                    case Signal(number=number) if number in SIGNALS:
                        await attachment.signal(number)
                    case Resize(rows=rows, columns=columns) if self._spec.tty:
                        await attachment.resize(rows=rows, columns=columns)
            except EngineError as error:
                logger.warning("a job did not take a command", extra={"job": self._spec.id, "error": error.message})

    # Who goes first

    def _hang_up(self) -> None:
        """Note that nobody listens any more. A job that has not started yet need not start."""
        self._gone.set()
        if not self._begun:
            self._everything.cancel()

    async def _look_for_hang_up(self) -> None:
        """Notice that the client has gone even while nothing is read from it."""
        while self._stream.socket.fileno() >= 0:
            hung_up = select.poll()
            hung_up.register(self._stream.socket.fileno(), select.POLLRDHUP)
            if hung_up.poll(0):
                self._hang_up()
                return
            await trio.sleep(HANG_UP_CHECK_S)

    async def _stop_when_alone(self, talking: trio.CancelScope) -> None:
        await self._gone.wait()
        try:
            await self._parts.engine.stop(self._spec.id, kill_s=HANG_UP_KILL_S)
        except EngineError as error:
            logger.warning("killing a job nobody listens to", extra={"job": self._spec.id, "error": error.message})
            talking.cancel()

    async def _end_when_leaving(self) -> None:
        await self._parts.leaving.wait()
        self._failure = Unavailable("the appliance is shutting down, and the job with it")
        self._everything.cancel()

    async def _until_recorded(self) -> None:
        """Wait until the scheduler has written down the end: leaving the attachment removes the job."""
        with trio.move_on_after(RECORD_S):
            while True:
                seen = self._parts.store.changes.version
                try:
                    job = await self._parts.store.read(lambda db: queries.job(db, self._spec.id))
                except NotFound:
                    job = None
                if job is not None and job.state is JobState.DOWN:
                    return
                await self._parts.store.changes.moved_past(seen)
