"""Step: one thing done for a pusher, who sees its output line by line while it runs."""

import os
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterable, Mapping, Sequence

import trio

from .output import Lines, Say

CLEANUP_S = 20.0
"""For a cancelled step to put away what it made: mmdebstrap has mounts to undo."""
TAIL_LINES = 15
"""How much of a failed step's output its error repeats."""


async def run_program(argv: Sequence[str], env: Mapping[str, str], say: Say) -> tuple[int, list[str]]:
    """Run a program of the host in a session of its own; return its status and its last lines.

    Both its streams are shown as one.

    Cancellation: the whole session is asked to end, and killed when it does not in time.
    """
    process = await trio.lowlevel.open_process(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=env,
    )
    assert process.stdout is not None
    try:
        async with process.stdout:
            tail = await show_output(process.stdout, say)
        return await process.wait(), tail
    except BaseException:
        with trio.move_on_after(CLEANUP_S, shield=True) as patience:
            _signal_group(process, signal.SIGTERM)
            await process.wait()
        if patience.cancelled_caught:
            _signal_group(process, signal.SIGKILL)
            with trio.CancelScope(shield=True):  # no longer than the kernel needs
                await process.wait()
        raise


def _signal_group(process: trio.Process, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


async def show_output(pieces: AsyncIterable[bytes | bytearray], say: Say) -> list[str]:
    """Show a step's output line by line, indented as builds do it; return the last lines."""
    lines, tail = Lines(), deque[str](maxlen=TAIL_LINES)

    async def show(some: list[str]) -> None:
        for line in some:
            tail.append(line)
            await say(f"       {line}")

    async for piece in pieces:
        await show(lines.feed(bytes(piece)))
    await show(lines.end())
    return list(tail)
