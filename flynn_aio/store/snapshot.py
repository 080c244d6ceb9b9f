"""A copy of the whole database, while everything goes on."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import BinaryIO


def copy_database(source: Path) -> BinaryIO:
    """Return the database as it is at one moment, in a file of its own. Blocks, and takes as much room again.

    The copy lies beside the database and has no name: it is gone when the file is closed, and
    nothing of a crash is left but a copy under way, which the next one removes. One at a time.

    Raises:
        sqlite3.Error: it cannot be read.
        OSError: there is no room for it.
    """
    path = source.with_name(f"{source.name}.copy")
    remove_copy(source)
    path.touch(mode=0o600)
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as ours,
            closing(sqlite3.connect(path, isolation_level=None)) as copy,
        ):
            ours.backup(copy)  # all pages in one step: of one moment, however much is written meanwhile
            copy.execute("PRAGMA journal_mode = DELETE")  # so that it is one file
        return path.open("rb")
    finally:
        remove_copy(source)


def remove_copy(source: Path) -> None:
    """Remove what a copy that was cut short has left."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        source.with_name(f"{source.name}.copy{suffix}").unlink(missing_ok=True)
