"""What `docker save` and `podman save` write, read as one image: its layers as files, and how it is run.

The archive comes in two layouts. Docker's own has a `manifest.json`; older Dockers put each layer into a directory,
newer ones and Podman name it after its digest, and a layer that occurs twice may be a link to the first. OCI's has an
`index.json` that leads to the same by way of digests. Newer Dockers write both at once.

Nothing is unpacked under a name of the archive's: each file gets a number.

Source: Flynn `cli/docker.go`; the OCI Image Layout.
"""

import json
import os
import posixpath
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from typing import IO, Any, NamedTuple

from .failure import Failure

TOOLS = ("docker", "podman")
INDEX_DEPTH = 4
"""An index may lead to another one, not for ever."""


class Layer(NamedTuple):
    """A layer: the SHA-256 of its tar, and the file it is in, which may be compressed."""

    id: str
    path: str

    @property
    def size(self) -> int:
        return os.stat(self.path).st_size


class Image(NamedTuple):
    """An image, and how it wants to be run; `layers` are lowest first."""

    layers: tuple[Layer, ...]
    args: list[str]
    env: dict[str, str]
    workdir: str
    stop_signal: str = ""


def find_tool(image: str) -> str:
    """Return the tool that has an image: `docker`, or else `podman`.

    Raises:
        Failure: none of them has it, or is there.
    """
    reasons = []
    for tool in TOOLS:
        if shutil.which(tool):
            asked = [tool, "image", "inspect", "--format", "{{.Id}}", image]
            done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return tool
            said = done.stderr.strip().splitlines()
            reasons.append(f"{tool}: {said[-1] if said else f'status {done.returncode}'}")
    if not reasons:
        raise Failure("Neither 'docker' nor 'podman' was found.", hint="install one of them, or push with git")
    raise Failure(f"image {image} not found: {'; '.join(reasons)}", hint=f"build it, or get it with: {TOOLS[0]} pull")


def images() -> list[str]:
    """Return the names of the images that the tools have."""
    names: dict[str, None] = {}
    for tool in filter(shutil.which, TOOLS):
        asked = [tool, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
        done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        names |= dict.fromkeys(line for line in done.stdout.splitlines() if "<none>" not in line)
    return list(names)


def exported(tool: str, image: str, directory: str, advance: Callable[[int], None]) -> Image:
    """Have a tool export an image into a directory.

    Args:
        advance: told how many bytes have come.

    Raises:
        Failure: the tool failed, or what it wrote is not one image.
    """
    with subprocess.Popen([tool, "save", image], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        try:
            files, broken = unpacked(_Counted(saving.stdout, advance), directory), None
        except tarfile.TarError as exc:
            files, broken = {}, exc
        except BaseException:
            saving.kill()
            raise
    if saving.returncode:
        raise Failure(f"'{tool} save {image}' ended with status {saving.returncode}")
    if broken is not None:
        raise Failure(f"error extracting {tool} save output: {broken}")
    try:
        return read(files)
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise Failure(f"error loading docker manifest: '{tool} save' wrote something unknown ({exc!r})") from exc


class _Counted:
    """A stream to read, and somebody who is told how much was."""

    def __init__(self, stream: IO[bytes], advance: Callable[[int], None]) -> None:
        self._stream = stream
        self._advance = advance

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._advance(len(data))
        return data


def unpacked(stream: Any, directory: str) -> dict[str, str]:
    """Write the files of a tar stream into a directory; return where each of them is, by its name in the tar."""
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            name = posixpath.normpath(entry.name)
            if entry.issym():
                links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), entry.linkname))
            elif entry.islnk():
                links[name] = posixpath.normpath(entry.linkname)
            elif (content := tar.extractfile(entry)) is not None:
                files[name] = os.path.join(directory, str(len(files)))
                with open(files[name], "wb") as file:
                    shutil.copyfileobj(content, file, 256 * 1024)
    while stream.read(256 * 1024):  # what is behind the end of the tar; a writer must not find us gone
        pass
    return files | {name: files[target] for name, target in links.items() if target in files}


def read(files: dict[str, str]) -> Image:
    """Return the image in an unpacked archive.

    Args:
        files: where each file is, by its name in the archive.

    Raises:
        Failure: there is not exactly one image, or a part of it is missing.
        LookupError, TypeError, ValueError, AttributeError: it is none of the layouts.
    """
    if "manifest.json" in files:
        manifests = _json(files, "manifest.json")
        if len(manifests) != 1:
            raise Failure(f"error loading docker manifest: expected 1 docker manifest, got {len(manifests)}")
        config, names = manifests[0]["Config"], manifests[0]["Layers"] or []
    else:
        config, names = _by_digest(files)
    document = _json(files, config)
    settings = document.get("config") or {}
    return Image(
        layers=_layers(files, names, document["rootfs"]["diff_ids"] or []),
        args=[*(settings.get("Entrypoint") or []), *(settings.get("Cmd") or [])],
        env=dict(each.split("=", 1) for each in settings.get("Env") or [] if "=" in each),
        workdir=settings.get("WorkingDir") or "",
        stop_signal=settings.get("StopSignal") or "",
    )


def _layers(files: dict[str, str], names: Sequence[str], diff_ids: Sequence[str]) -> tuple[Layer, ...]:
    if len(names) != len(diff_ids):
        raise Failure(f"error loading docker image config: it has {len(diff_ids)} diff IDs for {len(names)} layers")
    layers = []
    for name, diff_id in zip(names, diff_ids, strict=True):
        algorithm, _, digest = diff_id.partition(":")
        if algorithm != "sha256" or not digest:
            raise Failure(f"invalid diff ID: {diff_id}")
        layers.append(Layer(digest, files[posixpath.normpath(name)]))
    return tuple(layers)


def _by_digest(files: dict[str, str]) -> tuple[str, list[str]]:
    """Return the names of the configuration and of the layers in an OCI layout."""
    document = _json(files, "index.json")
    for _ in range(INDEX_DEPTH):
        if "manifests" not in document:
            return _blob(document["config"]), [_blob(layer) for layer in document["layers"]]
        here = [each for each in document["manifests"] if _blob(each) in files]
        if len(here) != 1:
            raise Failure(f"error loading docker manifest: expected 1 docker manifest, got {len(here)}")
        document = _json(files, _blob(here[0]))
    raise Failure("error loading docker manifest: its index leads nowhere")


def _blob(descriptor: dict[str, Any]) -> str:
    return f"blobs/{str(descriptor['digest']).replace(':', '/', 1)}"


def _json(files: dict[str, str], name: str) -> Any:
    with open(files[posixpath.normpath(name)], "rb") as file:
        return json.load(file)
