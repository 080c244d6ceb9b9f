"""The bare repositories, one per app, and the moment in which a push is decided.

A repository is named after the app's uuid, so that a re-created app of the same name starts
empty. `git receive-pack` asks its `pre-receive` hook whether a push is welcome; ours hands the
question over to us and waits, with the pushed objects in quarantine: saying no leaves nothing
behind, and the branch never points at what does not serve.

The hook finds us by three pipes it inherits, so there is no address to guess, to clean up or to
mix up: it writes what is asked, copies what we say, and exits with the status we send.
"""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from ..model import AppID
from ..settings import BuildSettings
from .failure import PushRejected
from .git import READ_BYTES, Git, GitError, git_env, open_git, run_git
from .output import side_band
from .queue import Line
from .refs import BRANCHES, RefUpdate, parse_updates
from .slugs import Used, remove

logger = logging.getLogger(__name__)

HAND_OVER_MAX = 8 * 1024 * 1024
"""Bytes of a hand-over: about 60,000 refs in one push."""

# `/dev/fd`, because a shell's own redirections know single digits only.
HOOK = """#!/bin/sh
{
  printf '=%s\\n' "$GIT_OBJECT_DIRECTORY" "$GIT_ALTERNATE_OBJECT_DIRECTORIES"
  cat
  echo
} >"/dev/fd/$FLYNN_PUSH"
cat "/dev/fd/$FLYNN_SAYS"
read -r status <"/dev/fd/$FLYNN_STATUS" && exit "$status"
exit 1
"""

