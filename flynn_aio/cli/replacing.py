"""Files that a command writes for a person: whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .failure import Failure


class Written:
    """A file being written; it takes its name when the block ends and `complete` is set."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.complete = False


@contextmanager
def replacing(name: str, *, mode: int = 0o666) -> Iterator[Written]:
    """Write what is to become the file `name`; a pipe or a device under that name is written itself.

    Args:
        mode: of the new file, less the umask.

    Raises:
        Failure: it cannot be written.
    """
    special = os.path.exists(name) and not os.path.isfile(name)
    final = os.path.realpath(name)  # what a link leads to, not the link
    path = name if special else f"{final}.part"
    try:
        written = Written(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode))
    except OSError as exc:
        raise Failure(f"open {path}: {os_reason(exc)}") from exc
    try:
        yield written
    finally:
        os.close(written.descriptor)
        if not special and written.complete:
            os.replace(path, final)
        elif not special:
            with suppress(FileNotFoundError):
                os.unlink(path)


def os_reason(exc: OSError) -> str:
    """Return why the system refused, as the middle of a sentence."""
    text = exc.strerror or str(exc)
    return text[0].lower() + text[1:]
