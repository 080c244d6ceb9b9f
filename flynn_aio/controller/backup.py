"""Backups: the cluster's state as a tar, made while it is sent.

What is in one, and what is not, stands in its last file, the manifest, with checksums: a tar without
a manifest is the beginning of one. Of the whole tar the record has size and checksum.

Source: `controller-api.md` §5.1 and §13, `resources.md` §6; Flynn `controller/backup.go`, `pkg/backup`.
"""

import hashlib
import logging
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from io import SEEK_END, BytesIO
from typing import BinaryIO

import msgspec
import trio

from ..errors import FlynnError
from ..model import ClusterBackup, Time, encode, plain
from ..store import Database, changes, queries
from .request import Parts, Reply, Request, Stream, reply
from .shape import Tar

logger = logging.getLogger(__name__)

GIVES = ClusterBackup | Tar
FORMAT = "flynn-aio backup 1"
DATABASE = "flynn.db"
APPS = ("discoverd", "flannel", "controller")
"""Those of the apps in upstream's `flynn.json` that are here; the databases' apps come with the databases."""
CONTENTS = {
    "flynn.json": "the system apps with release, artifacts and formation, as Flynn's own backups have it",
    DATABASE: "the cluster's state, a SQLite database: apps, releases, formations, routes with their TLS keys, "
    "resources, volumes and jobs as records, events, the hashes of the keys",
}
MISSING = {
    "databases": "the data of the apps' databases; there is no postgres.sql.gz",
    "volumes": "what is in the apps' volumes",
    "slugs and images": "what pushes and `docker push` made; push again after a restore",
    "repositories": "what was pushed, as git keeps it",
    "logs": "the apps' output",
    "keys": "the operator's key and the cluster's certificate files: the directory `keys` of the data directory",
}
PIECE = 256 * 1024
"""Bytes read, summed and sent at once: all of a backup that is ever in memory, beside the records."""
CLEANUP_S = 15.0
"""How long the record of a backup that was cut short may take; without it the next start writes it."""


async def get(parts: Parts, request: Request) -> Reply | Stream:
    """Show the record of the last backup, or, unless JSON is asked for, make one and send it."""
    if "json" in request.accept:
        return reply(await parts.store.read(queries.latest_backup))
    now = Time.of(parts.clock.now())
    name = f"flynn-backup-{now:%Y-%m-%d_%H%M%S}"
    disposition = (b"content-disposition", f'attachment; filename="{name}.tar"'.encode())
    return Stream("application/tar", _backup(parts, name, now), headers=(disposition,), is_one=True)


@asynccontextmanager
async def _backup(parts: Parts, name: str, now: Time) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """Have a backup while the block runs; how it ended is in its record."""
    record = await parts.store.transact(changes.begin_backup)
    done = Sums()
    error = "the client left, or flynn-aio stopped, before the backup was complete"
    try:
        system_apps = await parts.store.read(_flynn_json)
        async with parts.store.snapshot() as database:
            domain = await parts.store.read(queries.domain)
            files: dict[str, BinaryIO] = {"flynn.json": BytesIO(system_apps), DATABASE: database}
            yield _in_thread(tar(name, now, files, done, domain=domain))
        if done.complete:
            error = ""
    except FlynnError as exc:
        error = exc.message
        raise
    finally:
        with trio.move_on_after(CLEANUP_S, shield=True), suppress(FlynnError):
            await parts.store.transact(
                partial(
                    changes.finish_backup,
                    backup_id=record.id,
                    sha512=done.sha512.hexdigest(),
                    size=done.size,
                    error=error,
                )
            )
        logger.info("backup ended", extra={"backup": record.id, "bytes": done.size, "error": error or "none"})


class Sums:
    """Size and checksum of what went by; `complete` once there is no more."""

    def __init__(self) -> None:
        self.sha512 = hashlib.sha512()
        self.size = 0
        self.complete = False

    def add(self, data: bytes) -> bytes:
        self.sha512.update(data)
        self.size += len(data)
        return data


def _flynn_json(db: Database) -> bytes:
    found = {}
    for name in APPS:
        with suppress(FlynnError):
            app = queries.app(db, name)
            formation = queries.formation(db, app.id, queries.current_release(db, app.id).id)
            found[name] = plain(queries.expanded_formation(db, formation)) | {"artifact": {"type": "docker"}}
    return msgspec.json.format(encode(found), indent=2) + b"\n"


async def _in_thread(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield what a blocking iterator has, each piece got in a thread."""
    while piece := await trio.to_thread.run_sync(next, pieces, b""):
        yield piece


def tar(name: str, now: Time, files: Mapping[str, BinaryIO], whole: Sums, *, domain: str) -> Iterator[bytes]:
    """Yield a tar with these files and the manifest, piece by piece. Blocks: it reads and sums.

    Args:
        name: the directory in the tar.
        files: name -> content, from its beginning.
        whole: gets size and checksum of all that was yielded.
    """
    described = {}
    for path, source in files.items():
        size, one = source.seek(0, SEEK_END), Sums()
        source.seek(0)
        yield whole.add(_header(f"{name}/{path}", size, now))
        while data := source.read(PIECE):
            yield whole.add(one.add(data))
        if rest := _padding(size, tarfile.BLOCKSIZE):
            yield whole.add(rest)
        described[path] = {"is": CONTENTS[path], "size": one.size, "sha512": one.sha512.hexdigest()}
    manifest = {
        "format": FORMAT,
        "created_at": str(now),
        "domain": domain,
        "files": described,
        "not_in_here": MISSING,
    }
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    last = _header(f"{name}/manifest.json", len(text), now) + text + _padding(len(text), tarfile.BLOCKSIZE)
    end = bytes(2 * tarfile.BLOCKSIZE)
    yield whole.add(last + end + _padding(whole.size + len(last) + len(end), tarfile.RECORDSIZE))
    whole.complete = True


def _header(path: str, size: int, now: Time) -> bytes:
    info = tarfile.TarInfo(path)
    info.size, info.mtime, info.mode = size, int(now.timestamp()), 0o600
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int, block: int) -> bytes:
    return bytes(-size % block)
