"""What Flynn's own suites ask of a real cluster, asked of real containers: deployer, scheduler and host.

One app as upstream's `test-apps`, of busybox: `printer`, `crasher`, `echoer`, `omni`.

Source: Flynn `test/test_deployer.go`, `test_scheduler.go`, `test_host.go`, `test_healthcheck.go`.
"""

import itertools
import json
import re
import socket
import ssl
import subprocess
import time
from contextlib import closing
from http.client import HTTPConnection

import pytest

from flynn_aio.model import full_job_id

from ..support.appliance import Sni, repository, running, until
from ..support.http_client import basic
from ..support.images import ensure_test_image

pytestmark = [pytest.mark.podman, pytest.mark.slow]

PRINT = ["sh", "-c", "trap 'exit 0' TERM; while true; do echo I like to print; sleep 1 & wait $!; done"]
CRASH = ["sh", "-c", "trap 'exit 1' TERM; while true; do echo I like to crash; sleep 1 & wait $!; done"]
ECHO = ["sh", "-c", "sleep 1; exec nc -ll -p $PORT -e cat"]
CHECK = {"type": "tcp", "interval": 10**8}
TYPES = {
    "printer": {"args": PRINT},
    "crasher": {"args": CRASH},
    "omni": {"args": PRINT, "omni": True},
    "echoer": {
        "args": ECHO,
        "ports": [
            {"port": 0, "proto": "tcp", "service": {"name": "echo-service", "create": True, "check": CHECK}},
        ],
        "service": "echo-service",
    },
}
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def appliance():
    with running("100.109.0.0/24") as one:
        yield one


@pytest.fixture
def app(appliance):
    """An app with a release of `TYPES`; its jobs end with the test."""
    one = App.made(appliance, f"story-{next(NUMBERS)}")
    yield one
    one.call("DELETE", one.path)


class App:
    """One app, as upstream's helpers see it: through the API, and through the command line where they use it."""

    def __init__(self, appliance, name):
        self.appliance, self.name, self.path = appliance, name, f"/apps/{name}"

    @classmethod
    def made(cls, appliance, name):
        app = cls(appliance, name)
        app.id = app.call("POST", "/apps", {"name": name})["id"]
        artifact = app.call("POST", "/artifacts", {"type": "flynn", "uri": f"image:{ensure_test_image()}"})
        app.artifacts = [artifact["id"]]
        app.release = app.new_release()
        app.call("PUT", f"{app.path}/release", {"id": app.release})
        return app

    @classmethod
    def pushed(cls, appliance, name, files):
        repo = repository(appliance.place / name, files)
        appliance.flynn("create", name, cwd=repo)
        appliance.run("git", "push", "flynn", "master", cwd=repo)
        app = cls(appliance, name)
        app.id, app.release = (app.call("GET", path)["id"] for path in (app.path, f"{app.path}/release"))
        return app

    def try_call(self, method, path, body=None):
        state = self.appliance.state
        key = (self.appliance.data_dir / "keys" / "cluster.key").read_text().strip()
        connection = Sni("controller.flynn.localhost", state["https_port"], _context(self.appliance), 30)
        headers = {
            "Authorization": basic(key),
            "Content-Type": "application/json",
            "Accept": "application/json",  # events as a list
            "Host": "controller.flynn.localhost",
        }
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text else None

    def call(self, method, path, body=None):
        status, answer = self.try_call(method, path, body)
        assert status == 200, (method, path, status, answer)
        return answer

    def flynn(self, *words, check=True):
        return self.appliance.flynn("-a", self.name, *words, check=check)

    def new_release(self, **types):
        body = {"app_id": self.id, "artifacts": self.artifacts, "processes": TYPES | types}
        return self.call("POST", "/releases", body)["id"]

    def put(self, **counts):
        self.call("PUT", f"{self.path}/formations/{self.release}", {"processes": counts})

    def scaled(self, **counts):
        """Scale, and wait until so many are up and nothing else goes on."""
        self.put(**counts)
        wanted = sorted(itertools.chain.from_iterable([kind] * count for kind, count in counts.items()))
        assert until(lambda: sorted(job.get("type", "") for job in self.settled()) == wanted), self.jobs()

    def jobs(self, *states):
        return [job for job in self.call("GET", f"{self.path}/jobs") if not states or job["state"] in states]

    def settled(self):
        """Return what is up; nothing while some other job is on its way."""
        active = [job for job in self.jobs() if job["state"] != "down"]
        return active if all(job["state"] == "up" for job in active) else []

    def events(self, kind):
        """Return the data of the app's events of a kind, oldest first."""
        found = self.call("GET", f"/events?app_id={self.id}&object_types={kind}")
        return [event["data"] for event in found[::-1]]

    def deploy(self, release):
        """Deploy, and wait for the end; return the deployment, its last event, and the ups and downs."""
        before = len(self.events("job"))
        deployment = self.call("POST", f"{self.path}/deploy", {"id": release})
        assert deployment["status"] == "pending"

        def ended():
            told = [one for one in self.events("deployment") if one["deployment"] == deployment["id"]]
            return told if told[-1]["status"] in ("complete", "failed") else None

        told = until(ended, within_s=60)
        assert told, self.jobs()
        assert [one["status"] for one in told][:-1] == ["pending"]
        turns = {deployment["old_release"]: "old", deployment["new_release"]: "new"}

        def ups_and_downs():
            moves = [one for one in self.events("job")[before:] if one["state"] in ("up", "down")]
            return [f"{turns[one['release']]} {one['state']}" for one in moves]

        return deployment, told[-1], ups_and_downs

    def exchanged(self, order):
        """Deploy a copy of the release as Flynn's tests do, and see the jobs change places in this order."""
        deployment, event, moves = self.deploy(self.new_release())
        assert event["status"] == "complete", event
        until(lambda: len(moves()) == len(order))
        assert moves() == order
        self.release = deployment["new_release"]
        assert self.call("GET", f"{self.path}/release")["id"] == self.release


