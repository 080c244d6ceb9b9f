"""What `flynn export` writes and `flynn import` reads: an app as a tar.

It is Flynn's own format: one directory named after the app, with JSON files and, beside them, the app's layers, slug
and dumps. An archive comes from anywhere, so all of it is read and checked before anything is done with it, and
nothing in it is written under a name of its own.

Source: `controller-api.md` §13, `resources.md` §7; Flynn `cli/export.go`, `pkg/backup/tar_writer.go`.
"""

import gzip
import hashlib
import json
import os
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any, NamedTuple, Self

from .failure import Failure

APP, ROUTES, RELEASE, ARTIFACTS, FORMATION = (
    f"{name}.json" for name in ("app", "routes", "release", "artifacts", "formation")
)
SLUG, POSTGRES, MYSQL = "slug.tar.gz", "postgres.dump", "mysql.dump"
LAYER = ".layer"
OF_DOCKER = frozenset({"docker-image.tar", "docker-image.json"})

PIECE = 256 * 1024
JSON_BYTES = 16 * 1024 * 1024
"""Of one JSON file. A release's may have 1 MiB of variables; routes come with their certificates."""
HEADER_BYTES = 1024 * 1024
"""Of one long name, which is read at once."""
MEMBERS = 10_000
END = bytes(2 * tarfile.BLOCKSIZE)
SQUASHFS = b"hsqs"

_SHAPES: Mapping[str, type] = {APP: dict, ROUTES: list, RELEASE: dict, ARTIFACTS: list, FORMATION: dict}
_LONG = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)