# What a pusher committed is what is built, also where an archive for download would leave it out.
ATTRIBUTES = "* -export-ignore -export-subst\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What a pusher wants: which refs move where.

    Attributes:
        objects: the variables that let git see the objects in quarantine.
    """

    updates: tuple[RefUpdate, ...]
    objects: Mapping[str, str]


class HandOver:
    """Our end of the hook: learn what is pushed, talk to the pusher, decide."""

    def __init__(self, asked: trio.lowlevel.FdStream, says: trio.lowlevel.FdStream, status: trio.lowlevel.FdStream):
        self._asked = asked
        self._says = says
        self._status = status

    async def wait_push(self) -> Push:
        """Wait until git has the objects and asks. It never does when the pack is broken.

        Raises:
            PushRejected: more refs than anybody has.
        """
        text = b""
        while not text.endswith(b"\n\n"):
            text += await self._asked.receive_some(READ_BYTES)
            if len(text) > HAND_OVER_MAX:
                raise PushRejected("The push names too many refs; push fewer at once.")
        objects, alternates, lines = text.decode(errors="surrogateescape").removesuffix("\n\n").split("\n", 2)
        places = {"GIT_OBJECT_DIRECTORY": objects[1:], "GIT_ALTERNATE_OBJECT_DIRECTORIES": alternates[1:]}
        # Without new objects there is no quarantine, and git takes an empty variable for a place.
        return Push(updates=parse_updates(lines), objects={name: place for name, place in places.items() if place})

    async def say(self, line: str) -> None:
        """Show one line to the pusher; waits while the pusher does not read."""
        try:
            await self._says.send_all(side_band(line))
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()  # nobody is left to read, and the request ends any moment

    async def decide(self, *, welcome: bool) -> None:
        """Let git move the refs, or not. Nothing can be said afterwards."""
        await self._says.aclose()
        try:
            await self._status.send_all(b"0\n" if welcome else b"1\n")
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()


class Repository:
    """One app's repository.

    Attributes:
        line: pushes to this app; one at a time is built.
    """

    def __init__(self, path: Path, *, home: Path, hooks: Path, max_pack_bytes: int) -> None:
        self.path = path
        self.line = Line(1)
        self._home = home
        self._receive_config = {"core.hooksPath": str(hooks), "receive.maxInputSize": str(max_pack_bytes)}
        self._receiving = 0

    def advertise(self, service: str, *, protocol: str = "") -> AbstractAsyncContextManager[Git]:
        """Run `upload-pack` or `receive-pack` so that it prints the refs and what it can do."""
        return self._open([service, "--stateless-rpc", "--advertise-refs"], protocol=protocol)

    def upload_pack(self, *, protocol: str = "") -> AbstractAsyncContextManager[Git]:
        """Run the sending side of a fetch or clone."""
        return self._open(["upload-pack", "--stateless-rpc"], protocol=protocol)

    @asynccontextmanager
    async def receive_pack(self) -> AsyncIterator[tuple[Git, HandOver]]:
        """Run the receiving side of a push.

        Cancellation: the process group is ended, the branch has not moved.
        """
        self._receiving += 1
        try:
            with _hook_pipes() as (hand_over, env, descriptors):
                async with self._open(
                    ["receive-pack", "--stateless-rpc"], config=self._receive_config, more=env, pass_fds=descriptors
                ) as git:
                    yield git, hand_over
        finally:
            self._receiving -= 1
            with trio.CancelScope(shield=True):  # a few files
                await self.remove_leftovers()

    def archive(self, commit: str, objects: Mapping[str, str]) -> AbstractAsyncContextManager[Git]:
        """Print the tree of a commit, which may still be in quarantine, as a tar."""
        env = git_env(self._home, more={**objects, "GIT_DIR": str(self.path)})
        return open_git(["archive", "--format=tar", commit], cwd=self.path, env=env)

    async def has_submodules(self, commit: str, objects: Mapping[str, str]) -> bool:
        listed = await self._run("ls-tree", "--name-only", commit, ".gitmodules", more=objects)
        return bool(listed.strip())

    async def still_at(self, update: RefUpdate) -> bool:
        """Tell whether a ref is where the pusher saw it."""
        now = await self._run("for-each-ref", "--format=%(objectname)", update.ref)
        return now.strip() == ("" if update.creates else update.old)

    async def point_head(self, ref: str) -> None:
        """Let a clone check out the branch that was deployed last. No push fails for that."""
        try:
            await self._run("symbolic-ref", "HEAD", ref)
        except GitError as exc:
            logger.warning("HEAD not moved", extra={"repository": self.path.name, "error": exc.message})

    async def remove_leftovers(self) -> None:
        """Remove what killed receivers left, unless one is at work now."""
        leftovers = [] if self._receiving else [*self.path.glob("objects/tmp_objdir-*")]
        if leftovers:  # listed before the next receiver can begin
            await remove(leftovers)

    def _open(
        self,
        args: Sequence[str],
        *,
        protocol: str = "",
        config: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> AbstractAsyncContextManager[Git]:
        env = git_env(self._home, config=config, more={**(more or {}), "GIT_PROTOCOL": protocol})
        return open_git([*args, "."], cwd=self.path, env=env, pass_fds=pass_fds)

    async def _run(self, *args: str, more: Mapping[str, str] | None = None) -> str:
        env = git_env(self._home, more={**(more or {}), "GIT_DIR": str(self.path)})
        return await run_git(args, cwd=self.path, env=env)


class Repositories:
    """Every app's repository, made when it is first asked for."""

    def __init__(self, settings: BuildSettings) -> None:
        self._dir = settings.repo_dir
        self._hooks = settings.run_dir / "git-hooks"
        self._max_pack_bytes = settings.max_pack_bytes
        self._known: dict[AppID, Repository] = {}
        self._making = trio.Lock()

    def prepare(self) -> None:
        """Make the directories and write the hook."""
        self._dir.mkdir(parents=True, exist_ok=True)
        self._hooks.mkdir(parents=True, exist_ok=True)
        hook = self._hooks / "pre-receive"
        hook.write_text(HOOK)
        hook.chmod(0o755)

    async def open(self, app: AppID) -> Repository:
        """Return an app's repository; an app that was never pushed gets an empty one."""
        async with self._making:
            if app not in self._known:
                path = self._dir / f"{app}.git"
                if not path.exists():
                    await self._make(path)
                repository = Repository(path, home=self._dir, hooks=self._hooks, max_pack_bytes=self._max_pack_bytes)
                await repository.remove_leftovers()
                self._known[app] = repository
            return self._known[app]

    async def sweep(self, find_used: Callable[[], Awaitable[Used]]) -> list[str]:
        """Remove the repositories of apps that are gone, as `Slugs.sweep` does. Returns the names."""
        there = list(self._dir.iterdir())
        used = await find_used()
        gone = [path for path in there if path.name.partition(".")[0] not in used.apps]
        for path in gone:
            self._known.pop(AppID(path.name.partition(".")[0]), None)
        await remove(gone)
        return [path.name for path in gone]

    async def _make(self, path: Path) -> None:
        """Make it under another name first, so that a half-made one is never found."""
        making = path.with_name(f"{path.name}.new")
        await remove([making])
        branch = BRANCHES[0].removeprefix("refs/heads/")
        await run_git(
            ["init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}", str(making)],
            cwd=self._dir,
            env=git_env(self._dir),
        )
        (making / "info").mkdir(exist_ok=True)
        (making / "info" / "attributes").write_text(ATTRIBUTES)
        making.rename(path)


@contextmanager
def _hook_pipes() -> Iterator[tuple[HandOver, dict[str, str], list[int]]]:
    """Yield our ends of the hook's pipes, and its own: as variables, and to be inherited."""
    with ExitStack() as stack:

        def ours(descriptor: int) -> trio.lowlevel.FdStream:
            stream = trio.lowlevel.FdStream(descriptor)
            stack.callback(stream.close)
            return stream

        asked, push = os.pipe()
        says, talk = os.pipe()
        status, decide = os.pipe()
        inherited = [push, says, status]
        for descriptor in inherited:
            stack.callback(os.close, descriptor)
        env = {"FLYNN_PUSH": str(push), "FLYNN_SAYS": str(says), "FLYNN_STATUS": str(status)}
        yield HandOver(ours(asked), ours(talk), ours(decide)), env, inherited
