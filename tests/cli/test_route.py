"""`flynn route`."""

import pytest

from .fake_controller import Reply
from .nouns import SHORT

ZERO = "0001-01-01T00:00:00Z"
HTTP = {
    "type": "http",
    "id": "r1",
    "service": "shop-web",
    "leader": False,
    "created_at": SHORT,
    "updated_at": SHORT,
    "domain": "shop.example.com",
    "path": "/",
    "drain_backends": True,
}
HTTPS = {
    **HTTP,
    "id": "r2",
    "domain": "example.com",
    "path": "/x/",
    "sticky": True,
    "port": 8443,
    "certificate": {"cert": "C", "key": "K"},
}
TCP = {
    "type": "tcp",
    "id": "r3",
    "service": "shop-db",
    "port": 3000,
    "leader": True,
    "created_at": SHORT,
    "updated_at": SHORT,
}
CERT = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
RSA_KEY = "-----BEGIN RSA PRIVATE KEY-----\nBBBB\n-----END RSA PRIVATE KEY-----\n"


def test_listing_leaves_empty_what_tcp_routes_do_not_have(person, controller):
    controller.on("GET /apps/shop/routes", [HTTPS, TCP, HTTP])
    assert person.flynn("route").out == (
        "ROUTE                   SERVICE   ID       STICKY  LEADER  PATH\n"
        "https:example.com:8443  shop-web  http/r2  true    false   /x/\n"
        "tcp:3000                shop-db   tcp/r3           true    \n"
        "http:shop.example.com   shop-web  http/r1  false   false   /\n"
    )


@pytest.fixture
def routable(controller):
    controller.on("POST /apps/shop/routes", lambda request: Reply({**request.body, "id": "new", "port": 3001}))
    for route in (HTTPS, TCP):
        path = f"/apps/shop/routes/{route['type']}/{route['id']}"
        controller.on(f"GET {path}", route)
        controller.on(f"PUT {path}", lambda request: Reply(request.body))
        controller.on(f"DELETE {path}", None)
    return controller


NEW = {"leader": False, "port": 0, "drain_backends": True, "created_at": ZERO, "updated_at": ZERO}
NEW_HTTP = {**NEW, "type": "http", "service": "shop-web", "sticky": False, "disable_keep_alives": False}


@pytest.mark.parametrize(
    ("argv", "sent"),
    [
        (["example.com"], {**NEW_HTTP, "domain": "example.com"}),
        (["example.com/a/b/"], {**NEW_HTTP, "domain": "example.com", "path": "/a/b/"}),
        (
            [
                "--sticky",
                "--leader",
                "-s",
                "other",
                "-p",
                "81",
                "--disable-keep-alives",
                "--no-drain-backends",
                "x.org",
            ],
            {
                **NEW_HTTP,
                "domain": "x.org",
                "service": "other",
                "sticky": True,
                "leader": True,
                "port": 81,
                "disable_keep_alives": True,
                "drain_backends": False,
            },
        ),
    ],
)
def test_adding_an_http_route(person, routable, argv, sent):
    done = person.flynn("route", "add", "http", *argv)
    assert (done.code, done.out, done.err) == (0, "http/new\n", "")
    assert routable.bodies("POST /apps/shop/routes") == [sent]


def test_adding_a_tcp_route(person, routable):
    done = person.flynn("route", "add", "tcp", "--leader", "--service", "shop-db")
    assert (done.code, done.out) == (0, "tcp/new listening on port 3001\n")
    sent = {**NEW, "type": "tcp", "service": "shop-db", "leader": True}
    assert routable.bodies("POST /apps/shop/routes") == [sent]


def test_certificates_come_from_files_as_they_are(person, routable):
    (person.home / "c.pem").write_text(CERT)
    (person.home / "k.pem").write_text(RSA_KEY)
    assert person.flynn("route", "add", "http", "-c", "c.pem", "-k", "k.pem", "x.org").code == 0
    (sent,) = routable.bodies("POST /apps/shop/routes")
    assert (sent["tls_cert"], sent["tls_key"]) == (CERT, RSA_KEY)


def test_certificate_and_key_are_told_apart_on_stdin(person, routable):
    stdin = f"some words\n{CERT}{RSA_KEY}{CERT}"
    assert person.flynn("route", "add", "http", "-c", "-", "-k", "-", "x.org", stdin=stdin).code == 0
    (sent,) = routable.bodies("POST /apps/shop/routes")
    assert (sent["tls_cert"], sent["tls_key"]) == (CERT + CERT, RSA_KEY)


@pytest.mark.parametrize(
    ("argv", "err"),
    [
        (["add", "http", "-c", "x", "e.com"], "Both the TLS certificate AND private key need to be specified\n"),
        (
            ["add", "http", "-c", "nope", "-k", "nope", "e.com"],
            "Failed to read TLS cert: open nope: no such file or directory\n",
        ),
        (["add", "http", "-c", "-", "-k", "-", "e.com"], "Failed to read TLS cert: No PEM blocks found in stdin\n"),
        (["add", "tcp", "-p", "x"], 'invalid port: "x"\n'),
        (["update", "tcp/r3"], "No service name given\n"),
        (["update", "r2", "--leader"], "Route type r2 not supported.\n"),
        (["remove", "udp/r2"], "Route type udp not supported.\n"),
        (["remove", "http/nope"], "controller: resource not found\n"),
    ],
)
def test_mistakes(person, routable, argv, err):
    done = person.flynn("route", *argv)
    assert (done.code, done.out, done.err) == (1, "", err)


@pytest.mark.parametrize(
    ("argv", "changes"),
    [
        ([], {}),
        (["-s", "other", "--no-sticky"], {"service": "other", "sticky": False}),
        (["--leader", "--disable-keep-alives"], {"leader": True, "disable_keep_alives": True}),
        (["--no-leader", "--enable-keep-alives"], {"leader": False, "disable_keep_alives": False}),
    ],
)
def test_an_update_sends_the_whole_route_without_its_certificate(person, routable, argv, changes):
    done = person.flynn("route", "update", "http/r2", *argv)
    assert (done.code, done.out) == (0, "updated http/r2\n")
    whole = {key: value for key, value in HTTPS.items() if key != "certificate"}
    assert routable.bodies("PUT /apps/shop/routes/http/r2") == [{**whole, **changes}]


def test_updating_a_tcp_route_and_removing_one(person, routable):
    done = person.flynn("route", "update", "tcp/r3", "-s", "other", "--no-leader")
    assert (done.code, done.out) == (0, "tcp/r3 listening on port 3000\n")
    assert routable.bodies("PUT /apps/shop/routes/tcp/r3") == [{**TCP, "service": "other", "leader": False}]
    done = person.flynn("route", "remove", "http/r2")
    assert (done.code, done.out) == (0, "Route http/r2 removed.\n")
