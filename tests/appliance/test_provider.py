"""A provider on real Podman: an app like any other, found by its name in discoverd, with the tools in its slug."""

import hashlib

import pytest

from ..support.appliance import git, repository, until

pytestmark = [pytest.mark.podman, pytest.mark.slow]

TOOLS = ("psql", "pg_dump", "pg_restore")
APP = {
    "app.py": """\
import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

ENV = {"FLYNN_POSTGRES": "books", "PGHOST": "leader.books-web.discoverd", "PGUSER": "u", "PGPASSWORD": "p"}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        config = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.say({"id": "/books/1", "env": {**ENV, "PGDATABASE": "d"}}, f"made with {config}")

    def do_DELETE(self):
        self.say({}, f"removed {self.path}")

    def say(self, answer, line):
        print(line, flush=True)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
""",
    "bin/psql": '#!/bin/sh\necho "$PGUSER at $PGHOST: $*"\nexit 3\n',
    "bin/pg_dump": "#!/bin/sh\nhead -c 3000000 /dev/urandom\n",
    "bin/pg_restore": "#!/bin/sh\nsha256sum\n",
    ".profile.d/tools.sh": "export PATH=/app/bin:$PATH\n",
    "requirements.txt": "",
    "Procfile": "web: python3 app.py\n",
}


@pytest.fixture
def books(appliance):
    """The provider, pushed and serving; its log tells what it was asked."""
    repo = repository(appliance.place / "books", APP)
    git(repo, "update-index", "--chmod=+x", *(f"bin/{tool}" for tool in TOOLS))
    git(repo, "commit", "--amend", "--no-edit")
    appliance.flynn("create", "books", cwd=repo)
    appliance.run("git", "push", "flynn", "master", cwd=repo)
    return lambda: appliance.flynn("-a", "books", "log", "-r").stdout


def test_an_app_makes_databases_for_other_apps(appliance, books):
    appliance.flynn("provider", "add", "postgres", "http://books-web.discoverd/databases")
    appliance.flynn("create", "shop")
    appliance.flynn("-a", "shop", "resource", "add", "postgres")
    assert until(lambda: "made with {}" in books())

    asked = appliance.flynn("-a", "shop", "pg", "psql", "--", "-c", "SELECT 1", check=False)
    assert (asked.returncode, asked.stdout) == (3, "u at leader.books-web.discoverd: -c SELECT 1\n")
    dump = appliance.place / "shop.dump"
    appliance.flynn("-a", "shop", "pg", "dump", "-f", str(dump))
    assert dump.stat().st_size == 3_000_000
    restored = appliance.flynn("-a", "shop", "pg", "restore", "-f", str(dump)).stdout
    assert restored.split()[0] == hashlib.sha256(dump.read_bytes()).hexdigest()

    appliance.kill()
    appliance.up()
    deleted = appliance.flynn("-a", "shop", "delete", "-y").stderr
    assert deleted == "Deleted shop (removed 1 routes, deleted 1 releases, deprovisioned 1 resources)\n"
    assert until(lambda: "removed /databases?id=%2Fbooks%2F1" in books())
    appliance.flynn("-a", "books", "delete", "-y")
    appliance.flynn("provider", "remove", "postgres")
