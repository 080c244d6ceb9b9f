"""Real jobs that fail, on real Podman: what a person is told of each, and that the old release goes on serving.

The stories share one appliance and one app that serves, whose release must survive all of them.
"""

import json

import pytest

from ..support.appliance import repository, running

pytestmark = [pytest.mark.podman, pytest.mark.slow]

HOST = "steady.flynn.localhost"

SERVER = """
import ctypes, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/hang":
            time.sleep(1000)
        self.send_response({"/moved": 302, "/missing": 404}.get(self.path, 200))
        self.send_header("Location", "https://elsewhere.example/")
        self.end_headers()
        self.wfile.write(b"steady")

how, port = os.environ.get("HOW", "serve"), int(os.environ["PORT"])
print("going to", how, flush=True)
if how == "exit":
    sys.exit(7)
if how == "crash":
    ctypes.string_at(0)
if how == "eat":
    eaten = bytearray(b"x") * (300 << 20)
if how == "sleep":
    time.sleep(1000)
where = {"hide": ("127.0.0.1", port), "stray": ("", 3000)}.get(how, ("", port))
HTTPServer(where, Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def appliance():
    with running("100.108.0.0/24") as one:
        yield one


@pytest.fixture(scope="module")
def repo(appliance):
    files = {"app.py": SERVER, "requirements.txt": "", "Procfile": "web: exec python app.py\n"}
    repo = repository(appliance.place / "steady", files)
    appliance.flynn("create", "steady", cwd=repo)
    appliance.run("git", "push", "flynn", "master", cwd=repo)
    appliance.flynn("deployment", "timeout", "4", cwd=repo)
    appliance.flynn("limit", "set", "web", "memory=128MB", cwd=repo)
    return repo


@pytest.fixture
def failed(appliance, repo):
    """Lay something over the release and deploy it; return what was said, the page, and the failure."""
    before = appliance.flynn("release", "show", cwd=repo).stdout

    def deploy(how="serve", **web):
        file = appliance.place / "update.json"
        file.write_text(json.dumps({"env": {"HOW": how}, "processes": {"web": web}}))
        said = appliance.run("flynn", "release", "update", file, cwd=repo, check=False)
        assert said.returncode != 0
        latest = json.loads(appliance.flynn("deployment", "--json", cwd=repo).stdout)[0]
        assert latest["status"] == "failed"
        page = appliance.flynn("deployment", "show", latest["id"], cwd=repo).stdout
        shown = json.loads(appliance.flynn("deployment", "show", "--json", latest["id"], cwd=repo).stdout)
        return said.stderr, page, shown["failure"]

    yield deploy
    assert appliance.flynn("release", "show", cwd=repo).stdout == before
    assert appliance.fetch(HOST).text == "steady"


def checked(**check):
    check = {"type": "http", **check}
    return {
        "ports": [{"port": 8080, "proto": "tcp", "service": {"name": "steady-web", "create": True, "check": check}}]
    }


DOWN = "web job failed to start: got down job event\n"
LATE = "web job failed to start: 0 of 1 up after 4 s\n"


def test_a_process_that_exits(failed):
    said, page, failure = failed("exit")
    assert said.startswith((DOWN, LATE))
    assert (failure["phase"], failure["exit_status"]) == ("start", 7)
    assert "Ended By:     exit status 7\n" in page
    assert "\nLast lines:\n  going to exit\n" in page
    assert "\nWhy:\n  its process ended with exit status 7, " in page
    assert " log -j host0-" in page
    assert "(web=1)" in page


def test_a_process_that_a_signal_ends(failed):
    said, page, failure = failed("crash")
    assert said.startswith((DOWN, LATE))
    assert (failure["phase"], failure["signal"]) == ("start", "SIGSEGV")
    assert "its process was killed by SIGSEGV, " in page


def test_a_process_that_needs_more_memory_than_it_may_have(failed):
    said, page, failure = failed("eat")
    assert said.startswith("web job failed to start: ")
    assert (failure["oom"], failure["memory_limit"]) == (True, 128 << 20)
    assert "it needs more than its limit of 128MB\n" in page
    assert "flynn -a steady limit set web memory=256MB\n" in page


def test_a_command_that_is_not_there(failed):
    said, page, failure = failed(args=["this-is-gonna-fail"])
    text = 'web job failed to start: exec: "this-is-gonna-fail": executable file not found in $PATH\n'
    assert said.startswith(text)
    assert failure["phase"] == "start"
    assert "its command this-is-gonna-fail cannot be executed: executable file not found in $PATH\n" in page


@pytest.mark.parametrize(
    ("how", "opened", "advice"),
    [
        ("sleep", [], "told PORT=8080, opened no port: listen on 0.0.0.0:8080"),
        ("hide", ["127.0.0.1:8080"], "listens on 127.0.0.1:8080 only: bind 0.0.0.0\n"),
        ("stray", ["0.0.0.0:3000"], "told PORT=8080, opened 3000: use the PORT variable\n"),
    ],
)
def test_a_port_that_is_not_the_one_it_was_told(failed, how, opened, advice):
    said, page, failure = failed(how)
    assert said.startswith(LATE)
    assert advice in said + "\n"
    assert (failure["phase"], failure["port"], failure["opened"]) == ("health", 8080, opened)
    assert advice in page
    assert failure["probes"][-1]["error"].startswith("connection refused on 100.108.0.")
    assert failure["probes"][-1]["count"] > 5
    assert "flynn -a steady deployment timeout 8\n" in page


def test_a_job_its_health_check_has_killed_is_told_as_such(failed):
    said, page, failure = failed("stray", **checked(type="tcp", kill_down=True, start_timeout=10**9))
    assert said.startswith((DOWN, LATE))
    assert (failure["phase"], failure["signal"], failure["opened"]) == ("health", "SIGKILL", ["0.0.0.0:3000"])
    assert "its health check gave it up, and it was killed: connection refused on 100.108.0." in page
    assert "told PORT=8080, opened 3000: use the PORT variable\n" in page


@pytest.mark.parametrize(
    ("path", "met"),
    [
        ("/missing", "HTTP status 404 instead of 200 from 100.108.0."),
        ("/moved", "HTTP status 302 instead of 200 from 100.108.0."),
        ("/hang", "no answer from 100.108.0."),
    ],
)
def test_a_path_that_does_not_answer_as_its_check_wants(failed, path, met):
    said, page, failure = failed(**checked(path=path))
    assert said.startswith(LATE)
    assert (failure["phase"], failure["opened"]) == ("health", ["0.0.0.0:8080"])
    assert f"it runs, but has not become healthy within 4 s: {met}" in page
    assert f"its check asks for {path}, and wants HTTP status 200\n" in page


def test_a_deployment_that_came_off_tells_its_steps(appliance, repo):
    done = [one for one in json.loads(appliance.flynn("deployment", "--json", cwd=repo).stdout) if one.get("processes")]
    page = appliance.flynn("deployment", "show", done[-1]["id"], cwd=repo).stdout
    assert "Status:       complete\n" in page
    assert "s  up web=1\n" in page
    assert page.endswith("s  complete\n")
