"""Every listing as JSON, for programs."""

import json
import re

import pytest

from flynn_aio.cli import usage
from flynn_aio.cli.commands import COMMANDS, command_help

from .fake_controller import NOT_FOUND
from .nouns import APP, NEW, OLD, SHORT, release

JOBS = [
    {"id": "host0-2", "uuid": "2", "app": "a", "type": "web", "state": "up", "created_at": "2026-11-23T04:01:05Z"},
    {"id": "host0-1", "uuid": "1", "app": "a", "state": "up", "created_at": "2026-11-23T04:00:05Z"},
    {"id": "host0-0", "uuid": "0", "app": "a", "type": "web", "state": "down", "created_at": SHORT},
]
DEPLOYMENT = {"id": "d1", "status": "failed", "created_at": SHORT}
CERTIFICATE = {"id": "c1", "cert": "PEM", "key": "secret", "created_at": SHORT, "updated_at": SHORT}
ROUTE = {"type": "http", "id": "r1", "service": "shop-web", "domain": "d", "certificate": CERTIFICATE, "tls_key": "x"}
PROVIDER = {"id": "p1", "name": "postgres", "url": "http://pg-web.discoverd/databases", "created_at": SHORT}
RESOURCE = {"id": "s1", "provider": "p1", "external_id": "/x", "env": {"PGPASSWORD": "secret"}, "created_at": SHORT}
VOLUME = {"id": "v1", "host_id": "host0", "state": "created", "app": "a", "meta": {"b": "<2>"}, "created_at": SHORT}
SINK = {"id": "l1", "kind": "syslog", "config": {"url": "syslog://h", "format": "rfc6587"}, "created_at": SHORT}
LIMITED = release(processes={"web": {"resources": {"memory": {"request": 1, "limit": 1024}, "cpu": {"limit": None}}}})


@pytest.fixture
def shop(controller):
    controller.on("GET /apps", [APP])
    controller.on("GET /apps/shop", APP)
    controller.on("GET /apps/shop/jobs", JOBS)
    controller.on("GET /apps/shop/release", LIMITED)
    controller.on("GET /apps/shop/releases", [release(NEW), LIMITED])
    controller.on("GET /apps/shop/routes", [ROUTE])
    controller.on("GET /apps/shop/deployments", [DEPLOYMENT])
    controller.on("GET /deployments/d1", DEPLOYMENT)
    controller.on("GET /providers", [PROVIDER])
    controller.on("GET /apps/shop/resources", [RESOURCE])
    controller.on("GET /apps/shop/volumes", [VOLUME])
    controller.on("GET /apps/shop/volumes/v1", VOLUME)
    controller.on("GET /sinks", [SINK])
    controller.on(f"GET /releases/{OLD}", LIMITED)
    controller.on("GET /events", [{"data": {"error": "it broke"}}])
    controller.on(f"GET /apps/shop/formations/{OLD}", {"processes": {"web": 2}})
    controller.on(f"GET /apps/shop/formations/{NEW}", NOT_FOUND)
    return controller


@pytest.mark.parametrize(
    ("argv", "value"),
    [
        ("apps", [APP]),
        ("ps", [JOBS[1], JOBS[0]]),
        ("ps -a -t web", [JOBS[0], JOBS[2]]),  # a fraction is later than none
        ("env", {"EMPTY": "", "FOO": "bar"}),
        ("meta", APP["meta"]),
        ("limit", {"web": {"memory": 1024}}),
        ("release", [release(NEW), LIMITED]),
        ("release show", LIMITED),
        (f"release show {OLD}", LIMITED),
        ("deployment", [DEPLOYMENT]),
        ("deployment show d1", {**DEPLOYMENT, "error": "it broke"}),
        ("provider", [PROVIDER]),
        ("resource", [{key: value for key, value in RESOURCE.items() if key != "env"}]),
        ("volume", [VOLUME]),
        ("volume show v1", VOLUME),
        ("cluster log-sink", [SINK]),
        ("scale", {"web": 2}),
        ("scale --all", {OLD: {"web": 2}}),
        ("info", {"app": "shop", "git_url": "https://git.example.com/shop.git", "web_url": "https://d"}),
    ],
)
def test_listings(person, shop, argv, value):
    done = person.flynn(*argv.split(), "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == value


LISTINGS = [
    "apps", "cluster", "cluster log-sink", "deployment", "deployment show", "env", "info", "limit", "meta", "provider",
    "ps", "release", "release show", "resource", "route", "scale", "volume", "volume show",
]  # fmt: skip


@pytest.mark.parametrize("argv", [f"release show {OLD}", "deployment show d1", "volume show v1"])
def test_one_thing_is_one_line(person, shop, argv):
    assert person.flynn(*argv.split(), "--json").out.count("\n") == 1


def test_every_listing_has_json_and_says_so_in_the_same_words():
    """`help --json` is Flynn's own, and no listing."""
    found = []
    for name, command in COMMANDS.items():
        grammar = usage.read(command_help(command)) if name != "help" else None
        lines = [line for line in grammar.lines if "--json" in line.options] if grammar else []
        found += [" ".join((name, *line.words)) for line in lines]
        if grammar and lines:
            said = re.search(r"^ +--json +(.*)$", grammar.help, re.MULTILINE)[1]
            assert re.match("as (JSON: the controller's own objects|a JSON object)", said), name
    assert sorted(found) == LISTINGS


def test_routes_come_without_what_must_stay_secret(person, shop):
    (shown,) = json.loads(person.flynn("route", "--json").out)
    assert "secret" not in str(shown)
    assert shown["certificate"] == {"id": "c1", "created_at": SHORT, "updated_at": SHORT}
    assert "tls_key" not in shown


def test_clusters_come_without_their_keys(person, controller):
    (shown,) = json.loads(person.flynn("cluster", "--json").out)
    assert shown == {
        "name": "one",
        "controller_url": f"http://127.0.0.1:{controller.port}",
        "git_url": "https://git.example.com",
        "image_url": "https://images.example.com",
        "tls_pin": "",
        "default": True,
    }


@pytest.mark.parametrize("command", ["env", "limit"])
def test_an_app_without_a_release_has_empty_maps(person, controller, command):
    controller.on("GET /apps/shop/release", NOT_FOUND)
    assert json.loads(person.flynn(command, "--json").out) == {}


def test_json_is_for_listings(person, shop):
    assert person.flynn("env", "get", "--json", "FOO").code == 1
    assert person.flynn("scale", "--json", "web=1").err == "ERROR: Can't use --json when scaling\n"
