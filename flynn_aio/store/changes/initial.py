"""The first scaling of an app, by its first push: until one of its jobs is up, it is to be taken back.

Whoever waits for it may be gone before it comes to anything, so what it came to is in the rows: the first job that
is up ends the matter, and so does anybody else who scales or deletes the formation.
"""

from ...model import AppID, ReleaseID
from ..transaction import Transaction
from .formations import create_scale_request, drop_formation


def scale_initially(tx: Transaction, app_id: AppID, release_id: ReleaseID, kind: str) -> None:
    """Have one job of a type, for the time being.

    Raises:
        ValidationError: the release has no such type, or no image.
    """
    create_scale_request(tx, app_id, release_id, {kind: 1}, None)
    tx.execute("INSERT INTO initial_scales (app, release, type) VALUES (?, ?, ?)", (app_id, release_id, kind))


def take_back_initial_scale(tx: Transaction, app_id: AppID, release_id: ReleaseID) -> bool:
    """Forget a formation that nothing came of; return whether it was still the first one. The release stays."""
    if not tx.execute("SELECT 1 FROM initial_scales WHERE app = ? AND release = ?", (app_id, release_id)):
        return False
    drop_formation(tx, app_id, release_id)
    return True


def take_back_initial_scales(tx: Transaction) -> list[AppID]:
    """Forget all such formations, when nobody is left who waits for them; return whose they were."""
    waiting = tx.execute("SELECT app, release FROM initial_scales ORDER BY app")
    return [app_id for app_id, release_id in waiting if take_back_initial_scale(tx, app_id, release_id)]
