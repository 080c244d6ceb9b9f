"""`flynn-aio up`: the process around the appliance: privileges, signals, logging, the ready line."""

import json
import logging
import logging.handlers
import os
import queue
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from . import __version__
from .bootstrap import (
    NO_ROOM,
    BootError,
    already_running,
    claimed,
    cluster_domain,
    cluster_key,
    make_data_dir,
    running_pid,
)
from .certificates import pin
from .errors import FlynnError
from .settings import AUDIT_LOGGER, Settings
from .user import ClusterEntry, User, register_cluster

if TYPE_CHECKING:
    from .appliance import Ready

logger = logging.getLogger(__name__)

ERROR = "error: "
"""Begins the line that says why it could not start or go on."""
LOG_FILE_BYTES = 10 * 1024 * 1024
DETACH_TIMEOUT_S = 900.0
"""A first start makes the stack images; on a slow machine that takes minutes."""

LISTEN_VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""How systemd, or an appliance that hands over, tells of sockets that listen already."""


def state_file(settings: Settings) -> Path:
    return settings.data_dir / "run" / "appliance.json"


def log_file(settings: Settings) -> Path:
    return settings.data_dir / "appliance.log"


def audit_file(settings: Settings) -> Path:
    """Return where a line for every request to the controller goes."""
    return settings.data_dir / "audit.log"


def up(settings: Settings, *, user: User | None, to_file: bool) -> int:
    """Run the appliance in this process until it is told to stop; return the exit code.

    Args:
        user: whose `~/.flynnrc` gets an entry; ``None`` for nobody's.
        to_file: write to the log file instead of the terminal, as a detached appliance does.
    """
    started = time.monotonic()
    _raise_fd_limit()
    try:
        with claimed(settings.data_dir), diary(settings, to_file=to_file):
            try:
                trio.run(partial(_run, settings, user, started))
            except BaseException as exc:
                if isinstance(exc, KeyboardInterrupt):  # before anything was there to drain
                    return 130
                errors = expected(exc)
                if errors is None:
                    logger.critical("a bug ended the appliance; the apps go on", exc_info=True)
                    return 70
                if to_file:
                    for error in errors:
                        logger.error("%s%s", ERROR, error.message)
            else:
                return 0
    except BootError as exc:
        errors = [exc]
    for error in errors:
        print(f"{ERROR}{error.message}", file=sys.stderr)
    return 1


async def _run(settings: Settings, user: User | None, started: float) -> None:
    # Here, so that a wrong setting is told before everything is loaded.
    from .appliance import Ready, run
    from .router import inherited

    stop = trio.Event()
    listeners = inherited(os.environ, os.getpid())
    for name in LISTEN_VARIABLES:  # they were meant for us, not for git or Podman
        os.environ.pop(name, None)

    async def say(line: str) -> None:
        logger.info("%s", line)

    async def ready(doors: Ready) -> None:
        port = "" if doors.https_port == 443 else f":{doors.https_port}"
        await trio.to_thread.run_sync(_write_state, settings, doors)
        if user is not None:
            problem = await trio.to_thread.run_sync(register_cluster, user, entry(settings, doors.https_port))
            if problem:
                await say(f"warning: {problem}")
        await say(
            f"ready after {time.monotonic() - started:.1f} s: https://controller.{doors.domain}{port}, "
            f"apps at https://APP.{doors.domain}{port}"
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, stop, nursery.cancel_scope)
        await say(f"flynn-aio {__version__}, data in {settings.data_dir}")
        try:
            await run(settings, stop, say=say, ready=ready, listeners=listeners)
        finally:
            state_file(settings).unlink(missing_ok=True)
        nursery.cancel_scope.cancel()


async def _stop_on_signal(stop: trio.Event, everything: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            name = signal.Signals(number).name
            if stop.is_set():
                logger.warning("%s again: stopping at once; the apps keep running", name)
                everything.cancel("told to stop twice")
            else:
                logger.info("%s: draining; the apps keep running", name)
                stop.set()


def entry(settings: Settings, https_port: int) -> ClusterEntry:
    """Return what clients need to know of this cluster."""
    keys, domain = settings.data_dir / "keys", cluster_domain(settings)
    return ClusterEntry(
        domain=domain if https_port == 443 else f"{domain}:{https_port}",
        key=cluster_key(settings),
        pin=pin((keys / "leaf.pem").read_text()),
        ca_cert=(keys / "ca.pem").read_text(),
    )


def expected(exc: BaseException) -> list[FlynnError] | None:
    """Return the expected failures in an exception or group; ``None`` when anything else is among them.

    A full disk can be met wherever something is written, so it is told here for all of them.
    """
    if isinstance(exc, FlynnError):
        return [exc]
    if isinstance(exc, OSError) and exc.errno in NO_ROOM:
        return [BootError(f"writing {exc.filename or 'to the data directory'}: {exc.strerror}; free some space there")]
    if isinstance(exc, BaseExceptionGroup):
        found = [expected(one) for one in exc.exceptions]
        return None if None in found else [error for errors in found if errors for error in errors]
    return None


def tell(exc: BaseException) -> None:
    """Print the expected failures in an exception or group, a line each. Raise it when anything else is among them."""
    errors = expected(exc)
    if errors is None:
        raise exc
    for error in errors:
        print(f"{ERROR}{error.message}", file=sys.stderr)


def up_detached(settings: Settings, arguments: Sequence[str]) -> int:
    """Start `flynn-aio up` in a session of its own, show what it says, and return when it is ready.

    Args:
        arguments: what to append to ``flynn-aio up``.
    """
    pid = running_pid(settings.data_dir)
    if pid is not None:
        print(f"{ERROR}{already_running(settings.data_dir, pid).message}", file=sys.stderr)
        return 1
    log = log_file(settings)
    try:
        make_data_dir(settings.data_dir)
        log.touch(mode=0o600)
    except BootError as exc:
        print(f"{ERROR}{exc.message}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"{ERROR}opening {log}: {exc.strerror}; name another directory with --data-dir", file=sys.stderr)
        return 1
    with log.open() as lines:
        lines.seek(0, os.SEEK_END)
        child = subprocess.Popen(
            [sys.executable, "-m", "flynn_aio", "up", "--to-file", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + DETACH_TIMEOUT_S
        while time.monotonic() < deadline:
            ended = child.poll() is not None
            for line in lines:
                text = line.partition("Z ")[2] or line
                if not text.startswith(ERROR):  # it comes on the other stream too, also when no log can be written
                    print(text, end="", flush=True)
                if text.startswith("ready"):
                    return 0
            if ended:
                _, errors = child.communicate()
                sys.stderr.write(errors.decode(errors="replace"))
                return child.returncode or 1
            time.sleep(0.05)
    print(f"error: not ready after {DETACH_TIMEOUT_S:.0f} s; see {log}", file=sys.stderr)
    return 1


def _write_state(settings: Settings, doors: "Ready") -> None:
    state = {
        "pid": os.getpid(),
        "version": __version__,
        "address": doors.address,
        "http_port": doors.http_port,
        "https_port": doors.https_port,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = state_file(settings)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state))
    new.replace(path)


def _raise_fd_limit() -> None:
    """Take as many descriptors as we may have: every connection, log and pidfd is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Lines(logging.Formatter):
    """A constant phrase, then its fields: what `extra` carried beyond what every record has."""

    _USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def __init__(self, *, timestamps: bool) -> None:
        super().__init__()
        self._timestamps = timestamps

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in vars(record).items() if key not in self._USUAL)
        text = " ".join(part for part in (record.getMessage(), fields) if part)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z "
        return (when if self._timestamps else "") + text


