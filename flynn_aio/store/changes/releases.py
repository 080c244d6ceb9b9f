"""Changes to artifacts and releases. Both are only ever created and forgotten."""

from collections.abc import Callable, Container, Sequence

from msgspec.structs import replace

from ...errors import NotFound, ObjectExists, ValidationError
from ...model import (
    BLOBSTORE_META,
    App,
    AppID,
    Artifact,
    ArtifactID,
    Release,
    ReleaseID,
    as_uuid,
    blobs,
    filled,
    plain,
)
from .. import queries, rows
from ..transaction import Transaction
from .builtin import check_builtin_release, follow_release
from .formations import drop_formation


def create_artifact(tx: Transaction, artifact: Artifact) -> Artifact:
    """Create an artifact, or return the one that has its type and uri already."""
    if artifact.id and as_uuid(artifact.id) is None:
        raise ValidationError("must be a UUID", field="id")
    if same := queries.artifact_at(tx.db, artifact):
        created = same
    else:
        created = replace(artifact, id=ArtifactID(artifact.id or tx.new_id()), created_at=tx.now)
        if tx.execute("SELECT 1 FROM artifacts WHERE id = ?", (created.id,)):
            raise ObjectExists(f'artifact "{created.id}" already exists')
        tx.execute(
            "INSERT INTO artifacts (id, type, uri, doc) VALUES (?, ?, ?, ?)",
            (created.id, created.type, created.uri, rows.doc(created)),
        )
    tx.emit("artifact", created.id, created)
    return created


def create_release(tx: Transaction, release: Release) -> Release:
    """Create a release; missing resources of its process types get their defaults.

    The legacy `artifact` stands for `artifacts` when that is empty; `created_at` is ours.

    Raises:
        ValidationError: it cannot be one, or would change of a part of this process what nobody reads.
    """
    return add_release(tx, release, check=check_builtin_release)


def add_release(
    tx: Transaction, release: Release, *, check: Callable[[Transaction, App, Release], None] | None = None
) -> Release:
    """Create a release; whether its app may have it is for `check` to say."""
    if release.id and as_uuid(release.id) is None:
        raise ValidationError("must be a UUID", field="id")
    if as_uuid(release.app_id) is None:
        raise ValidationError("must be the UUID of an app", field="app_id")
    app = queries.app(tx.db, release.app_id)
    _check_env(release)
    wanted = release.artifacts or ([release.artifact] if release.artifact else [])
    for artifact_id in wanted:
        if not tx.execute("SELECT 1 FROM artifacts WHERE id = ?", (artifact_id,)):
            raise ValidationError(f"contains {artifact_id!r}, which does not exist", field="artifacts")
    stored = replace(
        release,
        id=ReleaseID(release.id or tx.new_id()),
        app_id=app.id,
        artifacts=wanted,
        artifact=None,
        processes={name: filled(process) for name, process in release.processes.items()},
        created_at=tx.now,
    )
    if check:
        check(tx, app, stored)
    if tx.execute("SELECT 1 FROM releases WHERE id = ?", (stored.id,)):
        raise ObjectExists(f'release "{stored.id}" already exists')
    tx.execute("INSERT INTO releases (id, app, doc) VALUES (?, ?, ?)", (stored.id, app.id, rows.doc(stored)))
    created = queries.release(tx.db, stored.id)
    tx.emit("release", created.id, created, app=app.id)
    return created


def _check_env(release: Release) -> None:
    for env in (release.env, *(process.env for process in release.processes.values())):
        if "" in env:
            raise ValidationError(
                f'you can\'t create an env var with an empty key (tried to set ""="{env[""]}")', field="env"
            )


def set_app_release(tx: Transaction, app_id: AppID, release_id: ReleaseID) -> Release:
    """Make a release the current one. Only the pointer moves; nothing is scaled."""
    app, release = queries.app(tx.db, app_id), queries.release(tx.db, release_id)
    check_builtin_release(tx, app, release)
    point_at_release(tx, app, release)
    if queries.is_builtin(tx.db, app_id):
        follow_release(tx, app_id, release_id)
    return release


