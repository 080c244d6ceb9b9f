"""What a person is told to type next, and the colours they see it in."""

import io
import sys

import pytest

from flynn_aio.cli.similar import closest
from flynn_aio.cli.talk import GREEN, in_colour

from .fake_controller import NOT_FOUND, Reply, error
from .nouns import APP, APP_ID, release


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("word", "found"), [("delpoyment", "deployment"), ("relase", "release"), ("apsp", "apps"), ("zzz", ""), ("", "")]
)
def test_the_closest_word(word, found):
    assert closest(word, ["apps", "deployment", "release", "ps"]) == found


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["relase"], 'Did you mean "release"?'),
        (["bogus"], ""),
        (["release", "shwo"], 'Did you mean "show"?'),
        (["release", "show", "--jsno"], 'Did you mean "--json"?'),
        (["ps", "--bogus"], ""),
        (["env", "zzz"], ""),
    ],
)
def test_a_slip_of_the_finger_is_understood(person, argv, hint):
    done = person.flynn(*argv)
    assert (done.code, done.hint) == (1, hint)


def test_a_missing_app_is_told_from_a_missing_thing_inside_it(person, controller):
    controller.on("GET /apps", [APP, {**APP, "id": "x", "name": "blog"}])
    controller.on("GET /apps/shp/jobs", NOT_FOUND)
    controller.on("DELETE /apps/shop/routes/http/x", NOT_FOUND)
    done = person.flynn("-a", "shp", "ps")
    assert (done.code, done.err) == (1, "controller: resource not found\n")
    assert done.hint == 'there is no app "shp". Did you mean "shop"?'
    assert person.flynn("route", "remove", "http/x").hint == "'flynn route' lists what there is"


def test_an_app_like_no_other(person, controller):
    controller.on("GET /apps", [APP])
    controller.on("GET /apps/qqq/jobs", NOT_FOUND)
    assert person.flynn("-a", "qqq", "ps").hint == "there is no app \"qqq\". 'flynn apps' lists what there is"


def test_an_app_may_be_given_by_its_id(person, controller):
    controller.on("GET /apps", [APP])
    controller.on(f"GET /apps/{APP_ID}/deployments", NOT_FOUND)
    assert person.flynn("-a", APP_ID, "deployment").hint == "'flynn deployment' lists what there is"


def test_a_hint_that_cannot_be_found_out_is_no_second_error(person, controller):
    controller.on("GET /apps", error("unknown_error", "Something went wrong", 500))
    controller.on("GET /apps/shop/jobs", NOT_FOUND)
    done = person.flynn("ps")
    assert (done.err, done.hint) == ("controller: resource not found\n", "")


def test_a_wrong_key(person, controller):
    controller.on("GET /apps", Reply(None, 401))
    done = person.flynn("apps")
    assert done.err.endswith("unexpected status 401\n")
    assert done.hint.startswith("the cluster does not know the key in ~/.flynnrc (any more). Add one again with -f;")


def test_an_error_around_another_has_the_next_step_of_that(person, controller):
    controller.on("GET /apps/shop/release", Reply(None, 401))
    done = person.flynn("pg", "psql")
    assert done.err.startswith("error getting app release: GET ")
    assert done.hint.startswith("the cluster does not know the key")
    controller.on("GET /apps", [APP])
    done = person.flynn("-a", "shp", "export", "-f", "shp.tar")
    assert done.err == "error getting app: controller: resource not found\n"
    assert done.hint == 'there is no app "shp". Did you mean "shop"?'
    controller.on("GET /apps/shop/release", NOT_FOUND)
    assert "does not exist, or has no release" in person.flynn("pg", "psql").hint


def test_an_app_without_a_release_is_told_how_to_get_one(person, controller):
    controller.on("GET /apps", [APP])
    controller.on("GET /apps/shop", APP)
    for argv in (["release", "show"], ["release", "rollback"]):
        done = person.flynn(*argv)
        assert done.err == "controller: resource not found\n"
        assert done.hint.startswith("the app has no release yet. 'git push")


