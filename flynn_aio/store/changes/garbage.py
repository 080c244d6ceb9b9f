"""Collecting old releases of slugs: a push makes one each time, and nobody goes back that far.

Source: `deploy.md` §6; Flynn `controller/worker/app_garbage_collection`.
"""

import logging
from collections.abc import Collection, Iterable

from ...errors import FlynnError, ValidationError
from ...model import (
    GC_META,
    SYSTEM_IMAGE_META,
    AppGarbageCollection,
    AppGarbageCollectionEvent,
    AppID,
    Release,
    ReleaseID,
    plain,
)
from .. import queries
from ..transaction import Transaction
from .releases import delete_release

logger = logging.getLogger(__name__)

OFF = "false"
MAX_DIGITS = 9
"""Of the number of slugs kept; Python itself converts no more than 4300."""
SHOWN_CHARS = 40
"""Of a text that is no number, in what is said of it."""


def collect_releases(tx: Transaction, app_id: AppID) -> list[ReleaseID]:
    """Delete the slug releases of an app beyond those it wants to keep, never one that is in use.

    Its `app_garbage_collection` event says which went, or why none could.
    """
    deleted: list[ReleaseID] = []
    error = ""
    try:
        keep = kept_slugs(queries.app(tx.db, app_id).meta)
    except ValidationError as exc:
        keep, error = None, exc.message
    if keep is not None:
        releases = ((release, _slug(tx, release)) for release in queries.app_releases(tx.db, app_id))
        held = _held(tx)
        for release in surplus(releases, keep=keep, active=_active(tx)):
            if release in held:
                continue
            try:
                delete_release(tx, app_id, release)
            except FlynnError as exc:  # the next time tries again
                logger.info("release not collected", extra={"release": release, "reason": exc.message})
            else:
                deleted.append(release)
    collection = AppGarbageCollection(app_id=app_id, deleted_releases=deleted)
    event = AppGarbageCollectionEvent(app_garbage_collection=collection, error=error)
    tx.emit("app_garbage_collection", app_id, plain(event), app=app_id)
    return deleted


def kept_slugs(meta: dict[str, str]) -> int | None:
    """Return how many different slugs nobody uses are kept; ``None``: all of them.

    Raises:
        ValidationError: it is no number.
    """
    text = meta.get(GC_META, OFF)
    if text == OFF:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        shown = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
        raise ValidationError(f'is "{shown}", which is neither a number nor "{OFF}"', field=f"meta.{GC_META}")
    return int(text)


def surplus(
    releases: Iterable[tuple[Release, str | None]], *, keep: int, active: Collection[ReleaseID]
) -> list[ReleaseID]:
    """Return which releases go: once `keep` different slugs were met, every one further back.

    Args:
        releases: newest first, each with its slug; ``None`` when it came from no push.
        active: those with processes wanted; they neither count nor go.
    """
    seen: set[str] = set()
    gone: list[ReleaseID] = []
    for release, slug in releases:
        if slug is None or release.id in active:
            continue
        if len(seen) >= keep:
            gone.append(release.id)
        if slug:
            seen.add(slug)
    return gone


def _slug(tx: Transaction, release: Release) -> str | None:
    """Return the URI of what a push made; ``None`` for a release of anything else."""
    if release.meta.get("git") != "true":
        return None
    own = [one for one in queries.artifacts(tx.db, release.artifacts) if SYSTEM_IMAGE_META not in one.meta]
    return own[-1].uri if own else ""


def _active(tx: Transaction) -> set[ReleaseID]:
    """Return the releases that processes are wanted of, by whichever app."""
    return {release for (release,) in tx.execute("SELECT release FROM formations WHERE total > 0")}


def _held(tx: Transaction) -> set[ReleaseID]:
    """Return the releases that cannot go now: a job still runs, or a deployment or an app points there."""
    found = tx.execute(
        """SELECT release FROM jobs WHERE state != 'down'
           UNION SELECT json_extract(doc, '$.release') FROM apps WHERE deleted_at IS NULL
           UNION SELECT json_extract(doc, '$.old_release') FROM deployments WHERE NOT finished
           UNION SELECT json_extract(doc, '$.new_release') FROM deployments WHERE NOT finished"""
    )
    return {release for (release,) in found}
