"""Layers on the disk: one directory for each, published whole by a rename, and never changed.

A push asks which layers are here, sends the others, and names them all in an artifact at its end.
Until then nothing refers to them, so a layer that was sent or asked for is *held* for a while. Its
directory's modification time says since when: that survives a restart, and needs no other record.

What is sent is a tar, or one in gzip as some image stores keep it; what is kept is the tar, and its
SHA-256 is the layer's id.

Source: `controller-api.md` §10.1, `build.md` §6; Flynn `tarreceive/main.go`.
"""

import hashlib
import logging
import os
import shutil
import tarfile
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import trio

from ..errors import FlynnError, MalformedInput, NotFound, ValidationError
from ..model import LAYER_TYPE, ImageLayer, decode, encode
from ..settings import MIB, ImageSettings
from .tars import BLOCK_BYTES, Headers, Unfit

logger = logging.getLogger(__name__)

TAR, DESCRIPTION = "layer.tar", "layer.json"
NEW, OLD = ".new-", ".old-"
"""Prefixes of directories on their way in and out."""
HELD_S = 3600.0
"""Between two layers of one push; a slow line may take long over a big one."""
BATCH_BYTES = MIB
"""So much of an upload is hashed and written at once, in a thread."""
CLEANUP_S = 10.0
GZIP = b"\x1f\x8b"
GZIP_BYTES = 16 * 1024
"""Unpacked at once: what is behind the end of a member is copied, and there may be a member in every 20 bytes."""


class LayerError(FlynnError):
    """A layer could not be kept; nothing of it is left."""


