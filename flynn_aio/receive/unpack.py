"""Unpacking a slug that a stranger packed: nothing is written beside it, and nothing but files, directories and links.

Every entry is opened from the top of the slug downwards, directory by directory, and no link is followed on
the way: whatever a link in the archive says, it is only ever a link in the slug. `tarfile`'s own filters refuse
absolute links instead, and every virtual environment has one.

Source: `build.md` §2; Flynn `slugbuilder/convert-legacy-slug.sh`.
"""

import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import Self

from ..errors import ValidationError
from ..settings import MIB
from .builder import BUILDER_USER

MAX_BYTES = 8192 * MIB
"""In all files of a slug; a layer of an image may have as many."""
MAX_ENTRIES = 1_000_000
MAX_HEADER_BYTES = MIB
"""Of one long name or PAX header, which is read at once."""
PIECE = 256 * 1024
MODE = 0o777
"""What is kept of permissions."""
LONG_HEADERS = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)


class _Refused(Exception):
    """An entry that has no place in a slug; the text says which and why."""


class _Entry(tarfile.TarInfo):
    """An entry whose header is looked at before any of what it announces is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if not any(buf) and len(buf) == tarfile.BLOCKSIZE:
            return super().frombuf(buf, encoding, errors)  # raises: the end, as it should be
        try:
            entry = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as exc:  # tarfile takes it for the end, wherever but in front it stands
            raise _Refused("it is damaged" if buf else "it breaks off before its end") from exc
        if entry.type in LONG_HEADERS and entry.size > MAX_HEADER_BYTES:
            raise _Refused(f"a header of {entry.size} bytes")
        return entry


class _Stream(tarfile.TarFile):
    members: list[tarfile.TarInfo]
    """What was read, kept for those who come back to it."""


def unpack(archive: Path, top: Path, *, max_bytes: int = MAX_BYTES, max_entries: int = MAX_ENTRIES) -> int:
    """Unpack a slug, a tar in gzip, into an empty directory; return the bytes of its files. Blocks.

    Permissions, times and links stay what they were; set-user-id bits go, and everything belongs to whom slugs
    belong. What is half unpacked when it fails is for the caller to remove.

    Raises:
        ValidationError: it is no such archive, ends early, or has an entry no slug can have; the message names it.
        OSError: it cannot be written.
    """
    tree = _Tree(top)
    written = count = 0
    try:
        with GzipFile(archive) as file, _Stream.open(fileobj=file, mode="r|", tarinfo=_Entry) as tar:
            while entry := tar.next():
                tar.members.clear()
                count, written = count + 1, written + (entry.size if entry.isreg() else 0)
                if count > max_entries:
                    raise _Refused(f"more than {max_entries} entries")
                if written > max_bytes:
                    raise _Refused(f"files of more than {max_bytes} bytes")
                tree.add(tar, entry)
            while file.read(PIECE):  # to the checksum at its very end
                pass
        tree.finish()
    except (_Refused, tarfile.TarError, BadGzipFile, zlib.error, EOFError) as exc:
        raise ValidationError(f"cannot be unpacked: {exc}", field="slug") from exc
    finally:
        tree.close()
    return written


class _Tree:
    """The slug in the making. Everything blocks."""

    def __init__(self, top: Path) -> None:
        self._top = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._modes: list[tuple[list[str], int]] = []
        """Directories their owner cannot write into; they get their mode when they are full."""

    def close(self) -> None:
        os.close(self._top)

    def add(self, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        parts = _parts(entry.name)
        try:
            if entry.isdir():
                self._make_directory(parts, entry.mode & MODE)
            elif parts:
                with self._opened(parts[:-1]) as parent:
                    self._make(tar, entry, parent, parts[-1])
            else:
                raise _Refused(f"{entry.name!r} is not a directory")
        except FileExistsError as exc:
            raise _Refused(f"{entry.name!r} is there already") from exc
        except (NotADirectoryError, FileNotFoundError) as exc:
            raise _Refused(f"{entry.name!r} leads through something that is no directory of the slug") from exc

    def _make_directory(self, parts: list[str], mode: int) -> None:
        with self._opened(parts) as directory:
            os.fchmod(directory, mode | stat.S_IRWXU)
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            self._modes.append((parts, mode))

    def _make(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, parent: int, name: str) -> None:
        if entry.isreg() and not entry.issparse():
            _write(tar, entry, parent, name)
        elif entry.issym():
            os.symlink(entry.linkname, name, dir_fd=parent)
            if os.geteuid() == 0:
                os.chown(name, BUILDER_USER, BUILDER_USER, dir_fd=parent, follow_symlinks=False)
        elif entry.islnk() and (source := _parts(entry.linkname)):
            with self._opened(source[:-1]) as there:
                os.link(source[-1], name, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False)
        else:
            raise _Refused(f"{entry.name!r} is no file, directory or link")

    @contextmanager
    def _opened(self, parts: list[str]) -> Iterator[int]:
        """Have a directory of the slug, made if it is missing, while the block runs."""
        directory = os.dup(self._top)
        try:
            for name in parts:
                deeper = _open_directory(directory, name)
                os.close(directory)
                directory = deeper
            yield directory
        finally:
            os.close(directory)

    def finish(self) -> None:
        """Give the directories their modes, the deepest ones first."""
        for parts, mode in reversed(self._modes):
            with self._opened(parts) as directory:
                os.fchmod(directory, mode)


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise _Refused(f"{name!r} leads out of the slug")
    return parts


def _open_directory(parent: int, name: str) -> int:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
        new = True
    except FileExistsError:
        new = False
    directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    if new:
        os.fchmod(directory, 0o755)  # whatever the umask
        _give(directory)
    return directory


def _write(tar: tarfile.TarFile, entry: tarfile.TarInfo, parent: int, name: str) -> None:
    content = tar.extractfile(entry)
    assert content is not None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
        while piece := content.read(PIECE):
            file.write(piece)
        file.flush()
        _give(file.fileno())
        os.fchmod(file.fileno(), entry.mode & MODE)
        os.utime(file.fileno(), (entry.mtime, entry.mtime))  # compiled Python is good only beside a source as old


def _give(descriptor: int) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, BUILDER_USER, BUILDER_USER)
