"""The load as its parent sees it: started, ended, and its outcome read."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import trio

from .http1 import Doors
from .outcome import Failure, Outcome

ROOT = Path(__file__).parents[3]
ENDING_S = 40.0


@asynccontextmanager
async def open_load(doors: Doors, *, rate: float) -> AsyncIterator[Outcome]:
    """Ask `rate` times a second while the block runs; the outcome is complete behind it."""
    outcome = Outcome()
    words = [sys.executable, "-m", "tests.support.traffic", json.dumps(asdict(doors)), str(rate)]
    process = await trio.lowlevel.open_process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield outcome
        await process.stdin.aclose()
        printed = b""
        with trio.fail_after(ENDING_S):
            async for piece in process.stdout:
                printed += piece
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        await trio.aclose_forcefully(process.stdout)
        await trio.aclose_forcefully(process.stdin)
    said = json.loads(printed)
    outcome.skipped, outcome.jobs, outcome.took_ms = said["skipped"], said["jobs"], said["took_ms"]
    outcome.failures = [Failure(**each) for each in said["failures"]]
