"""What a person reads when a push is refused, what still serves, and what is left behind: nothing.

The stories share one appliance and one app that serves, whose release must survive all of them.
"""

import os
import subprocess
import time

import pytest

from ..support.appliance import git, repository, running, until

pytestmark = [pytest.mark.podman, pytest.mark.slow]

HOST = "steady.flynn.localhost"
SERVER = """\
import http.server, os

class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"steady")

http.server.HTTPServer(("", int(os.environ["PORT"])), Hello).serve_forever()
"""
APP = {"app.py": SERVER, "requirements.txt": "", "Procfile": "web: python3 app.py\n"}
DEAF = "web: echo listening to nobody; sleep 1000\n"
DYING = "web: echo there is no table of users; exit 7\n"
SLOW_PACKAGE = """\
import time, zipfile

def build_wheel(directory, *_):
    while time.time() < {until}:
        time.sleep(0.1)
    with zipfile.ZipFile(directory + "/slow-1-py3-none-any.whl", "w") as wheel:
        info = "slow-1.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: slow\\nVersion: 1\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return "slow-1-py3-none-any.whl"
"""
BACKEND = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture(scope="module")
def appliance():
    with running("100.102.0.0/26") as one:
        yield one


@pytest.fixture(scope="module")
def steady(appliance):
    """The repository of an app that serves."""
    repo = new_app(appliance, "steady", APP)
    assert push(appliance, repo).returncode == 0
    appliance.flynn("deployment", "timeout", "5", cwd=repo)
    return repo


def new_app(appliance, name, files):
    repo = repository(appliance.place / name, files)
    appliance.flynn("create", name, cwd=repo)
    return repo


def push(appliance, repo, *where):
    return appliance.run("git", "push", *(where or ("flynn",)), "master", cwd=repo, check=False)


def commit(repo, **files):
    for name, text in files.items():
        (repo / name).write_text(text)
    git(repo, "commit", "--all", "--allow-empty", "--message=change")


def check_refused(done, *lines):
    """Check that git said no, and that the pusher could read these lines, in this order."""
    said = done.stderr.replace("\x1b[1G\x1b[K", "").replace("remote: ", "")
    assert done.returncode != 0, said
    assert "Traceback" not in said
    assert "[remote rejected] master -> master" in said
    at = -1
    for line in lines:
        assert line in said[at + 1 :], f"{line!r} is missing in\n{said}"
        at = said.index(line, at + 1)


def branch(appliance, repo):
    """Return the commit the other side has, or nothing."""
    return appliance.run("git", "ls-remote", "flynn", "refs/heads/master", cwd=repo).stdout[:40]


def half_made(appliance, keep):
    """Return what a push left that did not become a release: build jobs, their directories."""
    builds = [f"builds/{path.name}" for path in (appliance.data_dir / "build" / "builds").iterdir()]
    return builds + sorted(set(appliance.containers()) - set(keep))


class Before:
    """What must be the same after a push that was refused, and what must have gone."""

    def __init__(self, appliance, repo, app):
        self._appliance, self._repo, self._app = appliance, repo, app
        self._containers = set(appliance.containers())
        self._commit = branch(appliance, repo)
        self._jobs = appliance.job_ids(app)
        self._release = self.release()

    def release(self):
        shown = self._appliance.flynn("-a", self._app, "release", "show", check=False).stdout
        return shown.partition("\n")[0].partition(":")[2].strip()

    def check(self):
        appliance = self._appliance
        assert branch(appliance, self._repo) == self._commit
        assert until(lambda: half_made(appliance, self._containers) == []), half_made(appliance, self._containers)
        assert set(appliance.containers()) == self._containers
        assert appliance.job_ids(self._app) == self._jobs
        assert appliance.fetch(HOST).text == "steady"


@pytest.fixture
def before(appliance, steady):
    """Hold the serving app to what it was when the story began, its current release included."""
    state = Before(appliance, steady, "steady")
    yield state
    state.check()
    assert state.release() == state._release


def test_a_wrong_key_opens_nothing(appliance, steady, before):
    url = appliance.run("git", "remote", "get-url", "flynn", cwd=steady).stdout.strip()
    commit(steady)
    done = push(appliance, steady, url.replace("https://", "https://user:wrong@"))
    assert done.returncode != 0
    assert "Authentication required" in done.stderr
    assert "Authentication failed for" in done.stderr


def test_an_unknown_app_is_said_to_be_unknown(appliance, steady, before):
    url = appliance.run("git", "remote", "get-url", "flynn", cwd=steady).stdout.strip()
    done = push(appliance, steady, url.replace("steady", "stranger"))
    assert done.returncode != 0
    assert "remote: unknown app" in done.stderr
    assert "stranger.git/' not found" in done.stderr


