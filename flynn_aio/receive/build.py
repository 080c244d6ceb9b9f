"""The build of one push: two builder jobs, and the slug they make.

The tree goes in as a tar on stdin and comes out as the directory mounted at `/app`; the text goes to
the pusher line by line. A build lives in the request's own tasks: who cancels them ends the
job, and what it made goes with its workplace.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from ..clock import Clock
from ..engine import Attachment, Engine, JobSpec, JobStatus, Stream
from ..errors import EngineError
from ..model import App, JobID, Release, memory_text
from ..settings import BuildSettings
from .builder import (
    BUILDPACK_VARIABLE,
    NONE_DETECTED,
    Detected,
    Workplace,
    builder_spec,
    memory_limit,
    read_detected,
)
from .failure import INDENT, BuildFailed
from .git import Git
from .output import Lines, Say
from .slugs import read_file, size_text, tree_size
from .stack import StackImages

logger = logging.getLogger(__name__)


class Images(Protocol):
    """Who has the stack's images, or makes them: `stack.Stack`."""

    async def ensure(self, language: str | None, say: Say) -> StackImages:
        """Return the images for a language; ``None``: the plain ones."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The tree to build, and for whom.

    Attributes:
        previous: the release whose variables and limits hold; ``None`` before the first.
        shared: variables every build gets that has none of its own.
        open_tar: runs what prints the tree as a tar.
    """

    app: App
    previous: Release | None
    shared: Mapping[str, str]
    commit: str
    open_tar: Callable[[], AbstractAsyncContextManager[Git]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build made.

    Attributes:
        runner: the image the slug runs in.
        commands: process type to command, in the order of the Procfile.
        size: of the slug, in bytes.
    """

    runner: str
    commands: Mapping[str, str]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Builds trees with the engine.

    Attributes:
        host_env: the appliance's environment, of which the settings pass on a part.
    """

    settings: BuildSettings
    engine: Engine
    clock: Clock
    images: Images
    host_env: Mapping[str, str]

    async def build(self, source: Source, place: Workplace, say: Say, *, leaving: trio.Nursery) -> Built:
        """Build a tree into `place.slug`, telling the pusher how it goes.

        Args:
            leaving: where an ended job's container is removed while the push goes on.

        Raises:
            BuildFailed: no buildpack takes it, or the build failed; the text says why.
            FlynnError: the engine, the stack or the Procfile.
        """
        plain = await self.images.ensure(None, say)
        run = _Run(builder=self, source=source, place=place, say=say, leaving=leaving)
        detected = await run.detect(plain)
        await say(f"-----> {detected.message}")
        images = await self.images.ensure(detected.language, say)
        await run.compile(detected, images)
        commands = await self._process_types(place.slug, detected, say)
        await say("-----> Uploading slug to blobstore")
        size = await tree_size(place.slug)
        await say(f"-----> Compiled slug size is {size_text(size)}")
        return Built(runner=images.runner, commands=commands, size=size)

    async def _process_types(self, slug: Path, detected: Detected, say: Say) -> dict[str, str]:
        from .procfile import parse_procfile, parse_release  # here: YAML is loaded by a push, not by every start

        await say("-----> Discovering process types")
        procfile, release = await trio.to_thread.run_sync(
            lambda: [read_file(slug, n) for n in ("Procfile", ".release")]
        )
        if procfile is not None:
            commands = parse_procfile(procfile)
            source = "Procfile declares types"
        else:
            commands = parse_release(release or b"")
            source = f"Default process types for {detected.title}"
        if commands:
            await say(f"{INDENT}{source} -> {', '.join(commands)}")
        return commands


@dataclass(slots=True, kw_only=True)
class _Run:
    """One build on its way: what its two jobs share."""

    builder: Builder
    source: Source
    place: Workplace
    say: Say
    leaving: trio.Nursery
    tar_error: str = field(default="", init=False)

    async def detect(self, images: StackImages) -> Detected:
        """Bring the tree into the slug's directory, and learn which buildpack takes it."""
        answer: Detected | None = None
        none_detected = False

        async def show(stream: Stream, line: str) -> None:
            nonlocal answer, none_detected
            none_detected |= line == NONE_DETECTED
            found = read_detected(line) if stream is Stream.STDOUT else None
            if found:
                answer = found
            else:
                await self.say(line)

        status = await self._job(("detect",), images, show=show, feed=self._send_tree)
        if self.tar_error:
            raise BuildFailed(f"the tree could not be read: {self.tar_error}")
        if none_detected:
            built_in = sorted(path.name for path in images.buildpacks.iterdir() if path.is_dir())
            another = f"flynn -a {self.source.app.name} env set BUILDPACK_URL=<git URL of a buildpack>"
            raise BuildFailed(
                "no buildpack takes this repository",
                more=[f"Built in are {', '.join(built_in)}. To take another one: {another}; then push again."],
            )
        if status.exit_code or not answer:
            raise self._failed(status, f"exit status {status.exit_code}")
        return answer

    async def compile(self, detected: Detected, images: StackImages) -> None:
        """Run the buildpack."""

        async def show(_: Stream, line: str) -> None:
            await self.say(line)

        status = await self._job(("compile", detected.name), images, show=show)
        if status.exit_code:
            raise self._failed(status, f"exit status {status.exit_code}")

    async def _job(
        self,
        verb: tuple[str, ...],
        images: StackImages,
        *,
        show: Callable[[Stream, str], Awaitable[None]],
        feed: Callable[[Attachment], Awaitable[None]] | None = None,
    ) -> JobStatus:
        settings = self.builder.settings
        spec = builder_spec(
            job=JobID(self.builder.clock.new_id()),
            app=self.source.app,
            verb=verb,
            image=images.builder,
            cf_stack=images.cf_stack,
            commit=self.source.commit,
            previous=self.source.previous,
            shared=self.source.shared,
            workplace=self.place,
            buildpacks=images.buildpacks,
            settings=settings,
            host_env=self.builder.host_env,
        )
        logger.info("build job", extra={"app": spec.app, "job": spec.id, "verb": verb})
        with trio.move_on_after(settings.time_limit_s):
            status: JobStatus = await self.leaving.start(self._attached, spec, show, feed)
            return status
        raise BuildFailed(f"it took longer than the limit of {settings.time_limit_s:.0f} seconds")

    async def _attached(
        self,
        spec: JobSpec,
        show: Callable[[Stream, str], Awaitable[None]],
        feed: Callable[[Attachment], Awaitable[None]] | None,
        *,
        task_status: trio.TaskStatus[JobStatus],
    ) -> None:
        """Run one job to its end; the caller goes on then, while the container is taken away here."""
        ended = False
        try:
            async with self.builder.engine.attach(spec) as job:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(feed or _no_input, job)
                    await _copy_lines(job, show)
                    status = await job.wait()
                    nursery.cancel_scope.cancel()
                ended = True
                task_status.started(status)
        except EngineError as exc:
            if not ended:
                raise
            logger.warning("ended build job not removed", extra={"job": spec.id, "error": exc.message})

    async def _send_tree(self, job: Attachment) -> None:
        async with self.source.open_tar() as git:
            await git.stdin.aclose()
            async for piece in git.output():
                await job.send(piece)
            if await git.finish():
                self.tar_error = git.errors() or "git archive did not say why"
        await job.send_eof()

    def _failed(self, status: JobStatus, why: str) -> BuildFailed:
        if status.oom:
            app = self.source.app.name
            limit = memory_limit(self.source.previous, self.builder.settings.memory_bytes)
            return BuildFailed(
                f"out of memory: it needs more than its limit of {memory_text(limit)}",
                more=[
                    "Phase build: it was killed for lack of memory.",
                    f"To give it more: flynn -a {app} limit set slugbuilder memory={memory_text(2 * limit)}",
                ],
            )
        return BuildFailed(
            status.error or why, more=["Phase build: what it printed above says why. Mend it and push again."]
        )


def wants_custom(previous: Release | None) -> bool:
    """Tell whether an app names its own buildpack."""
    return bool(previous and previous.env.get(BUILDPACK_VARIABLE))


async def _no_input(job: Attachment) -> None:
    await job.send_eof()


async def _copy_lines(job: Attachment, show: Callable[[Stream, str], Awaitable[None]]) -> None:
    """Show what a job prints, line by line, each as soon as it is whole."""
    lines = {Stream.STDOUT: Lines(), Stream.STDERR: Lines()}
    async for piece in job.output:
        for line in lines[piece.stream].feed(piece.data):
            await show(piece.stream, line)
    for stream, rest in lines.items():
        for line in rest.end():
            await show(stream, line)
