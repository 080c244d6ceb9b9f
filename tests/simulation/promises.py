"""Promises: what acknowledged operations have made true, and whether it still is.

A promise is a key and what the rows must say there. Another operation on the same key replaces it; one that was
cut off before it was acknowledged may have happened or not, so nothing is known then.
"""

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlite_utils import Database

from flynn_aio.errors import NotFound
from flynn_aio.model import AppID, Deployment, DeploymentStatus
from flynn_aio.store import queries

from .history import Violation

Key = tuple[str, ...]
GONE = None


class Promises:
    """What must be true.

    Attributes:
        undisturbed: the unfinished deployments in whose course nobody else scales, by app.
    """

    def __init__(self) -> None:
        self._kept: dict[Key, Any] = {}
        self._moving: dict[AppID, Deployment] = {}
        self.undisturbed: dict[AppID, Deployment] = {}

    @contextmanager
    def changing(self, *keys: Key) -> Iterator[None]:
        """An operation on these keys: cut off inside, it leaves them unknown. Refused, it leaves them as they were."""
        try:
            yield
        except Exception:
            raise
        except BaseException:
            for key in keys:
                self._forget(key)
            raise

    def keep(self, key: Key, value: Any) -> None:
        """From now on this is so."""
        self._kept[key] = value

    def keep_counts(self, app: AppID, release: str, counts: Mapping[str, int]) -> None:
        """A formation was given these counts. What the steps of a deployment change is nobody's promise."""
        if app not in self._moving:
            for kind, count in counts.items():
                self.keep(("count", app, release, kind), count)

    def disturb(self, app: AppID) -> None:
        """Somebody else changes formations of the app: how its deployment leaves them is not to be foreseen."""
        self.undisturbed.pop(app, None)

    def begun(self, deployment: Deployment) -> None:
        """A deployment is under way."""
        self._forget(("count", deployment.app))
        self._moving[deployment.app] = self.undisturbed[deployment.app] = deployment

    def ended(self, app: AppID, deployment: str, status: DeploymentStatus, types: Container[str]) -> None:
        """A deployment is over: its release has what the old one had, or all is as it was.

        Args:
            types: those of its release.
        """
        self.keep(("deployment", deployment), status)
        moving, undisturbed = self._moving.pop(app, None), self.undisturbed.pop(app, None)
        complete = status is DeploymentStatus.COMPLETE
        if moving and complete:
            self.keep(("current", app), moving.new_release)
        if undisturbed:
            counts = undisturbed.processes or {}
            new = {kind: count if complete and kind in types else 0 for kind, count in counts.items()}
            self.keep_counts(app, undisturbed.new_release, new)
            if undisturbed.old_release:
                self.keep_counts(app, undisturbed.old_release, dict.fromkeys(counts, 0) if complete else counts)

    def deleted(self, app: AppID) -> None:
        """An app is gone, and all that was promised of it."""
        for table in (self._moving, self.undisturbed):
            table.pop(app, None)
        for key in [key for key in self._kept if app in key]:
            del self._kept[key]

    def check(self, db: Database) -> None:
        """Compare all of them with the rows.

        Raises:
            Violation: one was broken.
        """
        for key, value in self._kept.items():
            stored = _stored(db, key)
            if stored != value:
                raise Violation(
                    f"a lost acknowledgement: {' '.join(key)} was promised to be {value!r}, and is {stored!r}"
                )

    def _forget(self, prefix: Key) -> None:
        for key in [key for key in self._kept if key[: len(prefix)] == prefix]:
            del self._kept[key]


def _stored(db: Database, key: Key) -> Any:
    try:
        match key:
            case ("app", app):
                found = queries.app(db, AppID(app))
                return found.name, found.strategy, found.deploy_timeout
            case ("current", app):
                return queries.app(db, AppID(app)).release
            case ("count", app, release, kind):
                formation = queries.find_formation(db, AppID(app), release)
                return formation.processes.get(kind, 0) if formation else 0
            case ("release", _, release):
                return queries.release(db, release).id
            case ("decommissioned", app, volume):
                return queries.volume(db, AppID(app), volume).decommissioned_at is not None
            case ("deployment", deployment):
                return queries.deployment(db, deployment).status
            case ("one-off", job):
                return queries.job(db, job).uuid
    except NotFound:
        return GONE
    raise AssertionError(f"no such promise: {key}")