def _context(appliance):
    return ssl.create_default_context(cafile=appliance.data_dir / "keys" / "ca.pem")


def container_of(appliance, job):
    [name] = [one for one in appliance.containers(running=True) if one.endswith(job["uuid"])]
    return name


def kill_below(appliance, job):
    """End a container where the scheduler does not see it coming: `StopJob` of Flynn's host API."""
    appliance.run("podman", "kill", "--signal", "TERM", container_of(appliance, job))


def address_of(appliance, job):
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return appliance.run("podman", "inspect", "--format", form, container_of(appliance, job)).stdout.strip()


# -- deployer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "meta", "count", "order"),
    [
        ("all-at-once", {}, 2, ["new up"] * 2 + ["old down"] * 2),
        ("one-by-one", {}, 2, ["new up", "old down"] * 2),
        ("one-down-one-up", {}, 2, ["old down", "new up"] * 2),
        ("in-batches", {}, 3, ["new up", "old down"] * 3),
        ("in-batches", {"flynn-deploy-batch-size": "4"}, 8, (["new up"] * 4 + ["old down"] * 4) * 2),
    ],
)
def test_strategies_exchange_containers_in_their_order(app, strategy, meta, count, order):
    app.call("POST", app.path, {"strategy": strategy, "meta": meta})
    app.scaled(printer=count)
    app.exchanged(order)


def test_a_service_is_up_when_it_is_registered(app):
    app.scaled(echoer=2)
    for job in app.jobs("up"):
        told = [event for event in app.events("job") if event["uuid"] == job["uuid"]]
        assert [event["state"] for event in told] == ["pending", "starting", "up"]  # it listens a second later
    app.exchanged(["new up"] * 2 + ["old down"] * 2)


def test_an_omni_type_has_as_many_jobs_as_on_one_host(app):
    app.scaled(omni=2)
    app.exchanged(["new up"] * 2 + ["old down"] * 2)
    app.call("POST", app.path, {"strategy": "one-by-one"})
    app.exchanged(["new up", "old down"] * 2)


def rolled_back(app, release):
    assert app.call("GET", f"{app.path}/release")["id"] == app.release
    assert app.call("GET", f"{app.path}/formations/{app.release}")["processes"] == {"printer": 2}
    assert app.try_call("GET", f"{app.path}/formations/{release}")[0] == 404


