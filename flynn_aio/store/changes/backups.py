"""Changes to the record of backups. Who makes one is the controller.

Source: `controller-api.md` §5.1; Flynn `controller/backup.go`.
"""

from msgspec.structs import replace

from ...errors import Conflict
from ...model import BackupStatus, ClusterBackup
from .. import queries, rows
from ..transaction import Transaction

INTERRUPTED = "flynn-aio stopped before the backup was complete"


def begin_backup(tx: Transaction) -> ClusterBackup:
    """Write down that a backup is being made.

    Raises:
        Conflict: another one is: each needs room for a copy of the database.
    """
    if running := queries.running_backups(tx.db):
        raise Conflict(f"backup {running[0].id} is being made; wait for its end")
    backup = ClusterBackup(id=tx.new_id(), status=BackupStatus.RUNNING, created_at=tx.now, updated_at=tx.now)
    tx.execute("INSERT INTO backups (id, status, doc) VALUES (?, ?, ?)", (backup.id, backup.status, rows.doc(backup)))
    tx.emit("cluster_backup", backup.id, backup)
    return backup


def finish_backup(tx: Transaction, backup_id: str, *, sha512: str = "", size: int = 0, error: str = "") -> None:
    """Write down how a backup ended.

    Args:
        sha512, size: of what was sent, in hex and in bytes.
        error: why it is of no use; empty when it is complete.
    """
    backup = replace(
        queries.backup(tx.db, backup_id),
        status=BackupStatus.ERROR if error else BackupStatus.COMPLETE,
        sha512="" if error else sha512,
        size=0 if error else size,
        error=error,
        updated_at=tx.now,
        completed_at=tx.now,
    )
    tx.execute("UPDATE backups SET status = ?, doc = ? WHERE id = ?", (backup.status, rows.doc(backup), backup_id))
    tx.emit("cluster_backup", backup_id, backup)


def end_interrupted_backups(tx: Transaction) -> None:
    """Give up the backups of an earlier life: who received them is gone."""
    for backup in queries.running_backups(tx.db):
        finish_backup(tx, backup.id, error=INTERRUPTED)
