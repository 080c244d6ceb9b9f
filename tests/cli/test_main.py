"""The program as a whole: help, versions, usage, exit codes, and a few stories as real processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import flynn_aio

from .fake_controller import Stream, error, frame
from .nouns import APP

USAGE = "usage: flynn [-a <app>] [-c <cluster>] <command> [<args>...]"
LISTED = [
    "help", "cluster", "create", "delete", "apps", "info", "ps", "kill", "log", "scale", "run", "env", "limit", "meta",
    "route", "pg", "mysql", "mongodb", "redis", "provider", "docker", "remote", "resource", "release", "deployment",
    "volume", "export", "import", "completion", "version",
]  # fmt: skip


@pytest.mark.parametrize("argv", [["help"], ["-h"], ["--help"], ["-a", "x", "--help"]])
def test_help_lists_what_there_is_in_flynns_order(person, argv):
    done = person.flynn(*argv)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(USAGE + "\n\nOptions:\n")
    commands = done.out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in commands] == LISTED
    assert done.out.endswith("\nSee 'flynn help <command>' for more information on a specific command.\n")


@pytest.mark.parametrize("argv", [["help", "ps"], ["ps", "--help"], ["ps", "-h"], ["ps", "-qah"]])
def test_help_of_a_command(person, argv):
    done = person.flynn(*argv)
    assert done.code == 0
    usage = "usage: flynn ps [-a] [-c] [-q] [-t <type>] [--json]"
    assert done.out.startswith(f"{usage}\n\nList the app's jobs, oldest first. ")
    assert "\n\nOptions:\n    -a" in done.out


def test_help_as_json(person):
    texts = json.loads(person.flynn("help", "--json").out)
    assert sorted(texts) == sorted([*LISTED, "git-credentials", "complete", "install", "login", "update"])
    assert texts["version"] == "usage: flynn version\n\nShow the version of this command."


@pytest.mark.parametrize("argv", [["version"], ["--version"]])
def test_version(person, argv):
    done = person.flynn(*argv)
    assert (done.code, done.out, done.err) == (0, flynn_aio.__version__ + "\n", "")


@pytest.mark.parametrize(
    ("argv", "out", "err"),
    [
        ([], USAGE, ""),
        (["-a"], "-a requires argument\n" + USAGE, ""),
        (["--bogus"], USAGE, ""),
        (["bogus"], "", "bogus is not a flynn command. See 'flynn help'"),
        (["help", "bogus"], "", "bogus is not a flynn command. See 'flynn help'"),
        (["kill"], "usage: flynn kill <job>...", ""),
        (["apps", "-a", "x"], "usage: flynn apps [--json]", ""),  # global options stand before the command
        (["ps", "--bogus"], "usage: flynn ps [-a] [-c] [-q] [-t <type>] [--json]", ""),
        (
            ["limit", "set", "web"],
            "usage: flynn limit [-t <proc>] [--json]\n       flynn limit set <proc> <var>=<val>...",
            "",
        ),
    ],
)
def test_usage_mistakes(person, argv, out, err):
    done = person.flynn(*argv)
    assert done.code == 1
    assert (done.out.removesuffix("\n"), done.err.removesuffix("\n")) == (out, err)


def test_long_usage_lines_are_printed_as_one(person):
    lines = person.flynn("run").out.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("[--profiles <profiles>] [--mounts-from <proc>] [--] <command> [<argument>...]")


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["update"], "flynn does not update itself: it comes with flynn-aio\n"),
        (["login", "https://issuer"], "flynn login is for clusters with OAuth, which flynn-aio does not have\n"),
    ],
)
def test_what_has_another_way_here_says_which(person, argv, text):
    done = person.flynn(*argv)
    assert (done.code, done.err) == (1, text)
    assert done.hint
    assert person.flynn("install").out.count("\n") == 3


def test_global_options_reach_the_command(person, controller):
    controller.on("GET /apps/blog/jobs", [])
    assert person.flynn("-ablog", "-c", "one", "ps").code == 0
    assert person.flynn("-c", "nope", "ps").err == 'unknown cluster "nope"\n'


def test_a_broken_rc_file_is_one_clear_line(person):
    person.rc.write_text("default = ")
    done = person.flynn("apps")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error reading ~/.flynnrc: ")
    assert done.err.count("\n") == 1


def test_arguments_that_are_not_utf8_become_text(person, controller):
    controller.on("GET /apps/shop", APP)
    assert person.flynn("meta", "set", "x\udcff").err == 'invalid var format: "x\ufffd"\n'


# As processes of their own.


def test_a_story_in_real_processes(person, controller):
    controller.on("GET /apps", [APP])
    controller.on("GET /apps/shop/jobs", [])
    assert person.flynn_process("version").out == flynn_aio.__version__ + "\n"
    assert person.flynn_process("apps").out.splitlines()[1].endswith("  shop")
    assert person.flynn_process("ps").out == "ID  TYPE  STATE  CREATED  RELEASE  COMMAND\n"
    controller.on("GET /apps", error("unknown_error", "Something went wrong", 500))
    done = person.flynn_process("apps")
    assert (done.code, done.out, done.err) == (1, "", "unknown_error: Something went wrong\n")


def started(person, *argv):
    return subprocess.Popen(
        [sys.executable, "-m", "flynn_aio.cli.main", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=person.environ(),
    )


LINE = b'{"msg":"hello","stream":"stdout","source":"app","timestamp":"2020-01-02T03:04:05Z","job_id":"j"}\n'


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_ends_silently_with_0(person, controller, number):
    controller.on("GET /apps/shop/log", Stream([LINE, lambda handler: time.sleep(5)], "text/plain"))
    process = started(person, "log", "-f")
    assert process.stdout.readline() == b"2020-01-02T03:04:05.000000Z app[.j]: hello\n"  # at once, though it is a pipe
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_a_reader_that_goes_away_ends_the_command_as_it_ends_any_filter(person, controller):
    controller.on("GET /apps/shop/log", Stream([LINE * 5000] * 20, "text/plain"))
    process = started(person, "log")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(10) == -signal.SIGPIPE


@pytest.mark.parametrize("argv", [["apps"], ["help"], ["ps", "--help"], ["kill"]])
def test_a_full_disk_is_one_clear_line(person, controller, argv):
    controller.on("GET /apps", [APP])
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flynn_aio.cli.main", *argv],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=person.environ(),
        )
    assert done.returncode == 1
    assert done.stderr.decode() == f"[Errno 28] {os.strerror(28)}\n"


@pytest.mark.parametrize("argv", [["help"], ["ps", "--help"], ["kill"]])
def test_nobody_reading_help_or_usage_ends_the_command_as_it_ends_any_filter(person, argv):
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-m", "flynn_aio.cli.main", *argv],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=person.environ(),
    )
    os.close(writer)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (-signal.SIGPIPE, b"")


def test_ctrl_c_while_our_modules_are_imported_is_an_interruption_like_any_other(person):
    script = """if True:
        import sys
        class Interrupting:
            def find_spec(self, name, path=None, target=None):
                if name == "flynn_aio.cli.usage":
                    raise KeyboardInterrupt
        from flynn_aio.cli.main import main
        sys.meta_path.insert(0, Interrupting())
        sys.exit(main(["help"]))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=person.environ())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("argv", ["git-credentials get", "delete", "route add http -c - -k - d", "pg psql"])
@pytest.mark.parametrize("stdin", ["<&-", "<$0"])
def test_a_standard_input_that_is_closed_or_no_text(person, controller, argv, stdin):
    controller.on("GET /apps/shop", APP)
    (person.home / "bytes").write_bytes(b"\xff\xfe\n\xff")
    command = f"{sys.executable} -m flynn_aio.cli.main {argv} {stdin}"
    done = subprocess.run(
        ["sh", "-c", command, str(person.home / "bytes")],
        capture_output=True,
        text=True,
        check=False,
        env=person.environ(),
        timeout=30,
    )
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr


def test_waiting_for_an_event_uses_no_more_than_one_connection_beside_it(person, controller):
    done_event = frame(9, "app_deletion", {"app_deletion": {}, "error": ""})
    controller.on("GET /events", Stream([lambda handler: controller.wait_for("DELETE /apps/shop"), done_event]))
    controller.on("DELETE /apps/shop", None)
    assert person.flynn_process("delete", "-y").code == 0
    assert len({request.connection for request in controller.requests}) == 2
