"""First boot: directories, the cluster key, certificates, the domain, system apps.

Every step looks first and does only what is missing, so a boot that was cut short is finished by
the next one, and every later boot passes through here as well.
"""

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from .certificates import ensure_certificates, write_private
from .errors import FlynnError, NotFound
from .model import SYSTEM_META, App, AppID, Route, RouteType
from .settings import Settings
from .store import Store, Transaction, changes, key_hash, queries

DIRECTORIES = ("keys", "run", "logs", "slugs", "volumes", "repos", "caches", "build")
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
MAY_BE_THERE = frozenset({"lock", "appliance.log", "flynn.db", "keys"})
"""Any of these in a directory tells that it is ours, or a copy of ours."""
CLAIM_S = 0.5
"""How long the lock is tried for. Who only looks has it for microseconds; another appliance keeps it."""
DOMAIN_VALUE = "default_domain"
CLUSTER_KEY = "cluster"
SYSTEM_APPS = {"controller": "controller", "gitreceive": "git", "router": "", "discoverd": ""}
"""System apps people see in `flynn apps`, and the host below the domain that is theirs."""


class BootError(FlynnError):
    """The appliance cannot start here; the message says why and what to do. Nothing is running."""


@contextmanager
def claimed(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process alone.

    The lock is the kernel's, so it ends with the process however that ends; the pid in the file
    is for people and for `flynn-aio down`.

    Raises:
        BootError: another appliance runs on it, it holds somebody else's files, or it cannot be written.
    """
    make_data_dir(data_dir)
    try:
        descriptor = os.open(lock_file(data_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _unusable(data_dir, exc) from exc
    with os.fdopen(descriptor, "r+") as file:
        if not _locks(file):
            raise already_running(data_dir, file.read().strip())
        try:
            file.write(f"{os.getpid()}\n")  # over the old one: on a full disk there is room for no other
            file.truncate()
        except OSError as exc:
            raise _unusable(data_dir, exc) from exc
        yield


def _locks(file: TextIO) -> bool:
    """Try to take the lock for good, again for a while: somebody who asks `running_pid` has it for an instant."""
    deadline = time.monotonic() + CLAIM_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def already_running(data_dir: Path, pid: int | str) -> BootError:
    return BootError(
        f"an appliance is already running on {data_dir} (pid {pid}); "
        "stop it with `flynn-aio down`, or name another directory with --data-dir"
    )


def _unusable(data_dir: Path, exc: OSError) -> BootError:
    advice = "free some space" if exc.errno in NO_ROOM else "mend that"
    return BootError(
        f"opening the data directory {data_dir}: {exc.strerror}; {advice}, or name another one with --data-dir"
    )


def make_data_dir(data_dir: Path) -> None:
    """Make the data directory if it is missing.

    Raises:
        BootError: it cannot be made, or somebody else filled it: we would scatter our files among theirs.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in data_dir.iterdir()} - {"lost+found"}
    except OSError as exc:
        raise _unusable(data_dir, exc) from exc
    if there and not there & MAY_BE_THERE:
        raise BootError(
            f"opening the data directory {data_dir}: there are other things in it ({', '.join(sorted(there)[:3])}, …); "
            "name an empty or a new directory with --data-dir"
        )


def lock_file(data_dir: Path) -> Path:
    return data_dir / "lock"


def running_pid(data_dir: Path) -> int | None:
    """Return the pid of the appliance that holds the data directory; ``None`` when none does."""
    try:
        with lock_file(data_dir).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdecimal() else None
    except FileNotFoundError:
        pass
    return None


def make_directories(settings: Settings) -> None:
    """Make the directories that are missing below the data directory.

    Raises:
        BootError: the disk is full or not ours to write.
    """
    with _written(settings):
        settings.data_dir.chmod(0o711)  # uid 5000 passes through to its slug; everything below is closed
        for name in DIRECTORIES:
            (settings.data_dir / name).mkdir(exist_ok=True)
            (settings.data_dir / name).chmod(0o711 if name in {"slugs", "caches", "build", "run"} else 0o700)


def prepare_files(settings: Settings) -> None:
    """Make the directories and the cluster key that are missing. Blocks: fsync.

    Raises:
        BootError: the disk is full or not ours to write.
    """
    make_directories(settings)
    with _written(settings):
        key = key_file(settings)
        if not (key.exists() and cluster_key(settings)):  # an empty one would let everybody in
            write_private(key, f"{secrets.token_hex(16)}\n".encode())


def prepare_certificates(settings: Settings, *, now: datetime) -> None:
    """Make or renew the certificates of the cluster's domain, which `prepare_rows` has checked. Blocks.

    Raises:
        BootError: the disk is full or not ours to write.
    """
    with _written(settings):
        ensure_certificates(settings.data_dir / "keys", settings.domain, now=now)


@contextmanager
def _written(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise BootError(
            f"preparing the data directory {settings.data_dir}: {exc.strerror}; "
            "free some space or name another directory with --data-dir"
        ) from exc


def key_file(settings: Settings) -> Path:
    return settings.controller.operator_key


def cluster_key(settings: Settings) -> str:
    """Return the cluster key, the operator's own copy; the database holds only its hash."""
    return key_file(settings).read_text().strip()


async def prepare_rows(store: Store, settings: Settings) -> None:
    """Write the domain, the key's hash and the system apps that are missing.

    Raises:
        BootError: the database belongs to another domain.
    """
    key = key_hash(cluster_key(settings))
    known = await store.read(lambda db: queries.cluster_value(db, DOMAIN_VALUE))
    if known is not None and known != settings.domain:
        raise BootError(
            f"the cluster in {settings.data_dir} is {known}, not {settings.domain}; "
            f"start it with --domain {known}, or name another directory with --data-dir"
        )
    complete = known and key in (await store.read(queries.key_hashes)).values()
    if not complete:
        await store.transact(lambda tx: _first_rows(tx, settings, key))


def _first_rows(tx: Transaction, settings: Settings, key: bytes) -> None:
    known = queries.key_hashes(tx.db)
    if key not in known.values():
        name = CLUSTER_KEY if not known else f"{CLUSTER_KEY}-{tx.new_id()[:8]}"
        changes.add_key(tx, name, key)
    for name, host in SYSTEM_APPS.items():
        try:
            queries.app(tx.db, name)
        except NotFound:
            app = changes.create_app(tx, App(name=name, meta={SYSTEM_META: "true"}), route_domain=None)
            if host:
                _own_route(tx, app.id, name, f"{host}.{settings.domain}")
    changes.set_cluster_value(tx, DOMAIN_VALUE, settings.domain)


def _own_route(tx: Transaction, app: AppID, service: str, domain: str) -> None:
    """Reserve a host of ours: a user's route to it is then an ordinary duplicate."""
    route = Route(type=RouteType.HTTP, service=service, leader=False, created_at=None, updated_at=None, domain=domain)
    changes.create_route(tx, route, app)
