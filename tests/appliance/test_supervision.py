"""Real processes under supervision, on real Podman: they crash, are asked whether they are well, and are stopped.

The stories share one appliance and, in order, one app: each begins where the one before ended.
"""

import json
import time

import pytest

from ..support.appliance import repository, running, until

pytestmark = [pytest.mark.podman, pytest.mark.slow]

HOST = "tough.flynn.localhost"

SERVER = """
import os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/crash":
            os._exit(3)
        if path == "/break":
            Handler.broken = True
        if path == "/well" and getattr(Handler, "broken", False):
            self.send_error(500)
            return
        time.sleep({"/hang": 1000, "/late": 1}.get(path, 0))
        places = {"/moved": "/well", "/elsewhere": "https://elsewhere.example/"}
        self.send_response(302 if path in places else 200)
        if path in places:
            self.send_header("Location", places[path])
        if path == "/drip":
            self.end_headers()
            while True:
                self.wfile.write(b"x")
                time.sleep(1)
        body = b"z" * 5_000_000 if path == "/big" else ("all is well, job " + os.environ["FLYNN_JOB_ID"]).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

def end(number, frame):
    print("asked to end by", signal.Signals(number).name, flush=True)
    if os.environ.get("STUBBORN") == signal.Signals(number).name:
        return
    time.sleep(1.5)
    print("ended well", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def appliance():
    with running("100.110.1.0/24") as one:
        yield one


@pytest.fixture(scope="module")
def repo(appliance):
    files = {"app.py": SERVER, "requirements.txt": "", "Procfile": "web: exec python app.py\n"}
    return repository(appliance.place / "tough", files)


@pytest.fixture
def update(appliance, repo):
    """Lay something over the release, and deploy that."""

    def run(*, check=True, env=None, **web):
        file = appliance.place / "update.json"
        file.write_text(json.dumps({"env": env or {}, "processes": {"web": web}}))
        return appliance.run("flynn", "release", "update", file, cwd=repo, check=check)

    return run


def checked(**check):
    return {"ports": [{"port": 8080, "proto": "tcp", "service": {"name": "tough-web", "create": True, "check": check}}]}


def jobs(appliance, repo, state):
    shown = json.loads(appliance.flynn("ps", "-a", "--json", cwd=repo).stdout)
    return [job for job in shown if job["state"] == state and job.get("type") == "web"]


def another_answer(appliance, before):
    """Wait for the answer of a job that has not answered before, and return it."""

    def answer():
        answer = appliance.fetch(HOST)
        return answer.text if answer.status == 200 and answer.text != before else ""

    text = until(answer)
    assert text, "no replacement has answered"
    return text


def still_serves(appliance):
    """Check that the app answers; if not, show what its instances went through."""
    answer = appliance.fetch(HOST)
    diary = (appliance.data_dir / "appliance.log").read_text().splitlines()
    assert answer.text.startswith("all is well"), (answer, [line for line in diary if "instance" in line][-10:])


def log_of(appliance, repo, *options):
    done = appliance.flynn("log", "-n", "50", *options, cwd=repo)
    return done.stdout + done.stderr


def stop_and_look(appliance, repo):
    """Scale the app away and back; return how long that took, and the job that went."""
    [before] = jobs(appliance, repo, "up")
    began = time.monotonic()
    appliance.flynn("scale", "web=0", cwd=repo)
    took = time.monotonic() - began
    appliance.flynn("scale", "web=1", cwd=repo)
    return took, next(job for job in jobs(appliance, repo, "down") if job["uuid"] == before["uuid"])


def test_what_keeps_crashing_is_replaced_and_told_of(appliance, repo):
    appliance.flynn("create", "tough", cwd=repo)
    appliance.run("git", "push", "flynn", "master", cwd=repo)
    before = appliance.fetch_until(HOST, "all is well").text
    for _ in range(3):
        appliance.fetch(HOST, "/crash")
        before = another_answer(appliance, before)
    [up] = until(lambda: jobs(appliance, repo, "up"))
    assert (up["restarts"], up["flapping"], up["last_end"]) == (3, True, "ended with exit status 3")
    shown = appliance.flynn("ps", cwd=repo)
    assert len(shown.stdout.splitlines()) == 2
    assert "web keeps ending: 3 times in a row within" in shown.stderr
    assert "the last one ended with exit status 3" in shown.stderr
    assert "web keeps ending: 3 times in a row" in appliance.aio("status").stdout
    log = log_of(appliance, repo, "--init")
    assert log.count("flapping: job host0-") == 1
    assert "ended with exit status 3; 3 ends in a row within" in log
    assert "flapping" not in log_of(appliance, repo)


def test_a_release_that_is_deployed_begins_without_a_past(appliance, repo, update):
    update(stop_signal="SIGINT", stop_timeout=20)
    [up] = jobs(appliance, repo, "up")
    assert "flapping" not in up
    assert "keeps ending" not in appliance.flynn("ps", cwd=repo).stderr
    assert "asked to end by SIGTERM" in log_of(appliance, repo)  # of the old release, which said nothing


def test_a_job_is_stopped_with_its_own_signal_and_finishes(appliance, repo):
    took, gone = stop_and_look(appliance, repo)
    log = log_of(appliance, repo, "-j", gone["id"])
    assert "asked to end by SIGINT" in log
    assert "ended well" in log
    assert gone["exit_status"] == 0
    assert "signal" not in gone
    assert 1.5 <= took < 10


def test_a_job_that_will_not_end_is_killed_when_its_time_is_up(appliance, repo, update):
    update(env={"STUBBORN": "SIGINT"}, stop_timeout=2)
    took, gone = stop_and_look(appliance, repo)
    assert "asked to end by SIGINT" in log_of(appliance, repo, "-j", gone["id"])
    assert gone["signal"] == "SIGKILL"
    assert 2 <= took < 10


@pytest.mark.parametrize("path", ["/late", "/moved", "/big", "/well"])
def test_a_path_that_answers_in_the_end_is_healthy(appliance, repo, update, path):
    update(**checked(type="http", path=path))
    assert appliance.fetch(HOST).status == 200


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ({"path": "/hang"}, "no answer from"),
        ({"path": "/drip", "match": "well"}, "no answer from"),
        ({"path": "/elsewhere"}, "leads to https://elsewhere.example/, which is not this instance"),
        ({"path": "/big", "match": "well"}, "no 'well' in the first 5120 bytes"),
    ],
    ids=["hangs", "answers byte by byte", "leads elsewhere", "five megabytes of something else"],
)
def test_a_path_that_does_not_answer_fails_the_deployment_and_the_old_release_serves(
    appliance, repo, update, check, why
):
    appliance.flynn("deployment", "timeout", "6", cwd=repo)
    failed = update(check=False, **checked(type="http", **check))
    assert failed.returncode == 1
    assert why in failed.stderr
    still_serves(appliance)


def test_what_is_not_well_in_time_is_killed_when_its_check_says_so(appliance, repo, update):
    appliance.flynn("deployment", "timeout", "60", cwd=repo)
    failed = update(check=False, **checked(type="http", path="/hang", kill_down=True, start_timeout=3 * 10**8))
    assert "web job failed to start: got down job event" in failed.stderr
    still_serves(appliance)


def test_without_a_check_a_job_is_there_as_soon_as_it_runs_and_gone_with_its_scale(appliance, repo, update):
    update(ports=[{"port": 8080, "proto": "tcp", "service": {"name": "tough-web", "create": True}}])
    assert appliance.fetch_until(HOST, "all is well").status == 200
    appliance.flynn("scale", "web=0", cwd=repo)
    assert appliance.fetch(HOST).status == 503
    appliance.flynn("scale", "web=1", cwd=repo)
    appliance.fetch_until(HOST, "all is well")


def test_what_is_up_and_does_not_serve_is_not_said_to_be_well(appliance, repo, update):
    update(**checked(type="http", path="/well", interval=10**8))
    appliance.fetch(HOST, "/break")
    assert until(lambda: appliance.fetch(HOST).status == 503)
    [up] = jobs(appliance, repo, "up")
    assert up["unhealthy"].startswith("HTTP status 500 instead of 200 from 100.110.1.")
    shown = appliance.flynn("ps", cwd=repo)
    assert len(shown.stdout.splitlines()) == 2
    assert f"web does not serve: job {up['id']} is up, and its health check met: HTTP status 500" in shown.stderr
    assert "web does not serve" in appliance.aio("status").stdout


def test_with_kill_down_it_is_replaced_and_says_why(appliance, repo, update):
    update(**checked(type="http", path="/well", interval=10**8, kill_down=True))
    before = appliance.fetch(HOST).text
    appliance.fetch(HOST, "/break")
    another_answer(appliance, before)
    [up] = until(lambda: jobs(appliance, repo, "up"))
    assert up["last_end"].startswith("was given up by its health check: HTTP status 500 instead of 200")
    assert "unhealthy" not in up


def test_what_could_never_work_is_refused_by_its_field(appliance, repo, update):
    refused = update(check=False, **checked(type="icmp"))
    assert "processes.web.ports.0.service.check.type must be tcp, http or https, not 'icmp'" in refused.stderr
    refused = update(check=False, stop_timeout=-1)
    assert "processes.web.stop_timeout must be 0 to 3600 seconds, not -1" in refused.stderr
