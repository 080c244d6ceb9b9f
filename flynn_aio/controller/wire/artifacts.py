"""Artifacts: a kind, and a URI that says where it is."""

import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct, field

from ...errors import ValidationError
from ...model import IMAGE_SCHEME, SLUG_SCHEME, Artifact, ArtifactID, as_uuid
from .checks import INT64_MAX, one_of

_BLANK = re.compile(r"[\s\x00-\x1f]")


class ArtifactRequest(Struct, frozen=True, kw_only=True):
    id: str = ""
    type: str = ""
    uri: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    size: int = 0
    layer_url_template: str = ""


def new_artifact(sent: ArtifactRequest) -> Artifact:
    """Check an artifact. Whether its image or slug exists is another question, and so is a manifest it only points to.

    Raises:
        ValidationError: it cannot be one, or it is of a kind that only existed before images.
    """
    one_of(sent.type, ("docker", "file", "flynn"), field="type")
    parsed = _uri(sent.uri)
    if sent.type != "flynn":
        raise ValidationError(
            f"{sent.type} artifacts are not supported any more: push the image with `flynn docker push`", field="type"
        )
    if not 0 <= sent.size <= INT64_MAX:
        raise ValidationError("must be greater than zero", field="size")
    if sent.manifest is None and f"{parsed.scheme}:" not in (IMAGE_SCHEME, SLUG_SCHEME) and sent.size == 0:
        raise ValidationError("must be greater than zero", field="size")
    return Artifact(
        id=ArtifactID(as_uuid(sent.id) or sent.id),
        type=sent.type,
        uri=sent.uri,
        meta=sent.meta,
        manifest=sent.manifest,
        hashes=sent.hashes,
        size=sent.size,
        layer_url_template=sent.layer_url_template,
    )


def _uri(text: str) -> SplitResult:
    try:
        parsed = urlsplit(text)
    except ValueError:
        parsed = SplitResult("", "", "", "", "")
    if not parsed.scheme or _BLANK.search(text):
        raise ValidationError("Value must be a valid URI, according to RFC3986.", field="uri")
    return parsed
