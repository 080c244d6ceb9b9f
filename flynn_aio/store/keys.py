"""Who may come in: keys are kept as hashes and compared in constant time."""

import hashlib
import hmac

from . import queries
from .store import Store


def key_hash(key: str) -> bytes:
    """Return what is stored of a key. Keys are 128 random bits or more, so one round of SHA-256 is enough."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


async def authenticate(store: Store, key: str) -> bool:
    """Tell whether a key is one of ours. Every stored hash is looked at, whichever matches."""
    given = key_hash(key)
    found = False
    for stored in await store.read(queries.key_hashes):
        found |= hmac.compare_digest(stored, given)
    return found
