"""Slugs between clusters: out as a tar in gzip, in as one.

It is what older Flynns kept a slug as, so their exports have it under that name, ``slug.tar.gz``, and their import
takes it. In it is what lies below `/app`.

Source: `controller-api.md` §13; Flynn `cli/export.go`, `slugbuilder/convert-legacy-slug.sh`.
"""

import logging
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

import trio

from ..clock import Clock
from ..errors import NotFound, ValidationError
from ..model import Artifact
from ..settings import MIB
from ..store import Store, Transaction, changes
from .build import Images
from .git import STDERR_MAX
from .recipe import REPOSITORY, RUNNER
from .release import runner_artifact, slug_artifact
from .slugs import SlugError, Slugs, read_file, tree_size
from .unpack import MAX_BYTES, unpack

logger = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
BATCH_BYTES = MIB
FAST = "--use-compress-program=gzip --fast"
"""A third of the time for a tenth more bytes; somebody waits, and the apps want the processor."""

_SLUG_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]*")
_RUNNER = re.compile(rf"(?:image:)?{re.escape(REPOSITORY)}/(?P<stack>[^/:]+)/{RUNNER}(?:-(?P<language>[^/:]+))?:\w+")


class SlugTransfer:
    """Takes slugs out of the cluster, and into it."""

    def __init__(self, store: Store, slugs: Slugs, images: Images, clock: Clock, *, stack: str) -> None:
        self._store = store
        self._slugs = slugs
        self._images = images
        self._clock = clock
        self._stack = stack

    async def is_there(self, slug: str) -> bool:
        return bool(_SLUG_ID.fullmatch(slug)) and await trio.Path(self._slugs.slug(slug)).is_dir()

    @asynccontextmanager
    async def open_tar(self, slug: str) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Have a slug as a tar in gzip while the block runs.

        Raises:
            NotFound: it is not here.
            SlugError: it cannot be read; also in the middle.
        """
        if not await self.is_there(slug):
            raise NotFound(f"slug {slug!r} is not here")
        with tempfile.TemporaryFile() as stderr:  # a pipe would need a task that empties it
            async with trio.open_nursery() as nursery:
                process = await nursery.start(
                    partial(
                        trio.run_process,
                        ["tar", "--create", FAST, "--directory", str(self._slugs.slug(slug)), "."],
                        stdout=subprocess.PIPE,
                        stderr=stderr,
                        check=False,
                    )
                )
                yield _printed(slug, process, stderr)
                nursery.cancel_scope.cancel("the tar was read, or nobody wants it")

    async def receive(self, pieces: AsyncIterator[bytes], *, runner: str = "") -> list[Artifact]:
        """Keep a slug, once all of it has come; return what a release of it is made of: the runner and the slug.

        Args:
            pieces: a tar in gzip.
            runner: the uri of the runner image it ran on where it comes from: a language may have one of its own.

        Raises:
            ValidationError: it is no slug, or one for another stack.
            SlugError: it cannot be written.
            FlynnError: the runner image is missing, and cannot be made.

        Cancellation: nothing is left of it.
        """
        language = self._language(runner)
        slug = self._clock.new_id()
        try:
            async with self._slugs.open_arrival(slug) as arrival:
                await _save(arrival.archive, pieces)
                await trio.to_thread.run_sync(unpack, arrival.archive, arrival.slug)
                types = await trio.to_thread.run_sync(_types, arrival.slug)
                size = await tree_size(arrival.slug)
                images = await self._images.ensure(language, _log)
                await self._slugs.accept(slug, arrival)
                made = [runner_artifact(images.runner), slug_artifact(slug, size=size, types=types)]
                try:
                    return await self._store.transact(lambda tx: _create(tx, made))
                except BaseException:
                    await self._slugs.unpublish(slug)
                    raise
        except OSError as exc:
            raise SlugError(
                f"keeping a slug: {exc.strerror}; free some space on the disk of the appliance, and import again"
            ) from exc

    def _language(self, runner: str) -> str | None:
        """Return the language an image of ours is the runner of; ``None`` when that is the plain one, or unknown.

        Raises:
            ValidationError: it is one of a stack that this cluster does not have.
        """
        found = _RUNNER.fullmatch(runner)
        if found and found["stack"] != self._stack:
            raise ValidationError(
                f"is the runner of {found['stack']}, and apps run on {self._stack} here; push the app instead",
                field="runner",
            )
        return found["language"] if found else None


async def _printed(slug: str, process: trio.Process, stderr: IO[bytes]) -> AsyncGenerator[bytes, None]:
    assert process.stdout is not None
    while piece := await process.stdout.receive_some(READ_BYTES):
        yield bytes(piece)
    if code := await process.wait():
        said = os.pread(stderr.fileno(), STDERR_MAX, 0).decode(errors="replace").strip()
        raise SlugError(f"reading slug {slug}: tar ended with status {code}: {said}")


async def _save(archive: Path, pieces: AsyncIterator[bytes]) -> None:
    """Write what comes into a file, batch by batch."""
    size, batch = 0, bytearray()
    file: BinaryIO
    with await trio.to_thread.run_sync(archive.open, "xb") as file:
        async for piece in pieces:
            size, batch = size + len(piece), batch + piece
            if size > MAX_BYTES:
                raise ValidationError(f"is longer than {MAX_BYTES} bytes", field="slug")
            if len(batch) >= BATCH_BYTES:
                await trio.to_thread.run_sync(file.write, bytes(batch))
                batch.clear()
        await trio.to_thread.run_sync(file.write, bytes(batch))
        await trio.to_thread.run_sync(file.flush)


def _types(slug: Path) -> list[str]:
    """Return the process types a slug says it has."""
    from .procfile import parse_procfile, parse_release  # here: YAML is not loaded by every start

    procfile = read_file(slug, "Procfile")
    return list(parse_procfile(procfile) if procfile is not None else parse_release(read_file(slug, ".release") or b""))


def _create(tx: Transaction, artifacts: list[Artifact]) -> list[Artifact]:
    return [changes.create_artifact(tx, artifact) for artifact in artifacts]


async def _log(line: str) -> None:
    logger.info("a stack image is made for an import", extra={"step": line.strip()})
