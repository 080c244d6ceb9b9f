"""`flynn run`: what is asked for, and attached jobs as real processes with pipes and terminals."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager

import pytest

from .fake_controller import KEY, NOT_FOUND, Reply, Upgraded, error
from .nouns import NEW, OLD, release

JOBS = "POST /apps/shop/jobs"


def data(stream: int, content: bytes) -> bytes:
    return struct.pack(">BBI", 3, stream, len(content)) + content


def exit_frame(status: int) -> bytes:
    return struct.pack(">BI", 5, status)


def read_frame(handler):
    """Return the client's next frame: ``("stdin", bytes)``, ``("signal", number)``, ``("resize", rows, columns)``."""
    match handler.rfile.read(1):
        case b"\x03":
            _, length = struct.unpack(">BI", handler.rfile.read(5))
            return "stdin", handler.rfile.read(length)
        case b"\x04":
            return "signal", *struct.unpack(">I", handler.rfile.read(4))
        case b"\x06":
            return "resize", *struct.unpack(">HH", handler.rfile.read(4))
        case end:
            assert end == b""
            return ("gone",)


def cat(handler):
    """A job that prints its input on both streams, and exits with 42 at its end."""
    while True:
        _, content = read_frame(handler)
        if not content:
            break
        handler.wfile.write(data(1, content) + data(2, b"2" + content))
    handler.wfile.write(data(3, b"init") + data(1, b"") + data(2, b"") + exit_frame(42))


@pytest.fixture
def runnable(controller):
    controller.on("GET /apps/shop/release", release())
    controller.on(f"GET /releases/{OLD}", release())
    controller.on(f"GET /releases/{NEW}", release(NEW, meta={}))
    controller.on(JOBS, lambda request: Upgraded(cat) if "upgrade" in request.headers else Reply({"id": "host0-j"}))
    return controller


def test_detached(person, runnable):
    done = person.flynn("run", "-d", "sleep", "5")
    assert (done.code, done.out, done.err) == (0, "", "host0-j\n")
    assert runnable.bodies(JOBS) == [{"release": OLD, "release_env": True, "args": ["/runner/init", "sleep", "5"]}]


@pytest.mark.parametrize(
    ("argv", "body"),
    [
        (["-d", "-r", NEW, "--", "ls", "-l", "--", "x"], {"release": NEW, "args": ["ls", "-l", "--", "x"]}),
        (["-d", "/runner/init", "x"], {"args": ["/runner/init", "x"]}),
        (["-d", "-e", "sh", "-c", "x"], None),  # -c is no option of ours, and the command has not begun
        (["-d", "--profiles", "kvm,zfs", "--mounts-from=web", "x"], {"profiles": ["kvm", "zfs"], "mounts_from": "web"}),
        (
            ["-d", "--limits", "memory=512MB,cpu=2", "x"],
            {
                "resources": {
                    "memory": {"request": None, "limit": 536870912},
                    "cpu": {"request": None, "limit": 2},
                    "max_fd": {"request": 10000, "limit": 10000},
                    "temp_disk": {"request": 104857600, "limit": 104857600},
                }
            },
        ),
    ],
)
def test_what_is_asked_for(person, runnable, argv, body):
    done = person.flynn("run", *argv)
    if body is None:
        assert (done.code, runnable.bodies(JOBS)) == (1, [])
    else:
        assert runnable.bodies(JOBS) == [{"release": OLD, "release_env": True, "args": ["/runner/init", "x"], **body}]


def test_the_deprecated_entrypoint_comes_first_and_warns(person, runnable):
    done = person.flynn("run", "-d", "-e", "sh", "x")
    assert done.err.startswith("WARN: The -e flag is deprecated and will be removed in future versions, use <command>")
    assert runnable.bodies(JOBS)[0]["args"] == ["/runner/init", "sh", "x"]


@pytest.mark.parametrize(
    ("current", "argv", "err"),
    [
        (NOT_FOUND, ["x"], "No app release, specify a release with -release\n"),
        (release(artifacts=[]), ["x"], "App release has no image, push a release first\n"),
        (release(), ["--limits", "memory=lots", "x"], 'invalid resource limit value: "lots"\n'),
        (release(), ["-r", "nope", "x"], "controller: resource not found\n"),
    ],
)
def test_what_cannot_run(person, runnable, current, argv, err):
    runnable.on("GET /apps/shop/release", current)
    done = person.flynn("run", *argv)
    assert (done.code, done.out, done.err) == (1, "", err)


