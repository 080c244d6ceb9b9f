"""Changes to the cluster's own values."""

from ..transaction import Transaction


def set_cluster_value(tx: Transaction, key: str, value: str) -> None:
    """Set one of the cluster's own values, e.g. ``default_domain``."""
    tx.execute(
        "INSERT INTO cluster (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
