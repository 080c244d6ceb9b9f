"""Artifacts: what releases are made of."""

import trio

from ..errors import ValidationError
from ..store import changes, queries
from .body import read_json
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

    A `slug:` names a directory that will be mounted into jobs, so it must be one of ours.
    """
    artifact = new_artifact(read_json(request, ArtifactRequest))
    if artifact.slug is not None:
        path = trio.Path(parts.settings.slug_dir) / artifact.slug
        if artifact.slug in ("", ".", "..") or path.name != artifact.slug or not await path.is_dir():
            raise ValidationError(f"names the slug {artifact.slug!r}, which does not exist", field="uri")
    return reply(await parts.store.transact(lambda tx: changes.create_artifact(tx, artifact)))
