"""Layers: an image of an app's own, made of the tars people pushed when the first job needs it.

Podman is sent an archive as `docker save` would write it, with the layers streamed from their files,
and keeps the image under a name that follows from its layers: every job made of them shares it, and
two images share the layers below. How a process is run is in its job spec, so the image's own
configuration says nothing but what it is made of.

Podman alone reads the tars, whiteouts and all; what is wrong in one is its to say.
"""

import hashlib
import platform
import tarfile
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import trio

from ..errors import EngineError, StartError
from ..settings import EngineSettings
from .calls import Calls
from .client import Refused, file_pieces
from .containers import is_transient

TAR = "layer.tar"
CONFIG = "config.json"
OUR_FORMAT = "docker-archive: "
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Names of machines, from the kernel's to Go's."""


class LayerImages:
    """The images of one appliance that are made of layers."""

    def __init__(self, settings: EngineSettings, calls: Calls) -> None:
        self._directory = settings.layer_dir
        self._repository = f"localhost/flynn-{settings.appliance}/layers"
        self._calls = calls
        self._making = trio.Lock()

    def name(self, layers: Sequence[str]) -> str:
        """Return what Podman calls the image of these layers, lowest first."""
        return f"{self._repository}:{hashlib.sha256(' '.join(layers).encode()).hexdigest()[:32]}"

    async def ensure(self, layers: Sequence[str], *, doing: str) -> str:
        """Return the name of the image of these layers, and make it if it is missing. One is made at a time.

        Args:
            doing: what it is for, as it continues "cannot …" in an error message.

        Raises:
            StartError: a layer is gone, or is not what Podman takes for one.
            EngineError: it may work on another try.

        Cancellation: Podman may go on making it; the next call finds it or makes it again.
        """
        name = self.name(layers)
        if await self._calls.image_exists(name):
            return name
        async with self._making:
            if not await self._calls.image_exists(name):
                await self._make(name, layers, doing)
        return name

    async def _make(self, name: str, layers: Sequence[str], doing: str) -> None:
        for layer in layers:
            if not await trio.Path(self._directory / layer / TAR).exists():
                raise StartError(f"cannot {doing}: layer {layer} of its image is gone; push the image again")
        try:
            await self._calls.load_image(archive(self._directory, layers, name), image=name)
        except Refused as exc:
            if is_transient(exc.reason):
                raise
            raise StartError(
                f"cannot {doing}: Podman cannot make its image: {why(exc.reason)}; build the image again and push it"
            ) from exc
        except OSError as exc:
            raise EngineError(f"cannot {doing}: reading the layers of its image: {exc.strerror}") from exc

    async def keep(self, wanted: Collection[Sequence[str]]) -> bool:
        """Remove every image made of layers that is not wanted and has no container; return whether one has."""
        kept = {self.name(layers) for layers in wanted}
        unwanted = [name for name in await self._calls.images_of(self._repository) if name not in kept]
        gone = [await self._calls.remove_image(name) for name in unwanted]
        return not all(gone)


def why(reason: str) -> str:
    """Return what was wrong with an archive of ours, of all that Podman says: it tries every format it knows."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    of_ours = [line.partition(OUR_FORMAT)[2] for line in lines if OUR_FORMAT in line]
    return (of_ours or lines or ["it does not say why"])[0]


async def archive(directory: Path, layers: Sequence[str], name: str) -> AsyncIterator[bytes]:
    """Yield an archive with one image, as `docker save` would: layers, configuration, manifest."""
    distinct = list(dict.fromkeys(layers))
    for layer in distinct:
        path = directory / layer / TAR
        size = (await trio.Path(path).stat()).st_size
        yield _header(f"{layer}.tar", size)
        async for piece in file_pieces(path):
            yield piece
        yield _padding(size)
    manifest = [{"Config": CONFIG, "RepoTags": [name], "Layers": [f"{layer}.tar" for layer in layers]}]
    for file, value in ((CONFIG, image_config(layers)), ("manifest.json", manifest)):
        content = msgspec.json.encode(value)
        yield _header(file, len(content)) + content + _padding(len(content))
    yield bytes(2 * tarfile.BLOCKSIZE)


def image_config(layers: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of an image that is nothing but its layers."""
    machine = platform.machine()
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in layers]},
        "history": [{"created_by": "flynn docker push"} for _ in layers],
    }


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
