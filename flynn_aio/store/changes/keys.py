"""Changes to the controller's keys. Neither rows nor events ever hold a key itself."""

import hmac
import re

from ...errors import Conflict, NotFound, ObjectExists, ValidationError
from ...model import Key
from .. import queries
from ..transaction import Transaction

HASH_BYTES = 32
_NAME = re.compile(r"[a-z\d](?:[a-z\d._-]{0,98}[a-z\d])?")


def add_key(tx: Transaction, name: str, key_hash: bytes) -> Key:
    """Accept another key, given as its SHA-256. An empty name is replaced by one that is new.

    Raises:
        ValidationError: the name cannot be one, or the hash is none.
        ObjectExists: a key has this name, or it is the same key.
    """
    name = name or f"key-{tx.new_id()[-8:]}"
    if not _NAME.fullmatch(name):
        raise ValidationError(
            f"{name!r} is invalid: at most 100 of a-z, 0-9, '.', '_' and '-', letters or digits at both ends",
            field="name",
        )
    if len(key_hash) != HASH_BYTES:
        raise ValidationError("must be the SHA-256 of the key in 64 hexadecimal digits", field="hash")
    known = queries.key_hashes(tx.db)
    if name in known:
        raise ObjectExists(f'key "{name}" already exists')
    if same := [other for other, stored in known.items() if hmac.compare_digest(stored, key_hash)]:
        raise ObjectExists(f'this key already exists, as "{same[0]}"')
    tx.execute("INSERT INTO keys (name, hash, created_at) VALUES (?, ?, ?)", (name, key_hash, str(tx.now)))
    key = Key(name=name, created_at=tx.now)
    tx.emit("key", name, key)
    return key


def remove_key(tx: Transaction, name: str, *, operators: bytes) -> Key:
    """Accept a key no longer.

    Args:
        operators: the hash of the operator's own key, which lies beside the database.

    Raises:
        NotFound: no key has this name.
        Conflict: it is the last one, or the operator's own.
    """
    known = queries.key_hashes(tx.db)
    if name not in known:
        raise NotFound(f"key {name!r} does not exist")
    if hmac.compare_digest(known[name], operators):
        raise Conflict(
            f'key "{name}" is the operator\'s own: `flynn-aio status` and the next start need it; '
            "put a new one in its place with `flynn-aio key rotate`, then remove this one"
        )
    if len(known) == 1:
        raise Conflict(f'key "{name}" is the last one; add another with `flynn-aio key add`, then remove this one')
    [key] = [key for key in queries.keys(tx.db) if key.name == name]
    tx.execute("DELETE FROM keys WHERE name = ?", (name,))
    tx.emit("key_deletion", name, key)
    return key
