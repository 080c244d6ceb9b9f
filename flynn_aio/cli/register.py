"""Add the appliance's own cluster to a person's files; run by `flynn-aio up`, and then as that person.

`python -m flynn_aio.cli.register [UID GID]`: with ids, root is given up for them before anything is read. JSON comes in
on stdin, so that no key is ever seen in a process list:
`{"domain": "flynn.localhost:8443", "key": "…", "pin": "…", "ca_cert": "-----BEGIN…"}`.
"""

import json
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path

from . import git, rc
from .failure import Failure

DEFAULT_NAME = "default"
IMPORTED_LATE = ("shlex", "tomllib")
"""What `rc` and `git` import only when they need it; after root is given up that may be out of reach."""


def register(domain: str, key: str, pin: str, ca_cert: str, old_key: str = "") -> None:
    """Write `~/.flynnrc`, the CA file and git's configuration.

    The key, or the one before it, tells whether a cluster is known already, so one that has moved to another domain
    or port keeps its name. A new one is called `default` unless that name is taken.

    Raises:
        Failure: a file cannot be written, or git is missing.
    """
    file = rc.path(os.environ)
    config = rc.read(file)
    same = next((cluster for cluster in config.clusters if cluster.key in (key, old_key)), None)
    name = same.name if same else DEFAULT_NAME if config.named(DEFAULT_NAME) is None else domain
    cluster = rc.cluster_at(domain, name, key, tls_pin=pin)
    if same is not None and same != cluster and same.git_url != cluster.git_url:
        git.forget(same.git_url)
    if same != cluster:
        if not file.exists():
            file.touch(mode=0o600)
        rc.add_cluster(file, cluster, force=True)
    ca_file = rc.ca_path(os.environ, cluster.name)
    ca_file.parent.mkdir(parents=True, exist_ok=True)
    ca_file.write_text(ca_cert)
    # Beside the interpreter we run in: the same virtual environment. Else whatever the PATH has.
    beside = Path(sys.executable).with_name("flynn")
    flynn = str(beside) if beside.exists() else shutil.which("flynn") or "flynn"
    git.configure(cluster.git_url, ca_file, flynn)


def become(uid: int, gid: int) -> None:
    """Give up root for good; groups first, since the right to do so goes with the uid."""
    for name in IMPORTED_LATE:
        import_module(name)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main() -> int:
    if len(sys.argv) == 3:
        become(int(sys.argv[1]), int(sys.argv[2]))
    try:
        register(**json.load(sys.stdin))
    except (Failure, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