def test_streams_and_exit_code_pass_through(person, runnable):
    done = person.flynn_process("run", "--", "cat", stdin="some\ninput\n")
    assert (done.code, done.out, done.err) == (42, "some\ninput\n", "2some\ninput\ninit")
    (request,) = [request for request in runnable.requests if request.method == "POST"]
    assert request.headers["upgrade"] == "flynn-attach/0"
    assert request.headers["connection"] == "upgrade"
    assert request.body == {"release": OLD, "release_env": True, "disable_log": True, "args": ["/runner/init", "cat"]}


def test_enable_log(person, runnable):
    assert person.flynn_process("run", "-l", "cat").code == 42
    assert "disable_log" not in runnable.bodies(JOBS)[0]


def test_a_lot_in_both_directions_arrives(person, runnable):
    content = "x" * 79 + "\n"
    done = person.flynn_process("run", "cat", stdin=content * 20_000)
    assert (done.code, done.out) == (42, content * 20_000)


def test_over_tls_too(person, secure_controller):
    person.rc.write_text(
        f'[[cluster]]\nName = "s"\nKey = "{KEY}"\nTLSPin = "{secure_controller.pin}"\n'
        f'ControllerURL = "https://controller.{secure_controller.domain}"\n'
    )
    secure_controller.on(f"GET /releases/{NEW}", release(NEW, meta={}))
    secure_controller.on(JOBS, Upgraded(cat))
    content = "x" * 79 + "\n"
    done = person.flynn_process("-a", "shop", "run", "-r", NEW, "cat", stdin=content * 20_000)
    assert (done.code, done.out) == (42, content * 20_000)


@pytest.mark.parametrize(
    ("talk", "code", "out", "err"),
    [
        (exit_frame(300), 300 % 256, "", ""),
        (data(1, b"out") + exit_frame(0) + b"ignored", 0, "out", ""),
        (b"", 1, "", "EOF\n"),
        (data(1, b"partial")[:-2], 1, "parti", "EOF\n"),
        (b"\x02\x00\x00\x00\x04oops", 1, "", "oops\n"),
        (b"\x63", 1, "", "attach: unknown frame 99\n"),
    ],
)
def test_how_a_session_ends(person, runnable, talk, code, out, err):
    runnable.on(JOBS, Upgraded(lambda handler: handler.wfile.write(talk)))
    done = person.flynn_process("run", "x")
    assert (done.code, done.out, done.err) == (code, out, err)


@pytest.mark.parametrize(
    ("answer", "err"),
    [
        (error("unknown_error", "image is gone", 500), "unknown_error: image is gone\n"),
        (NOT_FOUND, "httpclient: unexpected status 404\n"),
        (Reply({}), "httpclient: unexpected status 200\n"),
    ],
)
def test_a_job_that_does_not_start(person, runnable, answer, err):
    runnable.on(JOBS, answer)
    done = person.flynn_process("run", "x")
    assert done.code == 1
    assert done.err.endswith(err)


def popen(person, **streams):
    argv = [sys.executable, "-m", "flynn_aio.cli.main", "run", "x"]
    return subprocess.Popen(argv, env=person.environ(), **streams)


def the_rest(process):
    """Return exit code and output, leaving the input open until then: its end would be a frame of its own."""
    with process.stdin, process.stdout:
        out = process.stdout.read()
        return process.wait(10), out


