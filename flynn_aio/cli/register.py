"""Add the appliance's own cluster to this person's files; run by `flynn-aio up` as that person.

JSON comes in on stdin, so that no key is ever seen in a process list:
`{"domain": "flynn.localhost:8443", "key": "…", "pin": "…", "ca_cert": "-----BEGIN…"}`.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from . import git, rc
from .failure import Failure

DEFAULT_NAME = "default"


def register(domain: str, key: str, pin: str, ca_cert: str) -> None:
    """Write `~/.flynnrc`, the CA file and git's configuration; what was there for the same cluster is replaced.

    The cluster is called `default` unless that name already stands for another one.

    Raises:
        Failure: a file cannot be written, or git is missing.
    """
    file = rc.path(os.environ)
    known = rc.read(file)
    cluster = rc.cluster_at(domain, _name(known, domain), key, tls_pin=pin)
    if cluster not in known.clusters:
        if not file.exists():
            file.touch(mode=0o600)
        rc.add_cluster(file, cluster, force=True)
    ca_file = rc.ca_path(os.environ, cluster.name)
    ca_file.parent.mkdir(parents=True, exist_ok=True)
    ca_file.write_text(ca_cert)
    beside = Path(sys.executable).with_name("flynn")  # the same virtual environment; else whatever the PATH has
    flynn = str(beside) if beside.exists() else shutil.which("flynn") or "flynn"
    git.configure(cluster.git_url, ca_file, flynn)


def _name(known: rc.Config, domain: str) -> str:
    url = rc.cluster_at(domain, "", "").controller_url
    same = next((cluster.name for cluster in known.clusters if cluster.controller_url == url), None)
    if same:
        return same
    return DEFAULT_NAME if known.named(DEFAULT_NAME) is None else domain


def main() -> int:
    try:
        register(**json.load(sys.stdin))
    except (Failure, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
