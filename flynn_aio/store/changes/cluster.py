"""Changes to the cluster's own values and keys."""

from ...errors import ObjectExists
from ..transaction import Transaction


def set_cluster_value(tx: Transaction, key: str, value: str) -> None:
    """Set one of the cluster's own values, e.g. ``default_domain``."""
    tx.execute(
        "INSERT INTO cluster (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def add_key(tx: Transaction, name: str, key_hash: bytes) -> None:
    """Accept another key, given as its hash.

    Raises:
        ObjectExists: a key has this name.
    """
    if tx.execute("SELECT 1 FROM keys WHERE name = ?", (name,)):
        raise ObjectExists(f'key "{name}" already exists')
    tx.execute("INSERT INTO keys (name, hash, created_at) VALUES (?, ?, ?)", (name, key_hash, str(tx.now)))
