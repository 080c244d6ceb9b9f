"""Artifacts: what releases are made of."""

import trio
from msgspec.structs import replace

from ..errors import ValidationError
from ..model import Artifact
from ..store import changes, queries
from .body import read_json
from .download import download_manifest
from .request import Parts, Reply, Request, reply
from .wire import ArtifactRequest, new_artifact


async def list_all(parts: Parts, request: Request) -> Reply:
    """List all artifacts."""
    return reply(await parts.store.read(queries.artifacts))


async def get(parts: Parts, request: Request) -> Reply:
    """Show an artifact."""
    artifact_id = request.uuid("artifact")
    return reply(await parts.store.read(lambda db: queries.artifact(db, artifact_id)))


async def create(parts: Parts, request: Request) -> Reply:
    """Create an artifact, or return the one that has this type and uri already.

    A `slug:` names a directory that will be mounted into jobs, so it must be one of ours. A manifest that was not
    sent is fetched from where the uri says, and must be as long as `size` and have one of the `hashes`.
    """
    artifact = new_artifact(read_json(request, ArtifactRequest))
    if artifact.manifest is None and artifact.slug is None and artifact.image is None:
        artifact = await _with_manifest(parts, artifact)
    if artifact.slug is not None:
        path = trio.Path(parts.settings.slug_dir) / artifact.slug
        if artifact.slug in ("", ".", "..") or path.name != artifact.slug or not await path.is_dir():
            raise ValidationError(f"names the slug {artifact.slug!r}, which does not exist", field="uri")
    return reply(await parts.store.transact(lambda tx: changes.create_artifact(tx, artifact)))


async def _with_manifest(parts: Parts, artifact: Artifact) -> Artifact:
    """Return an artifact with the manifest its uri leads to: the one that is stored, or else what is there."""
    known = await parts.store.read(lambda db: queries.artifact_at(db, artifact))
    if known is not None:
        return replace(artifact, manifest=known.manifest)
    at_most = parts.settings.max_body_bytes
    return replace(
        artifact, manifest=await download_manifest(artifact.uri, artifact.hashes, artifact.size, at_most=at_most)
    )
