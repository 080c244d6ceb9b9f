"""The person who started us: under sudo that is the user, not root.

Their `~/.flynnrc`, CA file and git configuration are written by a child process that has given
up root for their uid, so no link in a home directory can make root write somewhere else.
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .model import encode, plain

CHILD_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: int
    gid: int
    home: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterEntry:
    """What a client needs to know of this cluster; `ca_cert` is PEM, `pin` the leaf's."""

    domain: str
    key: str
    pin: str
    ca_cert: str


def invoking_user(environ: Mapping[str, str]) -> User | None:
    """Return who typed the command; ``None`` when nobody with a home did, e.g. an init system."""
    try:
        uid = int(environ.get("SUDO_UID", "")) if environ.get("SUDO_UID") else os.getuid()
        entry = pwd.getpwuid(uid)
    except (KeyError, ValueError):
        return None
    home = Path(environ["HOME"]) if not environ.get("SUDO_UID") and environ.get("HOME") else Path(entry.pw_dir)
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, home) if home.is_dir() else None


def register_cluster(user: User, entry: ClusterEntry, *, old_key: str = "") -> str | None:
    """Write the cluster into the user's `~/.flynnrc` and git configuration, as the user.

    Args:
        old_key: the key whose place the entry's takes; the cluster is known by it.

    Returns what went wrong, in a sentence, or ``None``. It is no reason not to start.
    """
    environment = {"HOME": str(user.home), "USER": user.name, "PATH": os.environ.get("PATH", os.defpath)}
    # The child gives up root by itself, once it is loaded: our own files may lie where only root may look.
    become = [str(user.uid), str(user.gid)] if os.getuid() == 0 else []
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flynn_aio.cli.register", *become],
            input=encode(plain(entry) | {"old_key": old_key}),
            env=environment,
            cwd="/",
            capture_output=True,
            timeout=CHILD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return f"could not write {user.home}/.flynnrc: {exc}"
    if done.returncode:
        return f"could not write {user.home}/.flynnrc: {done.stderr.decode(errors='replace').strip()}"
    return None
