"""What the shell offers when somebody presses Tab."""

import subprocess
import sys
import time

import pytest

from flynn_aio.cli import usage
from flynn_aio.cli.candidates import lister
from flynn_aio.cli.commands import COMMANDS, command_help
from flynn_aio.cli.place import Place, place
from flynn_aio.cli.shells import SCRIPTS

from .fake_controller import Stream
from .nouns import APP, release


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        (["-a", ""], "<app>"),
        (["-c", "o"], "<cluster>"),
        (["kill", ""], "<job>"),
        (["kill", "host0-1", ""], "<job>"),
        (["scale", ""], "<type>=<spec>"),
        (["scale", "web=1", ""], "<type>=<spec>"),
        (["scale", "-r", ""], "<release>"),
        (["env", "-t", ""], "<proc>"),
        (["env", "get", ""], "<var>"),
        (["env", "get", "-t", "web", "F"], "<var>"),
        (["release", "show", ""], "<id>"),
        (["route", "remove", ""], "<id>"),
        (["log", "--job", ""], "<id>"),
        (["help", ""], "<command>"),
        (["run", "-r", ""], "<release>"),
    ],
)
def test_what_a_value_stands_for(typed, value):
    assert place(typed).value == value


def test_the_first_word_is_a_command():
    words = place([""]).words
    assert "create" in words
    assert "git-credentials" not in words
    assert place(["-a", "shop", ""]).words == words


def test_after_a_command_come_its_words_and_behind_them_no_others():
    assert place(["env", ""]).words == ("get", "set", "unset")
    assert place(["route", "add", ""]).words == ("http", "tcp")
    assert place(["route", "add", "http", ""]).words == ()
    assert place(["cluster", "log-sink", ""]).words == ("add", "remove")


def test_options_are_those_of_the_lines_that_still_fit():
    assert "--quiet" in place(["ps", "-"]).words
    assert "--force" in place(["cluster", "add", "--"]).words
    assert "--force" not in place(["cluster", "remove", "--"]).words
    assert place(["-"]).words == ("--help", "--version", "-a", "-c")


def test_what_belongs_to_another_program_is_left_alone():
    assert place(["run", "ls", "-"]) == Place(command="run")
    assert place(["run", "--", ""]) == Place(command="run")
    assert place(["bogus", ""]) == Place()


def offered(person, *typed):
    done = person.flynn("complete", "--", *typed)
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()


def test_values_come_from_the_controller(person, controller):
    controller.on("GET /apps", [APP, {**APP, "name": "blog"}])
    controller.on("GET /apps/shop/release", release())
    controller.on("GET /apps/blog/release", release(processes={"clock": {}}))
    controller.on("GET /apps/shop/routes", [{"type": "http", "id": "r1"}])
    controller.on("GET /apps/shop/jobs", [{"id": "host0-1", "state": "up"}, {"id": "host0-0", "state": "down"}])
    assert offered(person, "-a", "") == ["shop", "blog"]
    assert offered(person, "-a", "b") == ["blog"]
    assert offered(person, "-c", "") == ["one"]
    assert offered(person, "scale", "") == ["web=", "worker="]
    assert offered(person, "-ablog", "scale", "") == ["clock="]
    assert offered(person, "-a", "blog", "limit", "-t", "") == ["clock"]
    assert offered(person, "env", "unset", "F") == ["FOO"]
    assert offered(person, "route", "update", "") == ["http/r1"]
    assert offered(person, "kill", "") == ["host0-1"]
    assert offered(person, "log", "-j", "") == ["host0-1", "host0-0"]
    assert offered(person, "ps", "--q") == ["--quiet"]


