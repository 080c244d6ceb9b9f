"""What the shell offers when somebody presses Tab."""

import subprocess
import sys
import time

import pytest

from flynn_aio.cli.completion import SCRIPTS, Place, place

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


def test_a_shell_we_do_not_know(person):
    assert person.flynn("completion", "tcsh").err == "no completion for tcsh: there is bash, zsh, fish\n"
    assert person.flynn("completion", "fish").out == SCRIPTS["fish"]


def test_bash_completes(person, controller, tmp_path):
    """The script is run by bash as the Tab key does."""
    controller.on("GET /apps/shop/release", release())
    flynn = tmp_path / "flynn"
    flynn.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flynn_aio.cli.main "$@"\n')
    flynn.chmod(0o755)
    script = """
        compopt() { echo "compopt $*"; }
        source <(flynn completion bash)
        press() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _flynn; printf '[%s]' "${COMPREPLY[@]}"; echo; }
        press flynn depl
        press flynn scale we
        press flynn env get ""
    """
    environ = {**person.environ(), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environ, check=False, timeout=30)
    assert (done.stdout, done.stderr) == ("[deployment]\ncompopt -o nospace\n[web=]\n[EMPTY][FOO]\n", "")