def point_at_release(tx: Transaction, app: App, release: Release) -> None:
    """Move an app's pointer, unchecked."""
    body: dict[str, object] = {"release": plain(release)}
    if app.release is not None:
        body = {"prev_release": plain(queries.release(tx.db, app.release))} | body
    moved = replace(app, release=release.id, updated_at=tx.now)
    tx.execute("UPDATE apps SET doc = ? WHERE id = ?", (rows.doc(moved), app.id))
    tx.emit("app_release", release.id, body, app=app.id)


def delete_release(tx: Transaction, app_id: AppID, release_id: ReleaseID) -> None:
    """Delete a release of an app, or, while other apps use it, only the app's formation of it.

    The `release_deletion` event says which, and what else goes: the artifacts no other release is
    made of, and the layers no other artifact has. Their rows go here, so nothing ever refers to a
    file that is not there; the files are swept afterwards, by whoever keeps them.

    Raises:
        ValidationError: it is the app's current release, or the one a deployment may go back to.
    """
    app, release = queries.app(tx.db, app_id), queries.release(tx.db, release_id)
    if release.app_id != app_id and queries.find_formation(tx.db, app_id, release_id) is None:
        raise NotFound(f"app {app.name!r} has no release {release_id!r}")
    if app.release == release_id:
        raise ValidationError("cannot delete current app release")
    unfinished = queries.unfinished_deployment(tx.db, app_id)
    if unfinished and queries.deployment(tx.db, unfinished).old_release == release_id:
        raise ValidationError(
            f"cannot delete release {release_id} while deployment {unfinished} may go back to it; wait for its end"
        )
    drop_formation(tx, app_id, release_id)
    others = [other for (other,) in tx.execute(f"{_users(':release')} ORDER BY app", {"release": release_id})]
    files: list[str] = []
    if not others:
        files = _drop(tx, [release])
    deletion = {"app": app_id, "release": release_id, "remaining_apps": others or None, "deleted_files": files or None}
    tx.emit("release_deletion", release_id, {"release_deletion": plain(deletion), "error": ""}, app=app_id)


def drop_orphaned_releases(tx: Transaction) -> list[Release]:
    """Delete every release whose app is deleted and which no app uses; return them, newest first."""
    found = tx.execute(
        f"""SELECT releases.doc FROM releases JOIN apps AS owner ON owner.id = releases.app
            WHERE releases.deleted_at IS NULL AND owner.deleted_at IS NOT NULL
              AND NOT EXISTS ({_users("releases.id")})
            ORDER BY releases.seq DESC"""
    )
    orphaned = [rows.release(text) for (text,) in found]
    _drop(tx, orphaned)
    return orphaned


def _users(release: str) -> str:
    """Return the query for the apps that need a release: they have a formation of it, or it is their current one."""
    return f"""SELECT formations.app AS app FROM formations WHERE formations.release = {release}
               UNION SELECT apps.id FROM apps
                     WHERE apps.deleted_at IS NULL AND json_extract(apps.doc, '$.release') = {release}"""


def _drop(tx: Transaction, releases: Sequence[Release]) -> list[str]:
    """Delete releases with the artifacts that only they are made of; return the URIs of the files these had."""
    for release in releases:
        tx.execute("UPDATE releases SET deleted_at = ? WHERE id = ?", (str(tx.now), release.id))
    parts = {artifact_id for release in releases for artifact_id in release.artifacts}
    lost = queries.unused_artifacts(tx.db, parts)
    for artifact in lost:
        tx.execute("DELETE FROM artifacts WHERE id = ?", (artifact.id,))
    kept = queries.used_layers(tx.db)
    return list(dict.fromkeys(uri for artifact in lost for uri in _files(artifact, kept)))


def _files(artifact: Artifact, kept: Container[str]) -> list[str]:
    """Return what goes with an artifact: a slug, or a manifest and the layers nobody else has."""
    if artifact.slug is not None:
        return [artifact.uri]
    if artifact.meta.get(BLOBSTORE_META) != "true":
        return []
    return [artifact.uri, *(url for layer, url in blobs(artifact).items() if layer not in kept)]