def test_a_certificate_that_changed(person, secure_controller):
    person.rc.write_text(
        f'default = "one"\n[[cluster]]\nName = "one"\nKey = "k"\nTLSPin = "{"A" * 43}="\n'
        f'ControllerURL = "https://controller.{secure_controller.domain}"\n'
    )
    assert person.flynn("apps").hint.startswith("the cluster has another certificate now.")


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["scale", "wbe=1"], "the release has web, worker"),
        (["run", "ls"], "'git push flynn master' makes the first release of what is in git"),
        (["env", "get", "FO"], 'Did you mean "FOO"?'),
        (["env", "set", "-t", "wbe", "A=1"], "the release has web, worker"),
        (["release", "rollback", "-y"], "'flynn release' lists them"),
        (["scale", "-r", "x"], "'flynn release' lists what there is"),
        (["run", "-r", "x", "ls"], "'flynn release' lists what there is"),
        (["scale", "web"], "it is like web=3, or web=3,disk=ssd"),
        (["scale", "web=" + "9" * 5000], "it is like web=3, or web=3,disk=ssd"),
        (["scale", "-a", "web=3"], "--release scales another release than the current"),
        (["scale", "--json", "web=3"], "'flynn scale --json' shows what is wanted now"),
        (["env", "set", "A"], "it is like NAME=value, in quotes if it has spaces"),
        (["limit", "set", "web", "memry=1GB"], 'Did you mean "memory"?'),
        (["limit", "set", "web", "x=1"], "there is cpu, max_fd, memory, temp_disk"),
        (["limit", "set", "web", "memory=lots"], "it is like memory=512MB or cpu=500"),
        (["limit", "set", "web", "memory=" + "9" * 400], "no machine has as much"),
        (["route", "remove", "x"], "an id is like http/<uuid> or tcp/<uuid>: 'flynn route' lists them"),
        (["route", "add", "http", "-c", "x", "d"], "-k <file> names the key"),
        (["route", "add", "tcp", "-p", "9" * 5000], "it is a number, like 3000"),
        (["cluster", "log-sink", "add", "syslog", "--format", "newlines", "syslog://h"], 'Did you mean "newline"?'),
        (["cluster", "log-sink", "remove", "x"], "'flynn cluster log-sink' lists what there is"),
        (["login"], "'flynn-aio credentials' on the server prints the 'flynn cluster add' line with its key"),
    ],
)
def test_commands_know_their_next_step(person, controller, argv, hint):
    current = release(artifacts=[])
    controller.on("GET /apps", [APP])
    controller.on("GET /apps/shop", APP)
    controller.on("GET /apps/shop/release", current)
    controller.on(f"GET /apps/{APP_ID}/release", current)
    controller.on("GET /apps/shop/releases", [current])
    done = person.flynn(*argv)
    assert (done.code, done.hint) == (1, hint)


def test_no_clusters_and_unknown_ones(person, controller):
    assert person.flynn("-c", "oen", "apps").hint == 'Did you mean "one"?'
    assert person.flynn("-c", "zzz", "apps").hint == "'flynn cluster' lists the known ones"
    person.rc.unlink()
    assert person.flynn("apps").hint == "'flynn-aio credentials' on the server prints the line that adds it"


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert in_colour("up", GREEN, Terminal()) == "\x1b[32mup\x1b[0m"
    assert in_colour("", GREEN, Terminal()) == ""
    assert in_colour("up", GREEN, io.StringIO()) == "up"
    monkeypatch.setenv("NO_COLOR", "1")
    assert in_colour("up", GREEN, Terminal()) == "up"
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert in_colour("up", GREEN, Terminal()) == "up"


def test_an_error_is_red_on_a_terminal(person, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert person.flynn("bogus").code == 1
    assert terminal.getvalue() == "\x1b[31mbogus is not a flynn command. See 'flynn help'\x1b[0m\n"


def test_a_certificate_nobody_signed(person, secure_controller):
    done = person.flynn("cluster", "add", "one", secure_controller.domain, "key")
    assert done.err.startswith("Error writing CA certificate: ")
    assert "give its pin with -p" in done.hint
