"""The one place where state changes: SQLite rows and the events about them.

Words used here:

- *change*: a function of a `Transaction`, in `changes`; its rows and events become durable together.
- *query*: a function of a database, in `queries`, answered from one snapshot.
- *row*: a noun as its table has it: what is asked by in columns, the rest in `doc`.
- *event*: what happened to a noun; the events table is the history.
- *feed*: events as a stream for people and deploy waits (`Store.subscribe`): each once, in order.
- *keyring*: where every door asks whether a key is one of ours; it counts and slows wrong ones.
- *snapshot*: a copy of the whole database of one moment, for a backup.
- *watch*: `Store.changes`, for loops that only need to know *that* something moved.
"""

from sqlite_utils import Database

from . import changes, queries
from .feed import EventFilter, Overflow, Subscription
from .file import DatabaseBroken
from .keys import Failures, Keyring, key_hash, last_hop
from .queries import DeploymentInProgress, Desired, JobRecord
from .store import Store, inline, open_store
from .transaction import Transaction

__all__ = [
    "Database",
    "DatabaseBroken",
    "DeploymentInProgress",
    "Desired",
    "EventFilter",
    "Failures",
    "JobRecord",
    "Keyring",
    "Overflow",
    "Store",
    "Subscription",
    "Transaction",
    "changes",
    "inline",
    "key_hash",
    "last_hop",
    "open_store",
    "queries",
]