def test_values_of_todays_commands_come_from_the_controller_too(person, controller):
    pg, redis = {"id": "p1", "name": "postgres"}, {"id": "p2", "name": "redis"}
    controller.on("GET /providers", [pg, redis])
    controller.on("GET /providers/postgres", pg)
    controller.on("GET /apps/shop/resources", [{"id": "r1", "provider": "p1"}, {"id": "r2", "provider": "p2"}])
    controller.on("GET /apps/shop/volumes", [{"id": "v1"}])
    controller.on("GET /sinks", [{"id": "s1"}])
    controller.on("GET /apps/shop", APP)
    controller.on("GET /apps/shop/release", release())
    assert offered(person, "resource", "add", "") == ["postgres", "redis"]
    assert offered(person, "resource", "remove", "p") == ["postgres"]
    assert offered(person, "resource", "remove", "postgres", "") == ["r1"]
    assert offered(person, "provider", "remove", "") == ["postgres", "redis"]
    assert offered(person, "provider", "add", "") == []  # a new name
    assert offered(person, "cluster", "add", "") == []
    assert offered(person, "volume", "show", "") == ["v1"]
    assert offered(person, "cluster", "log-sink", "remove", "") == ["s1"]
    assert offered(person, "cluster", "log-sink", "add", "syslog", "--format", "n") == ["newline"]
    assert offered(person, "limit", "set", "web", "m") == ["max_fd=", "memory="]
    assert offered(person, "meta", "set", "o") == ["owner="]
    assert offered(person, "env", "set", "F") == ["FOO="]
    assert offered(person, "ps", "-t", "") == ["web", "worker", "run"]


def test_options_may_be_written_in_every_way(person, controller):
    controller.on("GET /apps/shop/release", release())
    assert offered(person, "env", "-tweb", "get", "F") == ["FOO"]
    assert offered(person, "env", "--proc", "w") == ["web", "worker"]
    assert offered(person, "env", "--process-type=wo") == ["--process-type=worker"]
    assert offered(person, "ps", "-qat", "wo") == ["worker"]
    assert offered(person, "env", "get", "--bogus=") == []


def test_git_and_docker_are_asked_too(person, controller, tmp_path):
    person.stand_in_a_repository()
    person.git("remote", "add", "staging", "https://git.example.com/shop.git")
    assert offered(person, "delete", "-r", "") == ["staging"]
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho shop:v1\necho '<none>:<none>'\n")
    docker.chmod(0o755)
    person.monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "shop:v1" in offered(person, "docker", "push", "")
    assert not any("none" in name for name in offered(person, "docker", "push", ""))


FREE = {
    "<argument>", "<domain>", "<entrypoint>", "<file>", "<giturl>", "<issuer>", "<jobs>", "<key>",
    "<limits>", "<lines>", "<operation>", "<port>", "<prefix>", "<profiles>", "<service>", "<size>", "<timeout>",
    "<tls-cert>", "<tls-key>", "<tlspin>", "<uri>", "<url>", "<word>", "<controller-url>",
}  # fmt: skip
"""Names of values that nobody can list: new ones, numbers, files (the shell knows those)."""
NEW = {
    ("create", "<name>"), ("cluster add", "<cluster-name>"), ("login", "<cluster-name>"), ("provider add", "<name>"),
    ("import", "<name>"), ("remote add", "<remote>"), ("run", "<command>"),
}  # fmt: skip


def places_of_values():
    for name, command in COMMANDS.items():
        grammar = usage.read(command_help(command))
        for line in grammar.lines:
            yield from (Place(command=name, subcommand=line.words, value=each.name) for each in line.arguments)
            for option in grammar.options:
                if option.name in line.options and option.takes_value:
                    yield place([name, *line.words, option.name, ""])


def test_whatever_can_be_listed_is():
    for here in places_of_values():
        known = here.value in FREE or (" ".join((here.command, *here.subcommand)), here.value) in NEW
        assert bool(lister(here)) != known, here


def test_nothing_is_said_when_the_controller_does_not_know(person, controller):
    assert offered(person, "kill", "") == []
    person.rc.write_text("default = ")
    assert offered(person, "-a", "") == []


