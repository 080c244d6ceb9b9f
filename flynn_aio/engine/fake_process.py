"""What runs in the fake engine: programs, what they see of themselves, and how their jobs go."""

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import trio

from .protocol import JobSpec, Output, Stream


class Process:
    """What a program in the fake sees of itself.

    Attributes:
        spec: what it was started with; `spec.env` includes `EXTERNAL_IP`.
        files: where it sees a volume -> name -> content of what is in it.
        size: rows and columns of the terminal.
        listening: where it listens, ``ip:port``; as with a real one, that alone does not make it answer.
        stdin: the other end of `read`, for the engine.
    """

    def __init__(
        self, spec: JobSpec, write: Callable[[Output], Awaitable[None]], files: Mapping[str, dict[str, bytes]]
    ) -> None:
        self.spec = spec
        self.files = files
        self.size = (spec.rows, spec.columns)
        self.listening: set[str] = set()
        self._write = write
        self.stdin, self._input = trio.open_memory_channel[bytes](0)
        self._trapped: set[int] = set()
        self._signal_send, self._signals = trio.open_memory_channel[int](64)

    async def read(self) -> bytes:
        """Return the next piece of stdin; empty at its end."""
        try:
            return await self._input.receive()
        except trio.EndOfChannel:
            return b""

    async def write(self, data: bytes, stream: Stream = Stream.STDOUT) -> None:
        """Print; waits while an attached reader does not read."""
        await self._write(Output(Stream.STDOUT if self.spec.tty else stream, data))

    def trap(self, *numbers: int) -> None:
        """From now on these signals do not end the process but wait in `next_signal`."""
        self._trapped.update(numbers)

    async def next_signal(self) -> int:
        """Wait for a trapped signal."""
        return await self._signals.receive()

    def catches(self, number: int) -> bool:
        """Hand the process a signal that it trapped; return whether it did."""
        caught = number in self._trapped and number != signal.SIGKILL
        if caught:
            self._signal_send.send_nowait(number)
        return caught

    def close_stdin(self) -> None:
        """Refuse what is still written to a process that has ended."""
        self._input.close()


Program = Callable[[Process], Awaitable[int]]
"""A job's body; it returns its exit code. `trio.Cancelled` is how it dies of a signal."""


async def run_forever(process: Process) -> int:
    """A program that runs until a signal ends it."""
    await trio.sleep_forever()
    raise AssertionError("unreachable")


async def ignore_sigterm(process: Process) -> int:
    """A program that only SIGKILL ends."""
    process.trap(signal.SIGTERM)
    return await run_forever(process)


def listens(*addresses: str) -> Program:
    """Return a program that listens at these addresses, and runs until a signal ends it."""

    async def program(process: Process) -> int:
        process.listening.update(addresses)
        return await run_forever(process)

    return program


def exits(code: int, *, after_s: float = 0.0, prints: bytes = b"") -> Program:
    """Return a program that prints and then exits."""

    async def program(process: Process) -> int:
        if prints:
            await process.write(prints)
        await trio.sleep(after_s)
        return code

    return program


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How jobs of one kind go.

    Attributes:
        start_error: when not empty, starting raises `StartError` with this text.
        start_s: how long a start takes.
    """

    program: Program = run_forever
    start_error: str = ""
    start_s: float = 0.0


def fails_to_start(text: str) -> Behaviour:
    """Return the behaviour of a job that cannot be started."""
    return Behaviour(start_error=text)
