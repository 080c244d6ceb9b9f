"""The jobs of a flow, run as processes of this machine: for an engine in memory, a program that is none."""

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any

import trio

from flynn_aio.engine import Process, Stream

FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


async def run_here(process: Process) -> int:
    """Run a job's command line here, with its environment and streams; the runner's `init` is left out."""
    spec = process.spec
    process.trap(*FORWARDED)
    command = spec.args[1:] if spec.args[0] == "/runner/init" else spec.args
    if spec.max_fd:
        command = ("sh", "-c", f'ulimit -n {spec.max_fd}; exec "$@"', "sh", *command)
    child: Any = await trio.lowlevel.open_process(
        list(command),
        env={"PATH": os.environ["PATH"], **spec.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )

    async def feed() -> None:
        with suppress(trio.BrokenResourceError):
            while data := await process.read():
                await child.stdin.send_all(data)
        await child.stdin.aclose()

    async def forward() -> None:
        while True:
            child.send_signal(await process.next_signal())

    async def copy(pipe: trio.abc.ReceiveStream, stream: Stream) -> None:
        async for piece in pipe:
            await process.write(piece, stream)

    async with trio.open_nursery() as output:
        output.start_soon(copy, child.stdout, Stream.STDOUT)
        output.start_soon(copy, child.stderr, Stream.STDERR)
        try:
            async with trio.open_nursery() as inputs:
                inputs.start_soon(feed)
                inputs.start_soon(forward)
                code = await child.wait()
                inputs.cancel_scope.cancel()
        finally:  # nobody outlives the first process of a container, and here those who hold its output
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await child.wait()
    return code if code >= 0 else 128 - code
