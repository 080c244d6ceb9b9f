"""Artifact: something immutable a release is made of: a stack image, a slug, an app's own image.

Its uri tells which: `image:NAME` is an image the engine holds, `slug:ID` a slug directory of ours.
Any other one is an image of its own, made of the layers its manifest names.
"""

from typing import Any

from msgspec import Struct, field

from .ids import ArtifactID
from .json import Time

IMAGE_SCHEME = "image:"
SLUG_SCHEME = "slug:"
SYSTEM_IMAGE_META = "flynn.system-image"


class Artifact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An artifact as the API shows it. `size` is in bytes."""

    id: ArtifactID = ArtifactID("")
    type: str = ""
    uri: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    size: int = 0
    layer_url_template: str = ""
    created_at: Time | None = None

    @property
    def image(self) -> str | None:
        """The engine's name of this image; ``None`` when it is not one."""
        return self.uri.removeprefix(IMAGE_SCHEME) if self.uri.startswith(IMAGE_SCHEME) else None

    @property
    def slug(self) -> str | None:
        """The id of this slug; ``None`` when it is not one."""
        return self.uri.removeprefix(SLUG_SCHEME) if self.uri.startswith(SLUG_SCHEME) else None

    @property
    def layers(self) -> list[str]:
        """The ids of the layers its manifest names, lowest first. A manifest that is none names none."""
        try:
            return [str(layer["id"]) for part in (self.manifest or {})["rootfs"] for layer in part["layers"]]
        except (LookupError, TypeError):
            return []
