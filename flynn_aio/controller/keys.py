"""The controller's keys: who may come in, by name, and who tried to.

A key is made where it is used: what comes here is its hash, so that no key is ever in a request, a
log or the database. Flynn itself keeps keys in the environment of its controller
(``AUTH_KEY=NEW,OLD``); a release is readable, and comes back with a rollback, so keys do not belong there.
"""

import trio
from msgspec import Struct

from ..model import Key, Time
from ..store import Transaction, changes, key_hash, queries
from .body import read_json
from .request import Parts, Reply, Request, reply


class KeyRequest(Struct, frozen=True, kw_only=True):
    """A new key.

    Attributes:
        name: without it one is made up.
        hash: SHA-256 of the key as text, in hexadecimal. Make keys of 128 random bits or more.
    """

    name: str = ""
    hash: str = ""


class KeyUse(Struct, frozen=True, kw_only=True):
    """A key, and what is known of it.

    Attributes:
        last_used_at: when it last let somebody in; ``null`` when not since the appliance started.
        operator: it is the one in the operator's own file, which the commands of `flynn-aio` use.
    """

    name: str
    created_at: Time
    last_used_at: Time | None
    operator: bool


class KeyFailures(Struct, frozen=True, kw_only=True):
    """Wrong keys of one address; of one network for IPv6.

    Attributes:
        count: since it was last quiet for ten minutes.
    """

    address: str
    count: int
    last_at: Time


async def list_all(parts: Parts, request: Request) -> Reply:
    """List the keys: their names and when they were made and used."""
    operators = await _operators(parts)
    keys = await parts.store.read(queries.keys)
    hashes = await parts.store.read(queries.key_hashes)
    return reply(
        [
            KeyUse(
                name=key.name,
                created_at=key.created_at,
                last_used_at=parts.keys.last_used(key.name),
                operator=hashes.get(key.name) == operators,
            )
            for key in keys
        ]
    )


async def create(parts: Parts, request: Request) -> Reply:
    """Accept another key; it works from now on, beside the others."""
    asked = read_json(request, KeyRequest)
    return reply(await parts.store.transact(lambda tx: changes.add_key(tx, asked.name, _bytes(asked.hash))))


async def delete(parts: Parts, request: Request) -> Reply:
    """Accept a key no longer, and end what goes on with it: streams of events and logs, attached jobs, pushes."""
    operators = await _operators(parts)
    name = request.params["key"]

    def change(tx: Transaction) -> Key:
        return changes.remove_key(tx, name, operators=operators)

    removed = await parts.store.transact(change)
    parts.keys.end_sessions(name)
    return reply(removed)


async def list_failures(parts: Parts, request: Request) -> Reply:
    """Show whose keys were wrong lately, the latest first."""
    return reply(
        [
            KeyFailures(address=found.address, count=found.count, last_at=found.last_at)
            for found in parts.keys.failures()
        ]
    )


async def _operators(parts: Parts) -> bytes:
    """Return the hash of the key in the operator's file; the next start makes another when it has vanished."""
    try:
        return key_hash((await trio.Path(parts.settings.operator_key).read_text()).strip())
    except FileNotFoundError:
        return b""


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""  # no hash at all, which the change refuses
