"""A real git client, and a door for it on loopback."""

import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

ERASE = "\x1b[1G\x1b[K"


@asynccontextmanager
async def open_door(app: Any) -> AsyncIterator[int]:
    """Serve an ASGI application on loopback, one Hypercorn per connection; yields the port."""
    config = Config()
    config.accesslog = None
    context = WorkerContext(None)

    async def serve(stream: trio.SocketStream) -> None:
        await TCPServer(ASGIWrapper(app), config, context, {}, stream).run()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Said:
    """How a git command ended, and what a person read."""

    code: int
    text: str

    @property
    def lines(self) -> list[str]:
        """What the other side said, without git's `remote: ` and the way it is erased."""
        said = (line.partition("remote: ")[2] for line in self.text.splitlines() if line.startswith("remote: "))
        return [line.removeprefix(ERASE).rstrip() for line in said]


class Pushing:
    """A push on its way; what it says is collected while it runs."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.text = ""
        self._moved = trio.Event()

    async def collect(self) -> None:
        assert self.process.stdout is not None
        async for piece in self.process.stdout:
            self.text += piece.decode(errors="replace")
            self._moved.set()
            self._moved = trio.Event()

    async def wait_for(self, text: str, *, within_s: float = 10.0) -> None:
        """Wait until it has said this."""
        with trio.fail_after(within_s):
            while text not in self.text:
                await self._moved.wait()

    async def wait(self) -> int:
        return await self.process.wait()


class Client:
    """A user's work tree, and git in it. Reads no configuration of the machine's."""

    def __init__(self, tree: Path, url: str) -> None:
        self.tree = tree
        self.url = url
        home = tree.parent / "client-home"
        home.mkdir(exist_ok=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "A User",
            "GIT_AUTHOR_EMAIL": "user@example.test",
            "GIT_COMMITTER_NAME": "A User",
            "GIT_COMMITTER_EMAIL": "user@example.test",
        }

    async def git(self, *args: str, cwd: Path | None = None) -> Said:
        done = await trio.run_process(
            ["git", *args],
            cwd=cwd or self.tree,
            env=self.env,
            check=False,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )
        return Said(done.returncode, done.stdout.decode(errors="replace"))

    async def start(self) -> None:
        """Make the work tree a repository on `master`."""
        self.tree.mkdir()
        assert (await self.git("init", "--quiet", "--initial-branch=master")).code == 0

    async def commit(self, message: str = "change", **files: str | bytes) -> str:
        """Write files (`__` stands for a dot, `_S_` for a slash), commit them, and return the commit's id."""
        for name, content in files.items():
            path = self.tree / name.replace("_S_", "/").replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert (await self.git("add", "--all", "--force")).code == 0
        said = await self.git("commit", "--quiet", "--allow-empty", "-m", message)
        assert said.code == 0, said
        return (await self.git("rev-parse", "HEAD")).text.strip()

    async def push(self, *refspecs: str, url: str = "", options: tuple[str, ...] = ()) -> Said:
        return await self.git("push", *options, url or self.url, *(refspecs or ("master",)))

    async def remote_refs(self, url: str = "") -> dict[str, str]:
        """Return what the other side has: ref to commit."""
        said = await self.git("ls-remote", url or self.url)
        assert said.code == 0, said
        return {ref: commit for commit, ref in (line.split("\t") for line in said.text.splitlines())}

    @asynccontextmanager
    async def pushing(self, *refspecs: str) -> AsyncIterator[Pushing]:
        """Have a push on its way; leaving the block kills it if it still runs."""
        process = await trio.lowlevel.open_process(
            ["git", "push", self.url, *(refspecs or ("master",))],
            cwd=self.tree,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        async with trio.open_nursery() as nursery:
            pushing = Pushing(process)
            nursery.start_soon(pushing.collect)
            try:
                yield pushing
            finally:
                if process.poll() is None:
                    process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()


async def eventually(check: Callable[[], Awaitable[Any]], *, within_s: float = 10.0) -> Any:
    """Return the first true answer of `check`, which real processes take a while to bring about."""
    with trio.fail_after(within_s):
        while True:
            if answer := await check():
                return answer
            await trio.sleep(0.01)
