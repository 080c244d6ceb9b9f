"""`flynn-aio key`: who may come in. Keys are made here, and only their hashes go anywhere.

While the appliance runs it is asked to change them, since it alone writes its database; while it is
down they are changed in the database itself, under the lock that keeps an appliance from starting meanwhile.
"""

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import trio

from .bootstrap import BootError, claimed, cluster_key, key_file, running_pid
from .certificates import write_private
from .clock import SystemClock
from .errors import NotFound
from .local import LocalApi, https_port, open_api, state_of
from .model import plain
from .settings import Settings
from .store import Transaction, changes, key_hash, open_store, queries
from .up import entry, log_file, tell
from .user import ClusterEntry, User, register_cluster

T = TypeVar("T")

KEY_BYTES = 16


class Keys(Protocol):
    """The controller's keys, wherever they can be had right now. A key is a JSON object with a `name`."""

    def list(self) -> list[dict[str, Any]]: ...
    def add(self, name: str, key: str) -> str:
        """Accept a key from now on; return the name it got."""

    def remove(self, name: str) -> None: ...


class _Running:
    """Those of a running appliance."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def list(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.ask("GET", "/keys")
        return found

    def add(self, name: str, key: str) -> str:
        return str(self._api.ask("POST", "/keys", {"name": name, "hash": key_hash(key).hex()})["name"])

    def remove(self, name: str) -> None:
        if name not in {key["name"] for key in self.list()}:
            raise _unknown(name)
        self._api.ask("DELETE", f"/keys/{quote(name, safe='')}")


class _Stopped:
    """Those in the database of an appliance that is down."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def list(self) -> list[dict[str, Any]]:
        def look(tx: Transaction) -> list[dict[str, Any]]:
            operators, hashes = self._operators(), queries.key_hashes(tx.db)
            return [
                {**plain(key), "last_used_at": None, "operator": hashes[key.name] == operators}
                for key in queries.keys(tx.db)
            ]

        return self._change(look)

    def add(self, name: str, key: str) -> str:
        return self._change(lambda tx: changes.add_key(tx, name, key_hash(key))).name

    def remove(self, name: str) -> None:
        try:
            self._change(lambda tx: changes.remove_key(tx, name, operators=self._operators()))
        except NotFound as exc:
            raise _unknown(name) from exc

    def _operators(self) -> bytes:
        return key_hash(cluster_key(self._settings))

    def _change(self, change: Callable[[Transaction], T]) -> T:
        async def run() -> T:
            async with open_store(self._settings.store, SystemClock()) as store:
                return await store.transact(change)

        return trio.run(run)


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no key {name!r}; `flynn-aio key list` has them all")


@contextmanager
def _opened(settings: Settings) -> Iterator[Keys]:
    """Have the keys at hand while the block runs.

    Raises:
        BootError: there is no cluster yet, or the appliance has not come up yet.
    """
    if not (settings.store.path.exists() and key_file(settings).exists()):
        raise BootError(f"there is no cluster in {settings.data_dir} yet; type: flynn-aio up")
    pid = running_pid(settings.data_dir)
    if pid is None:
        with claimed(settings.data_dir):
            yield _Stopped(settings)
        return
    state = state_of(settings, pid)
    if state is None:
        raise BootError(
            f"the appliance (pid {pid}) has not said ready yet; try again in a while, or see {log_file(settings)}"
        )
    with open_api(settings, state) as api:
        yield _Running(api)


def _told(command: Callable[[], None]) -> int:
    """Run a command; say in a line what was expected to be able to go wrong. Return the exit code."""
    try:
        command()
    except PermissionError as exc:
        print(f"error: {exc.filename} is not yours to read; type: sudo flynn-aio key …", file=sys.stderr)
        return 1
    except BaseException as exc:
        tell(exc)
        return 1
    return 0


def add(settings: Settings, name: str, *, as_json: bool) -> int:
    """Make a key and print it, this once; return the exit code.

    Args:
        name: without it one is made up.
    """

    def command() -> None:
        key = secrets.token_hex(KEY_BYTES)
        with _opened(settings) as keys:
            given = keys.add(name, key)
        line = _add_line(entry(settings, https_port(settings)), key)
        if as_json:
            print(json.dumps({"name": given, "key": key, "cluster_add": line}, indent=2))
            return
        print(f"{key}\n\nThe key {given} works from now on; it is shown only here. On the machine it is for:\n{line}")

    return _told(command)


def show(settings: Settings, *, as_json: bool) -> int:
    """Print the keys, oldest first, and since when each was not used; return the exit code."""

    def command() -> None:
        with _opened(settings) as keys:
            found = keys.list()
            running = isinstance(keys, _Running)
        if as_json:
            print(json.dumps(found, indent=2))
            return
        never = "not since the start" if running else "unknown: the appliance is down"
        rows = [("NAME", "CREATED", "LAST USED", "")]
        for key in found:
            used = _moment(key["last_used_at"]) if key["last_used_at"] else never
            rows.append((key["name"], _moment(key["created_at"]), used, "the operator's" if key["operator"] else ""))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=False))
            print("  ".join((*cells, row[3])).rstrip())

    return _told(command)


def remove(settings: Settings, name: str) -> int:
    """Accept a key no longer; return the exit code."""

    def command() -> None:
        with _opened(settings) as keys:
            keys.remove(name)
        print(f"the key {name} opens nothing any more")

    return _told(command)


def rotate(settings: Settings, name: str, *, user: User | None, as_json: bool) -> int:
    """Put a new key in the place of the operator's own; the old one goes on working until it is removed.

    First the new one is accepted, then the file is replaced: whatever ends this in the middle leaves a key in the
    file that works.

    Args:
        user: whose `~/.flynnrc` moves on to the new key; ``None`` for nobody's.
    """

    def command() -> None:
        old, key = cluster_key(settings) if key_file(settings).exists() else "", secrets.token_hex(KEY_BYTES)
        with _opened(settings) as keys:
            before = next((one["name"] for one in keys.list() if one["operator"]), "")
            given = keys.add(name or f"cluster-{secrets.token_hex(4)}", key)
            try:
                write_private(key_file(settings), f"{key}\n".encode())
            except OSError as exc:
                keys.remove(given)
                raise BootError(
                    f"writing {key_file(settings)}: {exc.strerror}; the old key stays the operator's"
                ) from exc
        found = entry(settings, https_port(settings))
        line = _add_line(found, key, force=True)
        problem = register_cluster(user, found, old_key=old) if user else None
        if as_json:
            print(json.dumps({"name": given, "key": key, "cluster_add": line, "before": before}, indent=2))
        else:
            print(f"The operator's key is now {given}. Wherever the old one is in use:\n{line}\n")
            print(
                f"{before or 'The old one'} works as before. When `flynn-aio key list` shows it unused, take it away:\n"
                f"flynn-aio key remove {before or 'NAME'}"
            )
        if problem:
            print(f"warning: {problem}", file=sys.stderr)

    return _told(command)


def _add_line(found: ClusterEntry, key: str, *, force: bool = False) -> str:
    return f"flynn cluster add {'--force ' if force else ''}-p {found.pin} default {found.domain} {key}"


def _moment(text: str) -> str:
    return text[:19].replace("T", " ").rstrip("Z")
