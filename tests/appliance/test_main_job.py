"""The main job on real Podman: up, push, live; scale, change, log, run; crash, adopt, down.

The stories share one appliance and, in order, one app: each begins where the one before ended.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from flynn_aio.controller.attach_session import HANG_UP_KILL_S

from ..support.appliance import EXAMPLES, git, repository

pytestmark = [pytest.mark.podman, pytest.mark.slow]

HOST = "hello.flynn.localhost"


@pytest.fixture(scope="module")
def repo(appliance):
    return repository(appliance.place / "hello", EXAMPLES / "python-hello")


def push(appliance, repo, *, check=True):
    return appliance.run("git", "push", "flynn", "master", cwd=repo, check=check)


def test_a_first_push_is_live_at_its_own_name(appliance, repo):
    assert appliance.flynn("create", "hello", cwd=repo).stderr == "Created hello\n"
    pushed = push(appliance, repo).stderr.replace("\x1b[1G\x1b[K", "")
    said = [
        "-----> Building hello...",
        "-----> Python app detected",
        "-----> Creating release...",
        "=====> Scaling initial release to web=1",
        "-----> Waiting for initial web job to start...",
        "=====> Initial web job started",
        "=====> Application deployed",
        "* [new branch]      master -> master",
    ]
    places = [pushed.index(line) for line in said]
    assert places == sorted(places)
    answer = appliance.fetch(HOST)
    assert (answer.status, answer.text.splitlines()[0]) == (200, "Hello from Flynn on port 8080")
    assert appliance.fetch(HOST, plain=True).status == 200


def test_curl_agrees_over_http2(appliance, repo):
    port = appliance.state["https_port"]
    shown = appliance.run(
        "curl", "--silent", "--show-error", "--http2", "--cacert", appliance.data_dir / "keys" / "ca.pem",
        "--write-out", "%{http_version} %{http_code}", "--output", "/dev/null", f"https://{HOST}:{port}/",
    )  # fmt: skip
    assert shown.stdout == "2 200"


def test_an_unchanged_push_is_quick_and_a_new_release(appliance, repo):
    before = appliance.flynn("release", "-q", cwd=repo).stdout.split()
    git(repo, "commit", "--allow-empty", "--message=again")
    push(appliance, repo)
    assert len(appliance.flynn("release", "-q", cwd=repo).stdout.split()) == len(before) + 1
    assert appliance.fetch(HOST).status == 200


def test_nothing_new_is_up_to_date(appliance, repo):
    assert "Everything up-to-date" in push(appliance, repo).stderr


def test_scaling_up_and_down(appliance, repo):
    shown = appliance.flynn("scale", "web=3", cwd=repo).stdout
    assert shown.startswith("scaling web: 1=>3\n\n")
    assert shown.count(" up\n") == 2
    assert "scale completed in" in shown
    assert len(appliance.job_ids("hello")) == 3
    appliance.flynn("scale", "web=1", cwd=repo)
    assert len(appliance.job_ids("hello")) == 1


def test_an_env_change_is_a_release_without_a_lost_request(appliance, repo):
    work = subprocess.Popen(
        ["flynn", "-a", "hello", "env", "set", "GREETING=Bonjour"],
        env=appliance.environ,
        cwd=repo,
        stderr=subprocess.PIPE,
    )
    statuses = []
    while work.poll() is None:
        statuses.append(appliance.fetch(HOST).status)
    assert work.communicate()[1].startswith(b"Created release ")
    assert set(statuses) == {200}, statuses
    assert appliance.fetch_until(HOST, "Bonjour").text.startswith("Bonjour from Flynn")
    assert appliance.flynn("env", cwd=repo).stdout == "GREETING=Bonjour\n"


def test_a_rollback_takes_the_change_back(appliance, repo):
    appliance.flynn("release", "rollback", "-y", cwd=repo)
    appliance.fetch_until(HOST, "Hello from Flynn")


def test_ps_shows_what_runs(appliance, repo):
    header, row = appliance.flynn("ps", cwd=repo).stdout.splitlines()
    assert header.split() == ["ID", "TYPE", "STATE", "CREATED", "RELEASE", "COMMAND"]
    assert row.split()[1:3] == ["web", "up"]
    assert row.endswith("/runner/init start web")


def test_a_killed_job_is_replaced(appliance, repo):
    [job] = appliance.job_ids("hello")
    assert appliance.flynn("kill", job, cwd=repo).stderr == f"Job {job} killed.\n"
    assert until(lambda: appliance.job_ids("hello") - {job})
    appliance.fetch_until(HOST, "Hello from Flynn")


def test_a_crashed_process_is_started_again(appliance, repo):
    [job] = appliance.job_ids("hello")
    container = f"flynn-{appliance.appliance_id}-{job.partition('-')[2]}"
    appliance.run("podman", "kill", "--signal=KILL", container)
    assert until(lambda: appliance.job_ids("hello") - {job})
    appliance.fetch_until(HOST, "Hello from Flynn")


def test_logs_by_number_type_and_job(appliance, repo):
    appliance.fetch(HOST, "/here-i-am")
    [job] = appliance.job_ids("hello")
    assert until(lambda: "/here-i-am" in appliance.flynn("log", "-n", "5", cwd=repo).stdout)
    assert "/here-i-am" in appliance.flynn("log", "-j", job, "-t", "web", "-r", cwd=repo).stdout
    assert appliance.flynn("log", "-t", "worker", cwd=repo).stdout == ""
    assert len(appliance.flynn("log", "-n", "2", cwd=repo).stdout.splitlines()) == 2


def test_a_followed_log_shows_what_happens(appliance, repo):
    follower = subprocess.Popen(
        ["flynn", "-a", "hello", "log", "-f"], env=appliance.environ, stdout=subprocess.PIPE, text=True
    )
    try:
        time.sleep(1.0)  # it says nothing when it has begun
        appliance.fetch(HOST, "/followed")
        assert "/followed" in next(line for line in follower.stdout if "followed" in line)
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 0
        follower.stdout.close()


def test_a_one_off_job_has_streams_and_an_exit_code(appliance, repo):
    done = appliance.flynn(
        "run", "--", "bash", "-c", "echo out; echo 'err or' >&2; id -u; exit 42", cwd=repo, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("out\n5000\n", "err or\n", 42)


def test_a_one_off_job_reads_stdin(appliance, repo):
    done = subprocess.run(
        ["flynn", "-a", "hello", "run", "wc", "-c"],
        env=appliance.environ, input=b"x" * 1_000_000, stdout=subprocess.PIPE, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == b"1000000"


def on_a_terminal(appliance, script: str) -> tuple[int, int]:
    """Run a script as a one-off job of a `flynn` that has a terminal; return its process and our end of that."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("flynn", ["flynn", "-a", "hello", "run", "bash", "-c", script], appliance.environ)
    return pid, terminal