def test_a_release_whose_command_is_missing_is_rolled_back(app):
    app.scaled(printer=2)
    before = {job["uuid"] for job in app.jobs("up")}
    broken = app.new_release(printer={"args": ["this-is-gonna-fail"]})
    _, event, _ = app.deploy(broken)
    said = 'printer job failed to start: exec: "this-is-gonna-fail": executable file not found in $PATH'
    assert (event["status"], event["error"].splitlines()[0].split("; ")[0]) == ("failed", said)
    rolled_back(app, broken)
    assert {job["uuid"] for job in app.jobs("up")} == before


def test_a_release_that_never_opens_its_port_is_rolled_back_and_can_be_deployed_again(app):
    app.scaled(printer=2)
    check = {"type": "tcp", "interval": 10**8, "threshold": 1, "kill_down": True, "start_timeout": 10**8}
    service = {"name": "printer", "create": True, "check": check}
    deaf = {"args": PRINT, "service": "printer", "ports": [{"port": 12345, "proto": "tcp", "service": service}]}
    broken = app.new_release(printer=deaf)
    _, event, _ = app.deploy(broken)
    said = "printer job failed to start: got down job event"
    assert (event["status"], event["error"].splitlines()[0].split("; ")[0]) == ("failed", said)
    rolled_back(app, broken)
    assert app.try_call("POST", f"{app.path}/deploy", {"id": broken})[0] == 200


# -- scheduler --------------------------------------------------------------------------------------


def test_each_scaling_starts_and_stops_just_the_difference(app):
    def moves(seen=0):
        told = app.events("job")[seen:]
        return sorted((one["type"], one["state"]) for one in told if one["state"] in ("up", "down"))

    for counts, wanted in (
        ({"printer": 2}, [("printer", "up")] * 2),
        ({"printer": 3, "crasher": 1}, [("crasher", "up"), ("printer", "up")]),
        ({"printer": 1}, [("printer", "down")] * 2),
    ):
        seen = len(app.events("job"))
        app.put(**counts)
        until(lambda seen=seen, wanted=wanted: moves(seen) == wanted)
        assert moves(seen) == wanted


def test_ended_jobs_are_down_and_only_those_of_a_formation_are_replaced(app, appliance):
    app.scaled(printer=1, crasher=1)
    one_off = app.flynn("run", "-d", *PRINT).stderr.strip()
    assert until(lambda: len(app.jobs("up")) == 3)
    jobs = {job.get("type", ""): job for job in app.jobs("up")}
    assert full_job_id(jobs[""]["uuid"]) == one_off
    for kind, listed, up in (("printer", 4, 3), ("", 4, 2), ("crasher", 5, 2)):
        kill_below(appliance, jobs[kind])
        assert until(lambda listed=listed, up=up: (len(app.jobs()), len(app.jobs("up"))) == (listed, up)), app.jobs()
        assert app.call("GET", f"{app.path}/jobs/{jobs[kind]['id']}")["state"] == "down"


def test_four_stops_in_a_row_are_each_made_good_at_once(app, appliance):
    app.scaled(printer=1)
    for _ in range(4):
        [job] = app.settled()
        stopped = time.monotonic()
        kill_below(appliance, job)
        assert until(lambda job=job: [one for one in app.settled() if one["uuid"] != job["uuid"]])
        assert time.monotonic() - stopped < 8


def test_a_tcp_route_echoes(app):
    app.scaled(echoer=1)
    added = app.flynn("route", "add", "tcp", "-s", "echo-service").stdout.strip()
    assert re.fullmatch(r".+ on port \d+", added)

    def echoed():
        with socket.create_connection(("127.0.0.1", int(added.split()[-1])), 5) as visitor:
            visitor.settimeout(5)
            visitor.sendall(b"hello there!\n")
            return visitor.recv(100)

    assert echoed() == b"hello there!\n"


BLOCKER = {
    "app.py": """\
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

unblocked = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        if self.path == "/block":
            unblocked.wait()
        if self.path == "/unblock":
            unblocked.set()
        self.wfile.write(b"done")


ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
""",
    "requirements.txt": "",
    "Procfile": "web: python3 app.py\n",
}


