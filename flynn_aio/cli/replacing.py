"""Files that a command writes for a person: whole, or not at all."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from .failure import Failure


class Written:
    """A file being written; it takes its name when the block ends and `complete` is set."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.complete = False


@contextmanager
def replacing(name: str, *, mode: int = 0o666) -> Iterator[Written]:
    """Write what is to become the file `name`; a pipe or a device under that name is written itself.

    A link stays a link. The new file has the mode of the one before it, and its owner if root writes. It takes its name
    when it is on the disk: neither a crash nor a full disk costs the old one.

    Args:
        mode: of a new file, less the umask; no file gets more than that.

    Raises:
        Failure: it cannot be written.
        BrokenPipeError: nobody reads the pipe of that name any more.
    """
    try:
        if os.path.exists(name) and not os.path.isfile(name):
            with _opened(name, os.O_WRONLY, mode) as written:
                yield written
            return
        final = os.path.realpath(name)
        draft = f"{final}.{os.getpid()}.part"  # two commands that write the same file do not meet in it
        try:
            before = os.stat(final) if os.path.exists(final) else None
            new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with _opened(draft, new, mode & 0o600 if before else mode) as written:
                yield written
                if before:
                    if os.geteuid() == 0:
                        os.chown(draft, before.st_uid, before.st_gid)
                    os.chmod(draft, stat.S_IMODE(before.st_mode) & mode)
                os.fsync(written.descriptor)
            if written.complete:
                os.replace(draft, final)
        finally:
            if os.path.exists(draft):
                os.unlink(draft)
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise Failure(f"error writing {name}: {os_reason(exc)}") from exc


@contextmanager
def _opened(path: str, flags: int, mode: int) -> Iterator[Written]:
    descriptor = os.open(path, flags, mode)
    try:
        yield Written(descriptor)
    finally:
        os.close(descriptor)


def os_reason(exc: OSError) -> str:
    """Return why the system refused, as the middle of a sentence."""
    text = exc.strerror or str(exc)
    return text[0].lower() + text[1:]
