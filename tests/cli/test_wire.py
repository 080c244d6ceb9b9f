"""Dialling: names, patience, TLS and pins."""

import socket
import threading
import time

import pytest

from flynn_aio.cli import wire
from flynn_aio.cli.client import Client
from flynn_aio.cli.failure import Failure
from flynn_aio.cli.rc import Cluster, cluster_at
from flynn_aio.cli.wire import Door

from .fake_controller import KEY


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("localhost", ("127.0.0.1", "::1")),
        ("controller.flynn.localhost", ("127.0.0.1", "::1")),
        ("CONTROLLER.Flynn.Localhost.", ("127.0.0.1", "::1")),
        ("controller.flynn.localhost.example.com", ("controller.flynn.localhost.example.com",)),
        ("notlocalhost", ("notlocalhost",)),
        ("192.0.2.1", ("192.0.2.1",)),
    ],
)
def test_localhost_is_here_with_all_names_below_it(host, addresses):
    assert wire.addresses(host) == addresses


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("https://controller.example.com", "controller.example.com", 443, "controller.example.com"),
        ("https://controller.x.test:7443", "controller.x.test", 7443, "controller.x.test:7443"),
        ("http://127.0.0.1", "127.0.0.1", 80, "127.0.0.1"),
        ("http://[::1]:8080", "::1", 8080, "[::1]:8080"),
    ],
)
def test_doors(url, host, port, authority):
    door = Door(url, None)
    assert (door.host, door.port, door.authority) == (host, port, authority)


def test_a_machine_that_is_gone_is_noticed(controller):
    with Door(f"http://127.0.0.1:{controller.port}", None).dial() as dialled:
        assert dialled.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert dialled.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


def test_a_name_that_cannot_be_looked_up_is_not_the_controllers_mistake(person):
    person.rc.write_text(f'[[cluster]]\nName = "one"\nKey = "k"\nControllerURL = "http://{"a" * 70}.test"\n')
    done = person.flynn("apps")
    assert (done.code, "no such host" in done.err, done.err.count("\n")) == (1, True, 1)


@pytest.mark.parametrize(
    "url", ["", "controller.example.com", "ftp://x", "https://", "https://x:port", "https://[", "https://приклад.test"]
)
def test_no_doors(url):
    with pytest.raises(Failure, match="^invalid controller URL"):
        Door(url, None)


def asking(controller, *, pin, domain=None):
    client = Client(cluster_at(domain or controller.domain, "secure", KEY, tls_pin=pin))
    try:
        return client.get("/apps")
    finally:
        client.close()


def test_a_pin_replaces_checking_against_cas(secure_controller):
    secure_controller.on("GET /apps", [])
    assert asking(secure_controller, pin=secure_controller.pin) == []
    (request,) = secure_controller.requests
    assert request.headers["host"] == f"controller.{secure_controller.domain}"
    other_name = f"other.localhost:{secure_controller.port}"
    assert asking(secure_controller, pin=secure_controller.pin, domain=other_name) == []


def test_another_certificate_than_the_pinned_one_is_refused_before_the_key_is_sent(secure_controller):
    with pytest.raises(Failure) as caught:
        asking(secure_controller, pin="KGCENkp53YF5OvOKkZIry71+czFRkSw2ZdMszZ/0ljs=")
    url = f"https://controller.{secure_controller.domain}/apps"
    assert str(caught.value) == f'Get "{url}": pinned: the peer leaf certificate did not match the provided pin'
    assert secure_controller.requests == []


def test_without_a_pin_an_unknown_certificate_is_refused(secure_controller):
    with pytest.raises(Failure, match="x509: "):
        asking(secure_controller, pin="")
    assert secure_controller.requests == []


def test_a_pin_that_is_none():
    with pytest.raises(Failure, match="^error decoding tls pin: "):
        Client(Cluster("x", "https://controller.example.com", tls_pin="no/pin!"))


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_refused_connection_is_tried_again_for_a_while(monkeypatch):
    monkeypatch.setattr(wire, "DIAL_PATIENCE_S", 0.2)
    monkeypatch.setattr(wire, "DIAL_PAUSE_S", 0.1)
    port = closed_port()
    began = time.monotonic()
    with pytest.raises(Failure) as caught:
        Client(Cluster("x", f"http://shop.localhost:{port}")).get("/apps")
    url = f"http://shop.localhost:{port}/apps"
    assert str(caught.value) == f'Get "{url}": dial tcp shop.localhost:{port}: connect: connection refused'
    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("terminal", [True, False])
def test_a_person_is_told_what_the_silence_is_about(monkeypatch, capsys, terminal):
    for name, seconds in (("DIAL_PATIENCE_S", 0.3), ("DIAL_QUIET_S", 0.1), ("DIAL_PAUSE_S", 0.05)):
        monkeypatch.setattr(wire, name, seconds)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    port = closed_port()
    with pytest.raises(Failure):
        Client(Cluster("x", f"http://shop.localhost:{port}")).get("/apps")
    told = f"shop.localhost:{port} does not answer; trying for 0 s\n"
    assert capsys.readouterr().err == (told if terminal else "")


def test_a_controller_that_comes_up_late_is_found(monkeypatch):
    monkeypatch.setattr(wire, "DIAL_PAUSE_S", 0.05)
    port = closed_port()

    def come_up():
        time.sleep(0.15)
        with socket.create_server(("127.0.0.1", port)) as listener, listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")

    late = threading.Thread(target=come_up)
    late.start()
    assert Client(Cluster("x", f"http://127.0.0.1:{port}")).get("/apps") == []
    late.join()


def test_a_name_nobody_knows_fails_at_once():
    began = time.monotonic()
    with pytest.raises(Failure, match="dial tcp controller.invalid:443: no such host"):
        Client(cluster_at("invalid", "x", "k")).get("/apps")
    assert time.monotonic() - began < 10