def test_a_controller_that_hangs_is_not_waited_for(person, controller, monkeypatch):
    monkeypatch.setattr("flynn_aio.cli.completion.ANSWER_S", 0.2)
    controller.on("GET /apps", Stream([lambda handler: time.sleep(1)]))
    began = time.monotonic()
    assert offered(person, "-a", "") == []
    assert time.monotonic() - began < 0.9


def test_a_controller_that_cannot_be_dialled_is_not_waited_for(person, controller, monkeypatch):
    """A dial that takes long is not taken for one that failed, and tried again."""
    monkeypatch.setattr("flynn_aio.cli.completion.ANSWER_S", 0.2)
    monkeypatch.setattr("flynn_aio.cli.wire.socket.create_connection", lambda *args, **more: time.sleep(2))
    began = time.monotonic()
    assert offered(person, "-a", "") == []
    assert time.monotonic() - began < 1.5


def test_a_shell_we_do_not_know(person):
    done = person.flynn("completion", "tcsh")
    assert (done.err, done.hint) == ("no completion for tcsh\n", "there is bash, zsh, fish")
    assert person.flynn("completion", "fish").out == SCRIPTS["fish"]


@pytest.fixture
def on_path(person, tmp_path):
    """An environment in which shells find our `flynn`."""
    flynn = tmp_path / "flynn"
    flynn.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flynn_aio.cli.main "$@"\n')
    flynn.chmod(0o755)
    return {**person.environ(), "PATH": f"{tmp_path}:/usr/bin:/bin"}


def run(environ, *command):
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=30)
    assert done.stderr == ""
    return done.stdout


def test_bash_completes(controller, on_path):
    """Bash runs the script as the Tab key does: with words cut at = and :, of which only the last piece is replaced."""
    controller.on("GET /apps/shop/release", release())
    controller.on("GET /apps/shop/routes", [{"type": "http", "id": "a:b"}])
    script = """
        compopt() { echo "compopt $*"; }
        source <(flynn completion bash)
        press() {
            COMP_LINE=$1 COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
            _flynn
            printf '[%s]' "${COMPREPLY[@]}"
            echo
        }
        press 'flynn depl' flynn depl
        press 'flynn scale we' flynn scale we
        press 'flynn env get ' flynn env get ''
        press 'flynn env --process-type=wo' flynn env --process-type = wo
        press 'flynn env --process-type=' flynn env --process-type =
        press 'flynn route remove http/a:' flynn route remove http/a :
        press 'flynn env set A=1 F' flynn env set A = 1 F
    """
    assert run(on_path, "bash", "-c", script) == (
        "[deployment]\ncompopt -o nospace\n[web=]\n[EMPTY][FOO]\n[worker]\n[web][worker]\n[b]\n"
        "compopt -o nospace\n[FOO=]\n"
    )


def test_zsh_completes(controller, on_path):
    controller.on("GET /apps/shop/release", release())
    script = """
        compdef() { : }
        compadd() { print -r -- "compadd $*" }
        _files() { print -r -- files }
        source <(flynn completion zsh)
        press() { words=("$@"); CURRENT=$#; _flynn }
        press flynn depl
        press flynn scale we
        press flynn env get ''
        press flynn cluster add ''
    """
    assert run(on_path, "zsh", "-f", "-c", script) == (
        "compadd -S  --\ncompadd -- deployment\ncompadd -S  -- web=\ncompadd --\ncompadd -S  --\n"
        "compadd -- EMPTY FOO\nfiles\n"
    )


def test_fish_completes(controller, on_path):
    controller.on("GET /apps/shop/release", release())
    script = """
        flynn completion fish | source
        for line in 'flynn depl' 'flynn scale we' 'flynn env get ' 'flynn env --process-type=wo'
            complete --do-complete $line
        end
    """
    assert run(on_path, "fish", "--no-config", "-c", script) == "deployment\nweb=\nEMPTY\nFOO\n--process-type=worker\n"