def test_signals_are_forwarded_and_the_job_has_the_last_word(person, runnable):
    seen = []

    def talk(handler):
        handler.wfile.write(data(1, b"ready\n"))
        seen.append(read_frame(handler))
        handler.wfile.write(data(1, b"bye\n") + exit_frame(130))

    runnable.on(JOBS, Upgraded(talk))
    process = popen(person, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert the_rest(process) == (0, b"bye\n")
    assert seen == [("signal", signal.SIGINT)]


def test_a_job_that_ignores_the_signal_is_killed(person, runnable):
    seen = []

    def talk(handler):
        handler.wfile.write(data(1, b"ready\n"))
        seen.extend([read_frame(handler), read_frame(handler)])
        handler.wfile.write(exit_frame(0))

    runnable.on(JOBS, Upgraded(talk))
    program = (
        "from flynn_aio.cli import attach, main; attach.KILL_AFTER_S = 0.2; raise SystemExit(main.main(['run', 'x']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=person.environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert the_rest(process) == (0, b"")
    assert seen == [("signal", signal.SIGTERM), ("signal", signal.SIGKILL)]


def test_output_nobody_reads_does_not_keep_signals_from_the_job(person, runnable):
    seen = []

    def talk(handler):
        handler.wfile.write(data(1, b"y\n" * 100_000))  # more than the pipe takes
        seen.append(read_frame(handler))
        handler.wfile.write(exit_frame(0))

    runnable.on(JOBS, Upgraded(talk))
    process = popen(person, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.read(2) == b"y\n"
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 5
    while not seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen == [("signal", signal.SIGINT)]
    assert the_rest(process)[0] == 0


def test_a_reader_that_goes_away_ends_the_session(person, runnable):
    gone = []

    def talk(handler):
        with pytest.raises(OSError):
            for _ in range(10_000):
                handler.wfile.write(data(1, b"y\n" * 1000))
        gone.append(True)

    runnable.on(JOBS, Upgraded(talk))
    process = popen(person, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(10) == -signal.SIGPIPE
    process.stdin.close()


def test_no_stdin_at_all_is_an_empty_one(person, runnable):
    shell = f'exec "{sys.executable}" -m flynn_aio.cli.main run cat <&-'
    done = subprocess.run(["sh", "-c", shell], env=person.environ(), capture_output=True, check=False, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (42, b"", b"init")


def test_closed_descriptors_do_not_become_connections(person, runnable):
    shell = f'exec "{sys.executable}" -m flynn_aio.cli.main run cat >&- 2>&-'
    done = subprocess.run(["sh", "-c", shell], env=person.environ(), input=b"x", check=False, timeout=20)
    assert done.returncode == 42
    assert person.flynn_process("apps").code == 1
    shell = f'exec "{sys.executable}" -m flynn_aio.cli.main kill x >&- 2>&-'
    assert subprocess.run(["sh", "-c", shell], env=person.environ(), check=False, timeout=20).returncode == 1


# With a terminal.


@contextmanager
def terminal(rows: int, columns: int):
    """Yield both ends of a new terminal."""
    ours, theirs = pty.openpty()
    resized(ours, rows, columns)
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


def resized(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read_until(fd: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += os.read(fd, 1024)
    return seen


def test_a_terminal_goes_raw_follows_its_size_and_comes_back(person, runnable):
    seen = []

    def talk(handler):
        handler.wfile.write(data(1, b"$ "))
        seen.extend([read_frame(handler), read_frame(handler), read_frame(handler)])
        handler.wfile.write(data(1, b"\r\nbye\r\n") + exit_frame(7))

    runnable.on(JOBS, Upgraded(talk))
    person.monkeypatch.setenv("TERM", "xterm-256color")
    with terminal(40, 132) as (ours, theirs):
        before = termios.tcgetattr(theirs)
        process = popen(person, stdin=theirs, stdout=theirs, stderr=theirs)
        read_until(ours, b"$ ")
        assert not termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        os.write(ours, b"\x03")  # Ctrl-C is the job's business
        resized(ours, 24, 80)
        process.send_signal(signal.SIGWINCH)  # as the kernel would, were this its controlling terminal
        assert b"bye" in read_until(ours, b"bye")
        assert process.wait(10) == 7
        assert termios.tcgetattr(theirs) == before
    assert sorted(seen) == [("resize", 24, 80), ("signal", signal.SIGWINCH), ("stdin", b"\x03")]
    assert seen.index(("resize", 24, 80)) < seen.index(("signal", signal.SIGWINCH))
    (body,) = runnable.bodies(JOBS)
    assert body == {
        "release": OLD,
        "release_env": True,
        "disable_log": True,
        "args": ["/runner/init", "x"],
        "tty": True,
        "tty_columns": 132,
        "tty_lines": 40,
        "env": {"COLUMNS": "132", "LINES": "40", "TERM": "xterm-256color"},
    }


@pytest.mark.parametrize("end", [b"", b"\x02\x00\x00\x00\x04oops", b"\x63"])
def test_a_terminal_comes_back_after_every_failure(person, runnable, end):
    runnable.on(JOBS, Upgraded(lambda handler: handler.wfile.write(data(1, b"$ ") + end)))
    with terminal(24, 80) as (ours, theirs):
        before = termios.tcgetattr(theirs)
        process = popen(person, stdin=theirs, stdout=theirs, stderr=theirs)
        read_until(ours, b"\n")  # the error
        assert process.wait(10) == 1
        assert termios.tcgetattr(theirs) == before


def test_output_to_a_pipe_makes_no_terminal_job(person, runnable):
    runnable.on(JOBS, Upgraded(lambda handler: handler.wfile.write(exit_frame(0))))
    with terminal(24, 80) as (_, theirs):
        process = popen(person, stdin=theirs, stdout=subprocess.PIPE)
        process.communicate(timeout=10)
    assert "tty" not in runnable.bodies(JOBS)[0]