class Writer:
    """An archive being written, file by file. One without `end` is not whole, and can be told from one that is.

    Args:
        folder: the directory in the tar.
        advance: told how many bytes have been written.
    """

    def __init__(self, file: IO[bytes], folder: str, advance: Callable[[int], None]) -> None:
        self._file = file
        self._folder = folder
        self._advance = advance

    def json(self, name: str, value: object) -> None:
        text = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
        self.add(name, len(text), [text])

    def add(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """Write a file.

        Args:
            size: of all pieces together, in bytes.

        Raises:
            Failure: they came to something else.
        """
        info = tarfile.TarInfo(f"{self._folder}/{name}")
        info.size, info.mode, info.mtime = size, 0o644, int(time.time())
        self._write(info.tobuf(tarfile.GNU_FORMAT))
        written = 0
        for piece in pieces:
            self._write(piece)
            written += len(piece)
        if written != size:
            raise Failure(f"error writing {name}: it has {written} bytes, not the {size} that were announced")
        self._write(bytes(-size % tarfile.BLOCKSIZE))

    def end(self) -> None:
        self._write(END)
        self._file.flush()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._advance(len(data))


class Archive(NamedTuple):
    """An archive that is whole.

    Attributes:
        release, formation: empty when there is none.
        layers: layer id -> the file with its bytes, whose SHA-256 it is.
        slug: the file with the slug; empty when there is none.
        dumps: the name of a dump in the archive -> its file.
        unknown: names of files nobody knows what to do with.
    """

    app: dict[str, Any]
    routes: list[dict[str, Any]]
    release: dict[str, Any]
    artifacts: list[dict[str, Any]]
    formation: dict[str, Any]
    layers: dict[str, str]
    slug: str
    dumps: dict[str, str]
    unknown: tuple[str, ...]

    @property
    def uploads(self) -> list[str]:
        """The files that go to the cluster."""
        return [*self.layers.values(), *([self.slug] if self.slug else []), *self.dumps.values()]


class _Refused(Exception):
    """What no export has in it; the text says which and why."""


class _Header(tarfile.TarInfo):
    """A header that is looked at before any of what it announces is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if not any(buf) and len(buf) == tarfile.BLOCKSIZE:
            return super().frombuf(buf, encoding, errors)  # raises: the end, as it should be
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as exc:  # tarfile takes it for the end, wherever but in front it stands
            raise _Refused("it is damaged" if buf else "it breaks off before its end") from exc
        if header.type in _LONG and header.size > HEADER_BYTES:
            raise _Refused(f"a name of {header.size} bytes")
        return header


def read(stream: IO[bytes], directory: str) -> Archive:
    """Read an archive to its end; what is large in it goes to files in a directory, which get names of ours.

    Raises:
        Failure: it is no export, is not whole, or has something in it that no export has.
    """
    try:
        files = _unpacked(stream, directory)
    except (_Refused, tarfile.TarError, EOFError) as exc:
        raise Failure(f"error reading export tar: {exc}", hint=_HINT) from exc
    if APP not in files:
        raise Failure(f"missing {APP}", hint=_HINT)
    if old := OF_DOCKER & files.keys():
        raise Failure(
            f"cannot import {min(old)}: the image in it is one of a Docker registry",
            hint="create the app, and push the image with 'flynn docker push'",
        )
    documents = {name: _document(files, name, shape) for name, shape in _SHAPES.items()}
    layers = {name.removesuffix(LAYER): path for name, path in files.items() if name.endswith(LAYER)}
    for layer, path in layers.items():
        _check_layer(layer, path)
    if SLUG in files:
        _check_slug(files[SLUG])
    known = {*_SHAPES, SLUG, POSTGRES, MYSQL}
    archive = Archive(
        app=documents[APP],
        routes=documents[ROUTES],
        release=documents[RELEASE],
        artifacts=documents[ARTIFACTS],
        formation=documents[FORMATION],
        layers=layers,
        slug=files.get(SLUG, ""),
        dumps={name: files[name] for name in (POSTGRES, MYSQL) if name in files},
        unknown=tuple(name for name in files if name not in known and not name.endswith(LAYER)),
    )
    _check(archive)
    return archive


_HINT = "it should be a file that 'flynn export' has written to its end"


def _unpacked(stream: IO[bytes], directory: str) -> dict[str, str]:
    """Return where each file of the archive is, by its name without directories."""
    files: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as tar:
        for count, entry in enumerate(tar):
            parts = entry.name.split("/")
            if count >= MEMBERS:
                raise _Refused(f"more than {MEMBERS} files")
            if entry.name.startswith("/") or ".." in parts:
                raise _Refused(f"{entry.name!r} leads out of it")
            if entry.isdir():
                continue
            content = tar.extractfile(entry) if entry.isreg() and not entry.issparse() else None
            if content is None:
                raise _Refused(f"{entry.name!r} is not a file")
            name = parts[-1]
            if name in files and not name.endswith(LAYER):  # layers are checked against their names, each of them
                raise _Refused(f"{name!r} is in it twice")
            if name in _SHAPES and entry.size > JSON_BYTES:
                raise _Refused(f"{name!r} has {entry.size} bytes; no app has so much to say")
            path = os.path.join(directory, str(count))
            with open(path, "wb") as file:
                while piece := content.read(PIECE):
                    file.write(piece)
            if name in files:
                _check_layer(name.removesuffix(LAYER), files[name])
                os.unlink(files[name])
            files[name] = path
    while stream.read(PIECE):  # what is behind the end of the tar; a writer must not find us gone
        pass
    return files


def _document(files: Mapping[str, str], name: str, shape: type) -> Any:
    what = name.removesuffix(".json")
    if name not in files:
        return shape()
    try:
        with open(files[name], "rb") as file:
            value = json.load(file)
    except (ValueError, RecursionError) as exc:
        raise Failure(f"error decoding {what}: {exc}", hint=_HINT) from exc
    if value is None and name != APP:  # Go writes an empty list so
        return shape()
    if not isinstance(value, shape) or (isinstance(value, list) and not all(isinstance(each, dict) for each in value)):
        raise Failure(f"error decoding {what}: it is not what a Flynn export has there", hint=_HINT)
    return value


def _check_layer(layer: str, path: str) -> None:
    with open(path, "rb") as file:
        first = file.read(len(SQUASHFS))
    if first == SQUASHFS:
        raise Failure(
            f"layer {layer} is a SquashFS image, as Flynn itself keeps layers; flynn-aio has tars",
            hint="push the app to this cluster with git, or its image with 'flynn docker push'",
        )
    digest = hashlib.sha256()
    for piece in pieces(path):
        digest.update(piece)
    if digest.hexdigest() != layer:
        raise Failure(f"layer {layer} is damaged: its SHA-256 is {digest.hexdigest()}", hint="export the app again")


def _check_slug(path: str) -> None:
    """Read the slug to the checksum at its end. What is in it the cluster looks at."""
    try:
        with gzip.open(path) as file:
            while file.read(PIECE):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise Failure(f"{SLUG} is damaged: {exc}", hint="export the app again") from exc


def _check(archive: Archive) -> None:
    """See that the parts fit together, so that importing cannot find otherwise in the middle."""
    if not isinstance(archive.app.get("name"), str) or not archive.app["name"]:
        raise Failure("error decoding app: it has no name", hint=_HINT)
    for name in ("env", "meta", "processes"):
        if not isinstance(archive.release.get(name) or {}, dict):
            raise Failure(f"error decoding release: its {name} are no JSON object", hint=_HINT)
    processes = (archive.release.get("processes") or {}).values()
    if not all(isinstance(process, dict) for process in processes):
        raise Failure("error decoding release: a process type is no JSON object", hint=_HINT)
    for artifact in archive.artifacts:
        for layer in layers_of(artifact):
            if layer not in archive.layers:
                raise Failure(f"missing layer in export: {layer}", hint="export the app again")
        if is_slug(artifact) and not archive.slug:
            hint = "export the app with the 'flynn' of flynn-aio: Flynn's own leaves the slugs of such clusters out"
            raise Failure(f"missing {SLUG} in export", hint=hint)


def layers_of(artifact: Mapping[str, Any]) -> list[str]:
    """Return the ids of an artifact's layers, lowest first, where the cluster keeps them.

    Raises:
        Failure: its manifest is none.
    """
    if artifact.get("type") != "flynn" or (artifact.get("meta") or {}).get("blobstore") != "true":
        return []
    try:
        return [str(layer["id"]) for rootfs in artifact["manifest"]["rootfs"] for layer in rootfs["layers"]]
    except (LookupError, TypeError) as exc:
        raise Failure(f"artifact {artifact.get('uri')} has no manifest with layers") from exc


def is_slug(artifact: Mapping[str, Any]) -> bool:
    return str(artifact.get("uri") or "").startswith("slug:")


def pieces(path: str, advance: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Yield a file piece by piece.

    Args:
        advance: told how many bytes have been taken.
    """
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            yield piece
            if advance:
                advance(len(piece))
