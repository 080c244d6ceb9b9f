"""First boot: directories, the cluster key, certificates, the domain, system apps.

Every step looks first and does only what is missing, so a boot that was cut short is finished by
the next one, and every later boot passes through here as well.
"""

import errno
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TextIO

import trio

from .certificates import (
    DOMAIN_FILE,
    are_for,
    ensure_certificates,
    name_domain,
    publish_certificates,
    read_certificates,
    remove_scratch,
    write_private,
)
from .errors import FlynnError
from .model import SYSTEM_APPS, Artifact, TLSCert
from .receive import plain_images
from .settings import Settings
from .store import Store, Transaction, changes, key_hash, queries

logger = logging.getLogger(__name__)

DIRECTORIES = ("keys", "run", "logs", "slugs", "layers", "volumes", "repos", "caches", "build")
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
MAY_BE_THERE = frozenset({"lock", "appliance.log", "flynn.db", "keys"})
"""Any of these in a directory tells that it is ours, or a copy of ours."""
CLAIM_S = 0.5
"""How long the lock is tried for. Who only looks has it for microseconds; another appliance keeps it."""
CLUSTER_KEY = "cluster"


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


async def prepare_domain(store: Store, settings: Settings, domain: str, *, now: datetime) -> TLSCert:
    """Make, renew or put in place what the cluster's domain is served with, and return it.

    A migration that was cut short after it had switched the domain left its certificate in the store only.

    Raises:
        BootError: the disk is full or not ours to write.
    """
    known = (await store.read(queries.domain_certificates)).get(domain)
    cert = await trio.to_thread.run_sync(partial(prepare_certificates, settings, domain, known, now=now))
    if cert != known:
        await store.transact(lambda tx: changes.keep_domain_certificate(tx, domain, cert))
    return cert


def prepare_certificates(settings: Settings, domain: str, known: TLSCert | None = None, *, now: datetime) -> TLSCert:
    """Do what `prepare_domain` does to the files. Blocks.

    Args:
        known: what the store says the domain is served with.
    """
    keys = settings.data_dir / "keys"
    with _written(settings):
        remove_scratch(keys)
        if known is not None and not are_for(keys, domain):
            publish_certificates(keys, domain, known)
        ensure_certificates(keys, domain, now=now)
        name_domain(keys, domain)
        return read_certificates(keys)


def cluster_domain(settings: Settings) -> str:
    """Return the cluster's domain for those who cannot ask the database: it may have moved since the settings.

    Before the first boot it is what the settings say. Blocks.
    """
    try:
        return (settings.data_dir / "keys" / DOMAIN_FILE).read_text().strip() or settings.domain
    except (FileNotFoundError, PermissionError):
        return settings.domain


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


async def prepare_rows(store: Store, settings: Settings) -> str:
    """Write the domain and the key's hash if they are missing, end what a crash cut short; return the domain.

    A cluster that has moved is started with its old domain by whoever started it before: that is as good.

    Raises:
        BootError: the database belongs to another domain.
    """
    key = key_hash(cluster_key(settings))
    domain = await store.read(queries.domain) or settings.domain
    if domain != settings.domain:
        if settings.domain not in await store.read(queries.domain_certificates):
            raise BootError(
                f"the cluster in {settings.data_dir} is {domain}, not {settings.domain}; "
                f"start it with --domain {domain}, or name another directory with --data-dir"
            )
        logger.info("the cluster has moved", extra={"from": settings.domain, "to": domain})
    if not await store.read(queries.domain) or key not in (await store.read(queries.key_hashes)).values():
        await store.transact(lambda tx: _first_rows(tx, domain, key))
    if await store.read(queries.running_backups):
        await store.transact(changes.end_interrupted_backups)
    return domain


def _first_rows(tx: Transaction, domain: str, key: bytes) -> None:
    known = queries.key_hashes(tx.db)
    if key not in known.values():
        name = CLUSTER_KEY if not known else f"{CLUSTER_KEY}-{tx.new_id()[:8]}"
        changes.add_key(tx, name, key)
    changes.set_cluster_value(tx, queries.DEFAULT_DOMAIN, domain)


async def prepare_system_apps(store: Store, settings: Settings, domain: str, cert: TLSCert) -> None:
    """Bring the system apps up to date with what this process is."""
    images = await trio.to_thread.run_sync(plain_images, settings.build)
    await store.transact(lambda tx: _keep_system_apps(tx, domain, cert, *images))


def _keep_system_apps(tx: Transaction, domain: str, cert: TLSCert, runner: Artifact, builder: Artifact) -> None:
    run, build = (_kept(tx, artifact) for artifact in (runner, builder))
    env = changes.cluster_env(domain, cert) | {
        "gitreceive": {
            **dict.fromkeys(("SLUGRUNNER_IMAGE_ID", "SLUGRUNNER_18_IMAGE_ID"), run.id),
            **dict.fromkeys(("SLUGBUILDER_IMAGE_ID", "SLUGBUILDER_18_IMAGE_ID"), build.id),
        }
    }
    for name, part in SYSTEM_APPS.items():
        changes.keep_system_app(tx, part, env=env.get(name, {}), artifacts=[run.id])
        changes.keep_own_route(tx, part, domain)


def _kept(tx: Transaction, artifact: Artifact) -> Artifact:
    """Return an artifact as it is stored; one that is there already is no news."""
    return queries.artifact_at(tx.db, artifact) or changes.create_artifact(tx, artifact)