def read_until(terminal: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        assert select.select([terminal], [], [], 20)[0], seen
        seen += os.read(terminal, 4096)
    return seen


def test_a_terminal_is_a_terminal(appliance, repo):
    pid, terminal = on_a_terminal(appliance, "tty; stty size; read x; echo got $x")
    seen = b""
    answered = False
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
        if b"/dev/pts/" in seen and not answered:
            answered = True
            os.write(terminal, b"it\r")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"/dev/pts/" in seen
    assert b"got it" in seen


def test_ctrl_c_on_a_terminal_ends_a_program_that_does_not_mind_it(appliance, repo):
    pid, terminal = on_a_terminal(appliance, "echo ready; exec sleep 1000")
    seen = read_until(terminal, b"ready")
    os.write(terminal, b"\x03")
    ended = os.pidfd_open(pid)
    assert select.select([ended], [], [], 10)[0], seen
    os.close(ended)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130


def test_a_job_that_ends_at_once_has_printed_all_it_did(appliance, repo):
    wanted = "".join(f"{number}\n" for number in range(1, 50_001))
    for _ in range(3):
        assert appliance.flynn("run", "seq", "50000", cwd=repo).stdout == wanted
        assert appliance.flynn("run", "echo", "hello", cwd=repo).stdout == "hello\n"


def test_a_terminal_follows_its_window_and_its_job_ends_with_a_client_that_is_killed(appliance, repo):
    jobs, containers = appliance.job_ids("hello"), set(appliance.containers())
    pid, terminal = on_a_terminal(appliance, "trap 'stty size' WINCH; echo ready; while true; do sleep 0.1; done")
    read_until(terminal, b"ready")
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 40, 132, 0, 0))
    read_until(terminal, b"40 132")
    assert len(set(appliance.containers()) - containers) == 1
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)
    assert until(lambda: set(appliance.containers()) == containers), "its job goes on"
    assert appliance.job_ids("hello") == jobs