@contextmanager
def diary(settings: Settings, *, to_file: bool) -> Iterator[None]:
    """Send log records through a thread of their own: a slow disk or terminal must not hold up the loop.

    The audit log, a line per request, always goes to a file of its own: the diary is there to be read.
    """
    audit = _file(audit_file(settings))
    audit.addFilter(_is_audit)
    handler = _file(log_file(settings)) if to_file else logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines(timestamps=to_file))
    handler.addFilter(lambda record: not _is_audit(record))
    logging.raiseExceptions = False  # on a full disk a line is lost; a traceback per line would help nobody
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records, handler, audit)
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    logging.getLogger("flynn_aio").setLevel(logging.INFO)
    entrance = _Raw(records)
    root.addHandler(entrance)
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        root.removeHandler(entrance)
        handler.close()
        audit.close()


def _file(path: Path) -> logging.Handler:
    handler = _PrivateFile(path, maxBytes=LOG_FILE_BYTES, backupCount=1, delay=True)
    handler.setFormatter(_Lines(timestamps=True))
    return handler


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A file only its owner may read, and so is the next one."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=_open_private)


def _open_private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # one that an older version has made
    return descriptor


def _is_audit(record: logging.LogRecord) -> bool:
    return record.name == AUDIT_LOGGER


class _Raw(logging.handlers.QueueHandler):
    """Hand records on as they are; the formatter wants their fields."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record
