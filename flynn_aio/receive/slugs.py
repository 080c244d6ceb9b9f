"""Directories of builds: slugs, caches, and what a build needs while it runs.

A slug is made in a directory of another name and published by a rename, so that under its own
name it is whole and never changes again. The cache works the same way: a build gets a copy, which
takes the place of the last good one only when the build succeeds. Everything else goes with
the build, and what a crash left goes at the next sweep.

The trees in here were written by strangers. Nothing follows a link in them or waits for a pipe.
"""

import logging
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from ..errors import FlynnError
from ..model import AppID
from ..settings import BuildSettings
from .builder import BUILDER_USER, Workplace

logger = logging.getLogger(__name__)

NEW = ".new-"
OLD = ".old-"
"""Prefixes of directories on their way in and out; nobody looks for a name that begins so."""
FILE_MAX = 64 * 1024
"""Bytes of a Procfile or `.release`. Real ones have a few hundred."""
CLEANUP_S = 30.0
"""How long a cancelled build may take to remove its directories; the next sweep gets the rest."""


class SlugError(FlynnError):
    """A slug cannot be used as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Ids of what is in use: slugs some release refers to (``None``: nobody can tell now), and live apps."""

    slugs: Collection[str] | None
    apps: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Where a slug from elsewhere is put: the archive it comes as, and the directory it becomes."""

    archive: Path
    slug: Path


class Slugs:
    """The slugs and caches of one appliance."""

    def __init__(self, settings: BuildSettings) -> None:
        self._slugs = settings.slug_dir
        self._caches = settings.cache_dir / "apps"  # the stack keeps its own beside it
        self._work = settings.work_dir / "builds"
        self._held: set[str] = set()

    def prepare(self) -> None:
        for directory in (self._slugs, self._caches, self._work):
            directory.mkdir(parents=True, exist_ok=True)

    def slug(self, build: str) -> Path:
        return self._slugs / build

    @asynccontextmanager
    async def open_workplace(
        self, build: str, app: AppID, *, env: Mapping[str, bytes], custom: bool
    ) -> AsyncIterator[Workplace]:
        """Have the directories of one build. The slug and the cache are kept only if `publish` was called.

        Args:
            build: also the slug's id.
            env: the files of the env dir.
            custom: whether a directory for a custom buildpack is needed.
        """
        work = self._work / build
        place = Workplace(
            slug=self._slugs / f"{NEW}{build}",
            cache=self._caches / f"{NEW}{build}",
            env=work / "env" if env else None,
            custom=work / "custom" if custom else None,
        )
        self._held.add(build)
        try:
            _make(work, owner=0)
            for directory in (place.slug, place.custom):
                if directory:
                    _make(directory)
            if place.env:
                _write_env(place.env, env)
            await self._copy_cache(app, place.cache)
            yield place
        finally:
            self._held.discard(build)
            with trio.move_on_after(CLEANUP_S, shield=True):
                await remove([work, place.slug, place.cache])

    async def publish(self, build: str, app: AppID, place: Workplace) -> None:
        """Give slug and cache their names, once their bytes are on the disk.

        The slug is not swept while the workplace is open; after that a release must refer to it.
        """
        await _command("sync", "--file-system", str(place.slug))
        place.slug.rename(self.slug(build))
        good, old = self._caches / app, self._caches / f"{OLD}{build}"
        with suppress(FileNotFoundError):
            good.rename(old)
        place.cache.rename(good)
        await remove([old])

    @asynccontextmanager
    async def open_arrival(self, slug: str) -> AsyncIterator[Arrival]:
        """Have the directories of a slug that comes whole, from elsewhere. It is kept only if `accept` was called.

        Nothing sweeps it while the block runs; after that an artifact must name it.
        """
        work = self._work / slug
        arrival = Arrival(archive=work / "slug.tar.gz", slug=self._slugs / f"{NEW}{slug}")
        self._held.add(slug)
        try:
            _make(work, owner=0)
            _make(arrival.slug)
            yield arrival
        finally:
            self._held.discard(slug)
            with trio.move_on_after(CLEANUP_S, shield=True):
                await remove([work, arrival.slug])

    async def accept(self, slug: str, arrival: Arrival) -> None:
        """Give a slug that has arrived its name, once its bytes are on the disk."""
        await _command("sync", "--file-system", str(arrival.slug))
        arrival.slug.rename(self.slug(slug))

    async def unpublish(self, build: str) -> None:
        """Remove a slug that no release came to refer to."""
        with trio.move_on_after(CLEANUP_S, shield=True):
            await remove([self.slug(build)])

    async def sweep(self, find_used: Callable[[], Awaitable[Used]]) -> list[str]:
        """Remove what nobody refers to, and what builds of an earlier life left. Returns the names.

        Args:
            find_used: asked after the directories were listed, so that what a push makes
                meanwhile is either not among them or in use.
        """
        there = [path for top in (self._slugs, self._caches, self._work) for path in top.iterdir()]
        there = [path for path in there if path.name.removeprefix(NEW).removeprefix(OLD) not in self._held]
        used = await find_used()
        kept = {self._slugs: used.slugs, self._caches: used.apps, self._work: frozenset[str]()}
        gone = [path for path in there if (names := kept[path.parent]) is not None and path.name not in names]
        await remove(gone)
        return [path.name for path in gone]

    async def _copy_cache(self, app: AppID, copy: Path) -> None:
        good = self._caches / app
        if good.exists():
            await _command("cp", "--archive", "--reflink=auto", "--", str(good), str(copy))
        else:
            _make(copy)


def read_file(slug: Path, name: str) -> bytes | None:
    """Return a file at the top of a slug; ``None`` when there is none.

    Raises:
        SlugError: it is a link, a pipe or anything but a file, or larger than `FILE_MAX`.
    """
    try:
        descriptor = os.open(slug / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SlugError(f"{name} is not a plain file: {exc.strerror}") from exc
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SlugError(f"{name} is not a plain file")
        data = os.read(descriptor, FILE_MAX + 1)
    finally:
        os.close(descriptor)
    if len(data) > FILE_MAX:
        raise SlugError(f"{name} is larger than {FILE_MAX // 1024} KiB")
    return data


async def tree_size(top: Path) -> int:
    """Return how many bytes a tree takes on the disk."""
    return int((await _command("du", "--summarize", "--block-size=1", "--", str(top))).split()[0])


def size_text(size: int) -> str:
    """Return a size as `du -h` writes it: ``3.6M``, ``12K``, ``1.2G``."""
    for unit, factor in (("G", 1024**3), ("M", 1024**2), ("K", 1024)):
        if size >= factor:
            scaled = size / factor
            return f"{scaled:.1f}{unit}" if scaled < 10 else f"{scaled:.0f}{unit}"
    return f"{size}B"


def _make(directory: Path, *, owner: int = BUILDER_USER) -> None:
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)  # whatever the umask
    _give(directory, owner)


def _write_env(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write the release's variables for the builder's eyes only."""
    directory.mkdir(mode=0o700)
    for name, content in files.items():
        path = directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        path.chmod(0o400)
        _give(path)
    directory.chmod(0o500)
    _give(directory)


def _give(path: Path, owner: int = BUILDER_USER) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner, owner, follow_symlinks=False)


async def remove(paths: Iterable[Path]) -> None:
    """Delete trees, whatever is in them. What cannot be deleted now is left to the next sweep."""
    if there := [str(path) for path in paths if path.is_symlink() or path.exists()]:
        try:
            await _command("rm", "-rf", "--one-file-system", "--", *there)
        except SlugError as exc:
            logger.warning("not removed", extra={"error": exc.message})


async def _command(*args: str) -> str:
    """Run one of the tools that handle any tree, however deep or large, and return what it prints.

    Raises:
        SlugError: it failed, e.g. for want of space.
    """
    done = await trio.run_process(args, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise SlugError(f"could not {args[0]} {args[-1]}: {why[0] if why else f'status {done.returncode}'}")
    return done.stdout.decode(errors="replace")