def test_a_job_with_pipes_ends_with_a_client_that_is_killed_whatever_it_thinks_of_signals(appliance, repo):
    containers = set(appliance.containers())
    client = subprocess.Popen(
        ["flynn", "-a", "hello", "run", "bash", "-c", "trap '' TERM INT HUP; echo ready; while true; do sleep 1; done"],
        env=appliance.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with client.stdin, client.stdout:
        assert client.stdout.readline() == b"ready\n"
        began = time.monotonic()
        client.kill()
        client.wait()
        assert until(lambda: set(appliance.containers()) == containers, within_s=30), "its job goes on"
        assert time.monotonic() - began >= HANG_UP_KILL_S - 1, "it was given no time"


def test_a_detached_job_is_logged(appliance, repo):
    job = appliance.flynn("run", "-d", "echo", "from afar", cwd=repo).stderr.strip()
    assert until(lambda: appliance.flynn("log", "-r", "-j", job, cwd=repo).stdout == "from afar\n")


def test_jobs_find_each_other_by_name(appliance, repo):
    shown = appliance.flynn("run", "getent", "hosts", "hello-web.discoverd", cwd=repo).stdout
    assert shown.startswith("100.101.0.")


def test_limits_are_real(appliance, repo):
    shown = appliance.flynn("run", "--limits", "memory=200MB,max_fd=9000", "bash", "-c", "ulimit -n", cwd=repo).stdout
    assert shown.strip() == "9000"
    assert "memory=1GB" in appliance.flynn("limit", cwd=repo).stdout


def test_kill_9_of_the_appliance_costs_no_app_and_no_job(appliance, repo):
    appliance.flynn("scale", "web=2", cwd=repo)
    jobs, containers = appliance.job_ids("hello"), set(appliance.containers(running=True))
    appliance.kill()
    assert set(appliance.containers(running=True)) == containers
    assert appliance.aio("status", check=False).returncode == 1
    appliance.up()
    assert appliance.job_ids("hello") == jobs
    assert set(appliance.containers(running=True)) == containers
    assert appliance.fetch(HOST).status == 200


def test_sigterm_leaves_the_apps_and_the_next_start_adopts_them(appliance, repo):
    jobs = appliance.job_ids("hello")
    os.kill(appliance.state["pid"], signal.SIGTERM)
    assert until(lambda: appliance.aio("status", check=False).stdout.startswith("not running"))
    assert len(appliance.containers(running=True)) == 2
    log = (appliance.data_dir / "appliance.log").read_text()
    assert "Traceback" not in log
    appliance.up()
    assert appliance.job_ids("hello") == jobs


def test_status_and_credentials_are_for_people_and_programs(appliance):
    assert "hello: 2 up" in appliance.aio("status").stdout
    assert '"healthy": true' in appliance.aio("status", "--json").stdout
    assert '"tls_pin"' in appliance.aio("credentials", "--json").stdout
    assert "flynn cluster add -p" in appliance.aio("credentials").stdout


def test_down_leaves_nothing_running_and_up_brings_it_back(appliance, repo):
    appliance.aio("down")
    assert appliance.containers() == []
    networks = appliance.run("podman", "network", "ls", "--format", "{{.Name}}").stdout.split()
    assert f"flynn-{appliance.appliance_id}" not in networks
    appliance.up()
    appliance.fetch_until(HOST, "Hello from Flynn")
    assert until(lambda: len(appliance.job_ids("hello")) == 2)


def test_a_deleted_app_is_gone(appliance, repo):
    done = appliance.flynn("delete", "-y", cwd=repo)
    assert done.stderr.startswith("Deleted hello (removed 1 routes, deleted")
    assert appliance.fetch(HOST, plain=True).status == 404
    assert until(lambda: appliance.containers() == [])


def until(condition, *, within_s=20):
    """Return what `condition` returns as soon as it is true, or at the end."""
    deadline = time.monotonic() + within_s
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