def test_a_repository_without_a_known_language_says_what_there_is(appliance, before):
    repo = new_app(appliance, "words", {"README": "words\n"})
    state = Before(appliance, repo, "words")
    check_refused(
        push(appliance, repo),
        "ERROR: Build failed: no buildpack takes this repository",
        "Built in are nodejs, python, static",
        "flynn -a words env set BUILDPACK_URL=",
        "words has nothing running, as before.",
    )
    state.check()
    assert state.release() == ""


@pytest.mark.parametrize("procfile", ["- web\n- worker\n", "web\n", "web: [1, 2]\n", "{"])
def test_a_procfile_that_is_not_a_mapping_says_how_to_write_one(appliance, steady, before, procfile):
    commit(steady, Procfile=procfile)
    check_refused(push(appliance, steady), "ERROR: Build failed: ", "Procfile", "still serves steady.")


def test_a_first_release_that_never_opens_its_port_is_taken_back(appliance, before):
    repo = new_app(appliance, "deaf", APP | {"Procfile": DEAF})
    appliance.flynn("deployment", "timeout", "4", cwd=repo)
    state = Before(appliance, repo, "deaf")
    check_refused(
        push(appliance, repo),
        "ERROR: Initial web job failed to start: nothing answered on port 8080 ($PORT) within 4 seconds",
        "Phase health: it runs, but has not become healthy within 4 s: connection refused on 100.102.0.",
        "told PORT=8080, opened no port: listen on 0.0.0.0:8080",
        "What its health check met:",
        "The last lines of host0-",
        "  listening to nobody",
        "deaf has nothing running now.",
        "To allow more time: flynn -a deaf deployment timeout 8",
        "To see more: flynn -a deaf log -j host0-",
    )
    state.check()


def test_a_first_release_that_exits_at_once_is_taken_back(appliance, before):
    repo = new_app(appliance, "dying", APP | {"Procfile": DYING})
    state = Before(appliance, repo, "dying")
    check_refused(
        push(appliance, repo),
        "ERROR: Initial web job failed to start: exit status 7",
        "Phase start: its process ended with exit status 7, ",
        "  there is no table of users",
        "dying has nothing running now.",
        "To see more: flynn -a dying log -j host0-",
    )
    state.check()


def test_a_release_that_never_opens_its_port_leaves_the_old_one_serving(appliance, steady, before):
    commit(steady, Procfile=DEAF)
    check_refused(
        push(appliance, steady),
        "ERROR: Deploy failed: web job failed to start: 0 of 1 up after 5 s",
        "Phase health: it runs, but has not become healthy within 5 s: connection refused on 100.102.0.",
        "told PORT=8080, opened no port: listen on 0.0.0.0:8080",
        "  listening to nobody",
        f"Release {before.release()} (commit {branch(appliance, steady)[:7]}) still serves steady.",
        "To allow more time: flynn -a steady deployment timeout 10",
        "To see more: flynn -a steady log -j host0-",
    )


def test_a_release_that_exits_at_once_leaves_the_old_one_serving(appliance, steady, before):
    commit(steady, Procfile=DYING)
    check_refused(
        push(appliance, steady),
        "ERROR: Deploy failed: web job failed to start: ",
        "(exit status 7):",
        "  there is no table of users",
        f"Release {before.release()} (commit {branch(appliance, steady)[:7]}) still serves steady.",
        "To see more: flynn -a steady log -j host0-",
    )


def test_kill_9_during_a_push_leaves_nothing_and_the_same_commit_goes_through(appliance, before):
    slow = {"slow/pyproject.toml": BACKEND, "slow/backend.py": SLOW_PACKAGE.format(until=time.time() + 15)}
    repo = new_app(appliance, "slow", APP | slow | {"requirements.txt": "./slow\n"})
    state = Before(appliance, repo, "slow")
    slugs = os.listdir(appliance.data_dir / "slugs")
    with (appliance.place / "pushed").open("w+") as said:
        pushing = subprocess.Popen(["git", "push", "flynn", "master"], cwd=repo, env=appliance.environ, stderr=said)
        assert until(lambda: "Installing requirements" in (appliance.place / "pushed").read_text())
        appliance.kill()
        assert pushing.wait(30) != 0
    assert len(half_made(appliance, state._containers)) >= 2, "the build was not under way"
    appliance.up()
    state.check()
    assert sorted(os.listdir(appliance.data_dir / "slugs")) == sorted(slugs)
    again = push(appliance, repo)
    assert again.returncode == 0, again.stderr
    appliance.fetch_until("slow.flynn.localhost", "steady")
    appliance.flynn("delete", "-y", cwd=repo)
    assert until(lambda: len(appliance.containers()) == 1)
