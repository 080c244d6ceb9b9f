"""Running git: a clean environment, a process group of its own, and an end to it.

The host's git configuration is none of our business, and the owner of the repositories need
not be who we run as: neither may change what a push does.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

import trio

from ..errors import FlynnError

TERM_S = 2.0
"""Between SIGTERM and SIGKILL; git removes its temporary files on SIGTERM in milliseconds."""
STDERR_MAX = 4 * 1024
READ_BYTES = 64 * 1024

CONFIG = {
    "safe.directory": "*",
    "core.fsync": "objects,derived-metadata,reference",  # an acknowledged push survives a power cut
    "gc.autoDetach": "false",  # what is tidied up is tidied up inside the push, by nobody else's child
    "receive.denyDeleteCurrent": "false",  # the branch rules are ours, and they say why
}


class GitError(FlynnError):
    """A git command failed that should not have."""


def git_env(
    home: Path, *, config: Mapping[str, str] | None = None, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the whole environment of a git process.

    Args:
        home: a directory of ours; nothing is read from it.
        config: settings beside `CONFIG`, given the way `git -c` gives them.
        more: further variables.
    """
    settings = {**CONFIG, **(config or {})}
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_TERMINAL_PROMPT": "0",
    }
    for i, (key, value) in enumerate(settings.items()):
        env[f"GIT_CONFIG_KEY_{i}"] = key
        env[f"GIT_CONFIG_VALUE_{i}"] = value
    return {**env, **(more or {})}


class Git:
    """A running git process. Read `output` to its end, then `finish`."""

    def __init__(self, process: trio.Process, stderr: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdout = process.stdout
        self._stderr = stderr
        self.stdin = process.stdin

    async def output(self) -> AsyncIterator[bytes]:
        """Yield what it prints, piece by piece."""
        while piece := await self._stdout.receive_some(READ_BYTES):
            yield bytes(piece)

    async def finish(self) -> int:
        """Wait for its end and return its exit code; negative when a signal ended it."""
        return await self._process.wait()

    def errors(self) -> str:
        """Return the beginning of what it has written to stderr."""
        return os.pread(self._stderr.fileno(), STDERR_MAX, 0).decode(errors="replace").strip()


@asynccontextmanager
async def open_git(
    args: Sequence[str], *, cwd: Path, env: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> AsyncIterator[Git]:
    """Run git with its streams in our hands. Leaving the block ends its whole process group.

    Raises:
        GitError: there is no git on this machine.
    """
    with tempfile.TemporaryFile() as stderr:  # a pipe would need a task that empties it
        try:
            process = await trio.lowlevel.open_process(
                ["git", *args],
                cwd=cwd,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        except OSError as exc:
            raise GitError(f"could not run git in {cwd}: {exc.strerror}; is git installed?") from exc
        try:
            yield Git(process, stderr)
        finally:
            with trio.CancelScope(shield=True):  # bounded by TERM_S and the kernel
                await _end(process)


async def run_git(args: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> str:
    """Run git to its end and return what it printed.

    Raises:
        GitError: it exited with a status other than 0.
    """
    async with open_git(args, cwd=cwd, env=env) as git:
        await git.stdin.aclose()
        printed = b"".join([piece async for piece in git.output()])
        if code := await git.finish():
            raise GitError(f"git {args[0]} in {cwd} ended with status {code}: {git.errors() or 'it did not say why'}")
    return printed.decode(errors="replace")


async def _end(process: trio.Process) -> None:
    """End what is left of a process group: politely, then for sure."""
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        with trio.move_on_after(TERM_S):
            await process.wait()
    _signal_group(process, signal.SIGKILL)  # also children that outlived their parent
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            await stream.aclose()
    await process.wait()


def _signal_group(process: trio.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