def test_a_job_drains_before_it_ends(appliance):
    app, host = App.pushed(appliance, "blocker", BLOCKER), "blocker.flynn.localhost"
    [job] = app.jobs("up")

    blocked = HTTPConnection("127.0.0.1", appliance.state["http_port"], timeout=30)
    direct = HTTPConnection(address_of(appliance, job), 8080, timeout=5)
    with closing(blocked), closing(direct):
        blocked.request("GET", "/block", headers={"Host": host})
        answer = blocked.getresponse()
        assert answer.status == 200
        app.put(web=0)
        assert until(lambda: app.jobs("stopping"))
        assert until(lambda: appliance.fetch(host, "/ping", plain=True).status == 503)
        assert app.jobs("stopping")

        direct.request("GET", "/unblock")
        assert direct.getresponse().read() == b"done"
        assert answer.read() == b"done"
    assert until(lambda: not app.jobs("stopping"))
    assert [event["state"] for event in app.events("job") if event["uuid"] == job["uuid"]][-2:] == ["stopping", "down"]


# -- host -------------------------------------------------------------------------------------------


def shell(app, script):
    """Give a one-off shell its script on standard input; return what it printed to either stream."""
    done = subprocess.run(
        ["flynn", "-a", app.name, "run", "sh"],
        env=app.appliance.environ,
        cwd=app.appliance.place,
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


def test_standard_streams_are_files_also_for_subshells(app):
    script = """
echo foo > /dev/stdout
echo bar > /dev/stderr
echo "SUBSHELL: $(echo baz > /dev/stdout)"
echo "SUBSHELL: $(echo qux 2>&1 > /dev/stderr)" >&2"""
    assert shell(app, script) == ("foo\nSUBSHELL: baz\n", "bar\nSUBSHELL: qux\n")


def test_shared_memory_is_64_megabytes_and_writable(app):
    shown = app.flynn("run", "sh", "-c", "df -h /dev/shm && echo foo > /dev/shm/asdf").stdout.splitlines()
    assert shown[-1].split() == ["shm", "64.0M", "0", "64.0M", "0%", "/dev/shm"]


def test_a_job_that_crashes_says_so_attached_or_not(app):
    assert app.flynn("run", "sh", "-c", "exit 1", check=False).returncode == 1
    job = app.flynn("run", "-d", "sh", "-c", "exit 1").stderr.strip()
    assert until(lambda: app.call("GET", f"{app.path}/jobs/{job}")["state"] == "down")
    assert app.call("GET", f"{app.path}/jobs/{job}")["exit_status"] == 1


def test_running_out_of_memory_is_in_the_log_of_the_app(app):
    app.flynn("run", "-d", "--limits", "memory=20MB", "sh", "-c", "x=a; while true; do x=$x$x; done")
    said = "FATAL: a container process was killed due to lack of available memory"
    assert until(lambda: said in app.flynn("log", "-i").stderr), app.flynn("log", "-i").stderr


def test_a_signal_reaches_the_job_and_its_last_words_the_caller(app):
    script = "trap 'printf \"got signal: terminated\"; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    with subprocess.Popen(
        ["flynn", "-a", app.name, "run", "sh", "-c", script],
        env=app.appliance.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as caller:
        assert caller.stdout.readline() == "ready\n"
        caller.terminate()
        assert caller.stdout.read() == "got signal: terminated"
        assert caller.wait(timeout=12) == 0


# -- health checks ----------------------------------------------------------------------------------


def checked(**check):
    """A process type that listens on nothing, and how that is looked at."""
    service = {"name": "deaf", "create": True, "check": {"type": "tcp", "interval": 10**8, **check}}
    return {"args": PRINT, "service": "deaf", "ports": [{"port": 12345, "proto": "tcp", "service": service}]}


def test_a_check_that_fails_keeps_a_job_from_being_up_but_not_from_living(app):
    app.release = app.new_release(printer=checked())
    app.put(printer=1)
    assert until(lambda: app.jobs("starting"))
    time.sleep(3)
    [job] = app.jobs()
    assert job["state"] == "starting"


def test_a_check_that_fails_and_kills_down_brings_the_job_down(app):
    app.release = app.new_release(printer=checked(kill_down=True, start_timeout=2 * 10**9))
    app.put(printer=1)
    assert until(lambda: app.jobs("down"))


def test_without_a_check_a_job_is_up_at_its_start_and_down_at_its_end(app):
    app.scaled(printer=1)
    app.put(printer=0)
    assert until(lambda: [job["state"] for job in app.jobs()] == ["down"])
