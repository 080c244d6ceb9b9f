"""What may not be done to the apps that are this process, and what follows when one's release changes."""

from collections.abc import Mapping

from ...errors import ValidationError
from ...model import SYSTEM_APPS, WHERE_ELSE, App, AppID, Formation, Release, ReleaseID
from .. import queries, rows
from ..transaction import Transaction


def refuse_builtin(tx: Transaction, app_id: AppID, done: str) -> None:
    """Refuse to do something to an app that is a part of this process.

    Args:
        done: what it cannot be, e.g. ``deleted``.

    Raises:
        ValidationError: it is one.
    """
    if queries.is_builtin(tx.db, app_id):
        name = queries.app(tx.db, app_id).name
        raise ValidationError(f"{name} is a part of flynn-aio itself and cannot be {done}")


def check_builtin_release(tx: Transaction, app: App, release: Release) -> None:
    """Refuse a release of a part of this process that would change what nobody reads.

    Raises:
        ValidationError: it differs from the current one in more than the settable variables.
    """
    if not queries.is_builtin(tx.db, app.id) or app.release is None:
        return
    now = queries.release(tx.db, app.release)
    if release.artifacts != now.artifacts or release.processes != now.processes:
        raise ValidationError(
            f"{app.name} is a part of flynn-aio itself: only its environment can be changed; what it needs from this "
            "machine is set in flynn.toml"
        )
    for name in sorted(_changed(now.env, release.env) - SYSTEM_APPS[app.name].settable):
        instead = WHERE_ELSE.get(name, "nothing reads it; the settings of flynn-aio are in flynn.toml")
        raise ValidationError(f"{name} of {app.name} cannot be changed here: {instead}", field="env")


def follow_release(tx: Transaction, app_id: AppID, release_id: ReleaseID) -> None:
    """Bring the formation of a part of this process to its current release: it is what runs, all the time."""
    release = queries.release(tx.db, release_id)
    counts = dict.fromkeys(release.processes, 1)
    found = queries.formations(tx.db, app_id)
    if [(one.release, one.processes) for one in found] == [(release_id, counts)]:
        return
    began = found[0].created_at if found else tx.now
    formation = Formation(app=app_id, release=release_id, processes=counts, created_at=began, updated_at=tx.now)
    tx.execute("DELETE FROM formations WHERE app = ?", (app_id,))
    tx.execute(
        "INSERT INTO formations (app, release, total, doc) VALUES (?, ?, ?, ?)",
        (app_id, release_id, formation.total, rows.doc(formation)),
    )


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> set[str]:
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
