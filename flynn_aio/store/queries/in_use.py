"""What undeleted releases are made of, down to layers and slugs: the rest may be swept."""

from collections.abc import Iterable

from sqlite_utils import Database

from ...model import SYSTEM_IMAGE_META, Artifact, ArtifactID, Time, decode, image_layers
from .. import rows
from .sql import fetch_all


def live_slugs(db: Database) -> set[str]:
    """Return the ids of the slugs that some undeleted release refers to."""
    sql = """SELECT DISTINCT artifacts.doc FROM releases, json_each(releases.doc, '$.artifacts') AS used
             JOIN artifacts ON artifacts.id = used.value
             WHERE releases.deleted_at IS NULL AND artifacts.uri LIKE 'slug:%'"""
    return {slug for (text,) in fetch_all(db, sql) if (slug := rows.artifact(text).slug)}


def new_slugs(db: Database, since: Time) -> set[str]:
    """Return the ids of the slugs whose artifact is no older than that: a release of them may be on its way."""
    found = [rows.artifact(text) for (text,) in fetch_all(db, "SELECT doc FROM artifacts WHERE uri LIKE 'slug:%'")]
    return {one.slug for one in found if one.slug and one.created_at and one.created_at >= since}


def unused_artifacts(db: Database, ids: Iterable[ArtifactID]) -> list[Artifact]:
    """Return those of these artifacts that no undeleted release is made of; never one of the system's."""
    sql = """SELECT doc FROM artifacts WHERE id IN (SELECT value FROM json_each(?))
               AND id NOT IN (SELECT used.value FROM releases, json_each(releases.doc, '$.artifacts') AS used
                              WHERE releases.deleted_at IS NULL)
             ORDER BY seq"""
    found = [rows.artifact(text) for (text,) in fetch_all(db, sql, (rows.doc(sorted(ids)),))]
    return [artifact for artifact in found if artifact.meta.get(SYSTEM_IMAGE_META) != "true"]


def used_layers(db: Database) -> set[str]:
    """Return the ids of the layers that some artifact names."""
    return {layer for artifact in _layered(db).values() for layer in artifact.layers}


def used_images(db: Database) -> set[tuple[str, ...]]:
    """Return what the images of undeleted releases, and of artifacts still without one, are made of.

    Each is the ids of its layers, lowest first.
    """
    layered = _layered(db)
    sql = "SELECT DISTINCT json_extract(doc, '$.artifacts') FROM releases WHERE deleted_at IS NULL"
    found = [decode(text, list[str]) for (text,) in fetch_all(db, sql) if text]
    of_releases = (image_layers(layered[one] for one in ids if one in layered) for ids in found)
    of_artifacts = (tuple(artifact.layers) for artifact in layered.values())
    return {layers for layers in (*of_releases, *of_artifacts) if layers}


def _layered(db: Database) -> dict[str, Artifact]:
    sql = "SELECT id, doc FROM artifacts WHERE json_type(doc, '$.manifest.rootfs') = 'array'"
    return {found: rows.artifact(text) for found, text in fetch_all(db, sql)}
