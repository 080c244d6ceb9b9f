"""Image manifest: how an image made of layers is run, and which layers it is made of, lowest first.

Source: `controller-api.md` §3; Flynn `controller/types/types.go`, `ImageManifest`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from .artifact import Artifact
from .json import plain

MANIFEST_TYPE = "application/vnd.flynn.image.manifest.v1+json"
LAYER_TYPE = "application/vnd.flynn.image.squashfs.v1"
"""What Flynn's clients know a layer by; here it stays the tar it came as."""
FLYNN_TYPE = "flynn"
BLOBSTORE_META = "blobstore"
"""On artifacts whose manifest and layers are ours to keep, and go with their last release."""
BLOBSTORE_URL = "http://blobstore.discoverd/tarreceive"
LAYER_URL_TEMPLATE = f"{BLOBSTORE_URL}/layers/{{id}}.tar"

_LAYER_ID = re.compile(r"[0-9a-f]{64}")


class ImageEntrypoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an image wants to be run; `stop_signal` is Docker's `STOPSIGNAL` and not in Flynn."""

    env: dict[str, str] = field(default_factory=dict)
    cwd: str = ""
    args: list[str] = field(default_factory=list)
    linux_capabilities: list[str] = field(default_factory=list)
    uid: int | None = None
    gid: int | None = None
    stop_signal: str = ""


class ImagePlatform(Struct, frozen=True, kw_only=True, omit_defaults=True):
    architecture: str = ""
    os: str = ""


class ImageLayer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A layer: `id` is the SHA-256 of its tar in hex, `length` the tar's size in bytes."""

    id: str = ""
    type: str = ""
    length: int = 0
    hashes: dict[str, str] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)


class ImageRootfs(Struct, frozen=True, kw_only=True, omit_defaults=True):
    platform: ImagePlatform | None = None
    layers: list[ImageLayer] = field(default_factory=list)


class ImageManifest(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"type": "_type"}):
    type: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    entrypoints: dict[str, ImageEntrypoint] = field(default_factory=dict)
    rootfs: list[ImageRootfs] = field(default_factory=list)

    @property
    def layers(self) -> list[str]:
        """The ids of all layers, lowest first."""
        return [layer.id for rootfs in self.rootfs for layer in rootfs.layers]


def is_layer_id(text: str) -> bool:
    return bool(_LAYER_ID.fullmatch(text))


def canonical(manifest: Mapping[str, Any]) -> bytes:
    """Return a manifest's canonical JSON: keys sorted, no blanks."""
    return msgspec.json.encode(manifest, order="sorted")


def image_artifact(manifest: ImageManifest) -> Artifact:
    """Return an image whose layers we have as an artifact; the same image always gives the same uri."""
    document = {"_type": manifest.type, **plain(manifest)}
    content = canonical(document)
    digest = hashlib.new("sha512_256", content).hexdigest()
    return Artifact(
        type=FLYNN_TYPE,
        uri=f"{BLOBSTORE_URL}/images/{digest}.json",
        meta={BLOBSTORE_META: "true"},
        manifest=document,
        hashes={"sha512_256": digest},
        size=len(content),
        layer_url_template=LAYER_URL_TEMPLATE,
    )


def image_layers(artifacts: Iterable[Artifact]) -> tuple[str, ...]:
    """Return the ids of the layers that artifacts come to, lowest first; none when they are no layers."""
    return tuple(layer for artifact in artifacts for layer in artifact.layers)


def blobs(artifact: Artifact) -> dict[str, str]:
    """Return where the layers of a blobstore artifact can be had: id -> URL."""
    if artifact.meta.get(BLOBSTORE_META) != "true":
        return {}
    return {layer: artifact.layer_url_template.replace("{id}", layer) for layer in artifact.layers}
