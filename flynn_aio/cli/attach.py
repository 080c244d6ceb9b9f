"""Being attached to a job: this terminal or these pipes on one side, `flynn-attach/0` on the other.

One loop over `select`, since everything must stay possible at any moment: output that nobody reads must not keep
Ctrl-C from the job, and one thread may not read from a TLS connection while another writes to it.

Source: `cli.md` §5.4, `controller-api.md` §8; Flynn `cli/run.go`.
"""

import os
import select
import signal
import socket
import ssl
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import frames
from .failure import Failure
from .frames import Exited, Failed, Output, Receiver

if TYPE_CHECKING:
    from .progress import Progress

KILL_AFTER_S = 10.0  # for a job that does not end on the signal we forwarded
_CHUNK = 32 * 1024  # of stdin, per frame
_PIPE_CHUNK = select.PIPE_BUF  # as much as a pipe that `select` calls writable takes without blocking
_FULL = 256 * 1024  # bytes waiting in one direction before we stop taking more: the other side waits then
_STDERR = 2
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def window(fd: int) -> tuple[int, int]:
    """Return rows and columns of a terminal."""
    size = os.get_terminal_size(fd)
    return size.lines, size.columns


@contextmanager
def raw_terminal(fd: int) -> Iterator[None]:
    """Let every key through to the job while the block runs; what was typed before is not lost."""
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def _caught_signals(*numbers: int) -> Iterator[int]:
    """Yield a descriptor from which the numbers of these signals can be read while the block runs."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    waker = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(waker)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


class Attachment:
    """One attached job, until it ends.

    Args:
        wire: the upgraded connection, not blocking.
        early: what came on it together with the response.
        stdin: descriptor of the input; ``None`` when there is none at all.
        stdout: descriptor of what the job prints.
        terminal: descriptor of our terminal, if the job has one too: its size goes along.
        taken: counts the input.
        given: counts what the job prints.

    Attributes:
        interrupted: whether a signal to us was forwarded to the job.
    """

    def __init__(
        self,
        wire: socket.socket,
        early: bytes,
        *,
        stdin: int | None,
        stdout: int,
        terminal: int | None,
        taken: "Progress | None" = None,
        given: "Progress | None" = None,
    ) -> None:
        self._wire = wire
        self._stdin = stdin
        self._terminal = terminal
        self._receiver = Receiver()
        self._to_server = bytearray()
        self._stdout = stdout
        self._taken = taken
        self._given = given
        self._to_person = {stdout: bytearray(), _STDERR: bytearray()}  # by our own descriptor
        self._end: Exited | Failed | None = None
        self._kill_at: float | None = None
        self.interrupted = False
        if stdin is None:
            self._to_server += frames.stdin(b"")
        self._take(early)

    def run(self) -> int:
        """Return the job's exit status, once it has ended and its output is written.

        Raises:
            Failure: the session broke before; the job may still run.
            BrokenPipeError: nobody reads our output any more.
        """
        caught = [signal.SIGINT, signal.SIGTERM, *([signal.SIGWINCH] if self._terminal is not None else [])]
        with _caught_signals(*caught) as signals:
            while self._end is None or any(self._to_person.values()):
                self._step(signals)
        if isinstance(self._end, Failed):
            raise Failure(self._end.text)
        return self._end.status

    def _step(self, signals: int) -> None:
        reading = [signals]
        hearing = self._end is None and sum(map(len, self._to_person.values())) < _FULL
        if hearing:
            reading.append(self._wire.fileno())
        if self._end is None and self._stdin is not None and len(self._to_server) < _FULL:
            reading.append(self._stdin)
        writing = [fd for fd, waiting in self._to_person.items() if waiting]
        if self._to_server and self._end is None:
            writing.append(self._wire.fileno())
        decrypted = hearing and isinstance(self._wire, ssl.SSLSocket) and self._wire.pending() > 0
        readable, writable, _ = select.select(reading, writing, [], 0 if decrypted else self._time_left())

        if signals in readable:
            for number in os.read(signals, 64):
                self._signal(number)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            self._to_server += frames.signal(signal.SIGKILL)
        for fd, waiting in self._to_person.items():
            if fd in writable:
                self._print(fd, waiting)
        if self._stdin in readable:
            self._read_stdin()
        if hearing and (decrypted or self._wire.fileno() in readable):
            self._hear()
        if self._to_server and self._end is None:
            self._send()

    def _print(self, fd: int, waiting: bytearray) -> None:
        """Write some of what waits for a descriptor that is ready."""
        for progress in (self._taken, self._given) if fd == _STDERR else ():
            if progress is not None:
                progress.hide()
        try:
            written = os.write(fd, waiting[:_PIPE_CHUNK])
        except BlockingIOError:
            return
        del waiting[:written]
        if self._given is not None and fd == self._stdout:
            self._given.advance(written)

    def _time_left(self) -> float | None:
        return None if self._kill_at is None else max(self._kill_at - time.monotonic(), 0)

    def _signal(self, number: int) -> None:
        if number == signal.SIGWINCH and self._terminal is not None:
            self._to_server += frames.resize(*window(self._terminal))
        else:
            self.interrupted = True
            self._kill_at = self._kill_at or time.monotonic() + KILL_AFTER_S
            if self._end is not None:  # the job is gone, and only a reader that does not read keeps us
                for waiting in self._to_person.values():
                    waiting.clear()
        self._to_server += frames.signal(number)

    def _read_stdin(self) -> None:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, _CHUNK)
        except OSError:  # a terminal that hung up
            data = b""
        self._to_server += frames.stdin(data)
        if self._taken is not None:
            self._taken.advance(len(data))
        if not data:
            self._stdin = None

    def _hear(self) -> None:
        try:
            data = self._wire.recv(65536)
        except _NOT_NOW:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        elif self._end is None:
            self._end = Failed("EOF")

    def _take(self, data: bytes) -> None:
        for happening in self._receiver.feed(data):
            if isinstance(happening, Output):
                self._to_person[self._stdout if happening.stream == frames.STDOUT else _STDERR] += happening.data
            else:
                self._end = happening
                return

    def _send(self) -> None:
        try:
            del self._to_server[: self._wire.send(self._to_server)]
        except _NOT_NOW:
            return
        except OSError:  # the server reads no more; what it still has to say comes first
            self._to_server.clear()
            self._stdin = None