class Layers:
    """The layers of one appliance."""

    def __init__(self, settings: ImageSettings, now: Callable[[], float]) -> None:
        self._directory = settings.layer_dir
        self.max_bytes = settings.max_layer_bytes
        """The longest layer that is taken."""
        self._now = now
        self._uploads: set[str] = set()
        self.settling = trio.Lock()
        """Whoever holds it finds the same layers at its end as at its beginning, but for new ones."""

    def prepare(self) -> None:
        """Make the directory. Blocks."""
        self._directory.mkdir(parents=True, exist_ok=True)

    async def find(self, layer: str) -> ImageLayer | None:
        """Return a layer that is here, and hold it: whoever asks is about to name it in an artifact."""
        async with self.settling:
            return await trio.to_thread.run_sync(self._find, layer, self._now())

    def _find(self, layer: str, now: float) -> ImageLayer | None:
        place = self._directory / layer
        try:
            os.utime(place, (now, now))
            return decode((place / DESCRIPTION).read_bytes(), ImageLayer)
        except (FileNotFoundError, MalformedInput):  # damaged by a disk or a hand: as good as none
            return None

    async def size(self, layer: str) -> int | None:
        """Return the length of a layer's tar in bytes, if it is here. Who only reads it does not hold it."""
        try:
            return (await trio.Path(self._directory / layer / TAR).stat()).st_size
        except FileNotFoundError:
            return None

    @asynccontextmanager
    async def open_tar(self, layer: str) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Have the bytes of a layer's tar while the block runs. A sweep meanwhile takes only its name.

        Raises:
            NotFound: it is not here.
            LayerError: it cannot be read; also in the middle.
        """
        try:
            with await trio.to_thread.run_sync((self._directory / layer / TAR).open, "rb") as file:
                yield _batches(layer, file)
        except FileNotFoundError:
            raise NotFound(f"layer {layer!r} is not here") from None

    async def receive(self, layer: str, pieces: AsyncIterator[bytes]) -> ImageLayer:
        """Keep a layer, once all of it has come and it is what it is said to be.

        The same layer may come twice at the same moment; the first that is whole stays.

        Raises:
            ValidationError: its SHA-256 is another, it is no tar, or larger than the settings allow.
            LayerError: it cannot be written.

        Cancellation: nothing is left of it.
        """
        name = f"{NEW}{os.urandom(8).hex()}"
        self._uploads.add(name)
        place = self._directory / name
        try:
            upload = await trio.to_thread.run_sync(_Upload, layer, place, self.max_bytes)
            try:
                batch = bytearray()
                async for piece in pieces:
                    batch += piece
                    if len(batch) >= BATCH_BYTES:
                        await trio.to_thread.run_sync(upload.write, bytes(batch))
                        batch.clear()
                await trio.to_thread.run_sync(upload.write, bytes(batch))
                described = await trio.to_thread.run_sync(upload.finish)
            finally:
                upload.close()
            async with self.settling:  # a sweep under way may have found the one that is here too old
                await trio.to_thread.run_sync(self._publish, place, layer, self._now())
        except OSError as exc:
            raise LayerError(
                f"keeping layer {layer}: {exc.strerror}; free some space on the disk of the appliance, and push again"
            ) from exc
        finally:
            self._uploads.discard(name)
            with trio.move_on_after(CLEANUP_S, shield=True):
                await trio.to_thread.run_sync(partial(shutil.rmtree, place, ignore_errors=True))
        return described

    def _publish(self, place: Path, layer: str, now: float) -> None:
        os.utime(place, (now, now))
        try:
            place.rename(self._directory / layer)
        except OSError:
            if self._find(layer, now) is not None:
                return  # somebody was quicker, and theirs is the same
            for damaged in self._move_out([layer]):
                shutil.rmtree(damaged, ignore_errors=True)
            place.rename(self._directory / layer)
        _sync(self._directory)

    async def missing(self, layers: Collection[str]) -> list[str]:
        """Return the ids of layers that are not here."""
        return [layer for layer in layers if not await trio.Path(self._directory / layer / TAR).exists()]

    async def let_go(self, layers: Collection[str]) -> None:
        """No longer hold layers, now that an artifact names them: they go when it does."""
        await trio.to_thread.run_sync(self._let_go, layers)

    def _let_go(self, layers: Collection[str]) -> None:
        for layer in layers:
            os.utime(self._directory / layer, (0, 0))

    async def sweep(self, find_used: Callable[[], Awaitable[Collection[str]]]) -> list[str]:
        """Remove the layers that are neither in use nor held, and what a crash left. Returns their names.

        Args:
            find_used: returns the ids of the layers some artifact names.
        """
        async with self.settling:
            there = await trio.to_thread.run_sync(self._unheld, self._now() - HELD_S)
            used = await find_used() if there else ()
            gone = [name for name in there if name not in used]
            leaving = await trio.to_thread.run_sync(self._move_out, gone)
        for place in leaving:
            await trio.to_thread.run_sync(partial(shutil.rmtree, place, ignore_errors=True))
        return gone

    def _unheld(self, held_since: float) -> list[str]:
        return [
            entry.name
            for entry in os.scandir(self._directory)
            if entry.name not in self._uploads
            and (entry.name.startswith((NEW, OLD)) or entry.stat().st_mtime < held_since)
        ]

    def _move_out(self, names: Collection[str]) -> list[Path]:
        moved = []
        for name in names:
            place = self._directory / name
            moved.append(place.rename(self._directory / f"{OLD}{os.urandom(8).hex()}"))
        return moved


async def _batches(layer: str, file: BinaryIO) -> AsyncGenerator[bytes, None]:
    try:
        while batch := await trio.to_thread.run_sync(file.read, BATCH_BYTES):
            yield batch
    except OSError as exc:
        raise LayerError(f"reading layer {layer}: {exc.strerror}") from exc


class _Upload:
    """The file of one upload, and what is known of its bytes. Everything blocks."""

    def __init__(self, layer: str, place: Path, max_bytes: int) -> None:
        self._layer = layer
        self._place = place
        self._max_bytes = max_bytes
        self._received = self._length = 0
        self._sha256, self._sha512_256 = hashlib.sha256(), hashlib.new("sha512_256")
        self._inflate: zlib._Decompress | None = None
        self._headers = Headers()
        self._first = bytearray()
        self._begun = False
        place.mkdir(mode=0o700)
        self._file = (place / TAR).open("wb")

    def write(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self._max_bytes:  # a gzip of nothing, again and again, would have no end
            raise self._too_large()
        if not self._begun:
            self._first += data
            if len(self._first) < len(GZIP):
                return
            data, self._begun = bytes(self._first), True
            if data.startswith(GZIP):
                self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        if self._inflate is None:
            self._keep(data)
            return
        try:
            for at in range(0, len(data), GZIP_BYTES):
                self._unpack(data[at : at + GZIP_BYTES])
        except zlib.error as exc:
            raise self._refused(f"is no proper gzip: {exc}") from exc

    def _unpack(self, data: bytes) -> None:
        """Keep what is in a piece of a gzip of one member or several, bit by bit: a little can hold very much."""
        assert self._inflate is not None
        while data:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            self._keep(self._inflate.decompress(data, BATCH_BYTES))
            data = self._inflate.unconsumed_tail or self._inflate.unused_data

    def _keep(self, data: bytes) -> None:
        if self._length < BLOCK_BYTES <= self._length + len(data):
            self._check_tar(data)
        self._length += len(data)
        if self._length > self._max_bytes:
            raise self._too_large()
        try:
            self._headers.feed(data)
        except Unfit as exc:
            raise self._refused(str(exc)) from exc
        self._sha256.update(data)
        self._sha512_256.update(data)
        self._file.write(data)

    def _check_tar(self, data: bytes) -> None:
        """Look at the first header. Whatever is wrong behind it shows when the image is made."""
        self._file.flush()
        block = ((self._place / TAR).read_bytes() + data)[:BLOCK_BYTES]
        try:
            if block.strip(b"\0"):  # a tar of nothing begins with its end
                tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as exc:
            raise self._refused("is not a tar archive") from exc

    def finish(self) -> ImageLayer:
        """Check it, and have it on the disk."""
        if not self._begun or self._length < BLOCK_BYTES:
            raise self._refused("is not a tar archive")
        if self._inflate is not None and not self._inflate.eof:
            raise self._refused("ends in the middle of its gzip")
        if (found := self._sha256.hexdigest()) != self._layer:
            raise self._refused(f"SHA256 mismatch: the tar that was sent has {found}")
        described = ImageLayer(
            id=self._layer,
            type=LAYER_TYPE,
            length=self._length,
            hashes={"sha512_256": self._sha512_256.hexdigest()},
            meta={"tar.layer_id": self._layer},
        )
        (self._place / DESCRIPTION).write_bytes(encode(described))
        self._file.flush()
        for path in (self._place / TAR, self._place / DESCRIPTION, self._place):
            _sync(path)
        return described

    def close(self) -> None:
        self._file.close()

    def _refused(self, why: str) -> ValidationError:
        return ValidationError(f"{self._layer} {why}", field="layer")

    def _too_large(self) -> ValidationError:
        return self._refused(f"is larger than the {self._max_bytes} bytes of images.max_layer_bytes")


def _sync(path: Path) -> None:
    """Have a file or the names in a directory on the disk. Blocks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
