"""Artifacts by id, and by what they are."""

from collections.abc import Iterable

from sqlite_utils import Database

from ...model import Artifact, ArtifactID
from .. import rows
from .sql import fetch_all, fetch_one


def artifact(db: Database, artifact_id: str) -> Artifact:
    return rows.artifact(
        fetch_one(db, "artifact", artifact_id, "SELECT doc FROM artifacts WHERE id = ?", (artifact_id,))[0]
    )


def artifact_at(db: Database, like: Artifact) -> Artifact | None:
    """Return the artifact of the same type and uri; ``None`` when there is none."""
    found = fetch_all(db, "SELECT doc FROM artifacts WHERE type = ? AND uri = ?", (like.type, like.uri))
    return rows.artifact(found[0][0]) if found else None


def artifacts(db: Database, ids: Iterable[ArtifactID] | None = None) -> list[Artifact]:
    """Return the artifacts with these ids, in their order; without ids all of them."""
    if ids is None:
        return [rows.artifact(text) for (text,) in fetch_all(db, "SELECT doc FROM artifacts ORDER BY seq DESC")]
    return [artifact(db, artifact_id) for artifact_id in ids]


def artifacts_by_id(db: Database, ids: Iterable[ArtifactID]) -> dict[ArtifactID, Artifact]:
    sql = "SELECT id, doc FROM artifacts WHERE id IN (SELECT value FROM json_each(?))"
    return {ArtifactID(found): rows.artifact(text) for found, text in fetch_all(db, sql, (rows.doc(list(ids)),))}
