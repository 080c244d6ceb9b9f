"""Requests: authentication, errors in words, retries, one connection for all."""

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.cli import client as module
from flynn_aio.cli.client import Answer, Client, part
from flynn_aio.cli.failure import Failure
from flynn_aio.cli.rc import Cluster

from .fake_controller import KEY, Reply, Stream, error


@pytest.fixture
def client(controller):
    client = Client(Cluster("one", f"http://127.0.0.1:{controller.port}/", key=KEY))
    yield client
    client.close()


def test_what_every_request_carries(client, controller):
    controller.on("POST /apps", {"id": "x"})
    assert client.post("/apps", {"name": "é"}) == {"id": "x"}
    (request,) = controller.requests
    assert request.headers["authorization"] == "Basic OnRlc3RrZXk="
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{controller.port}"
    assert request.body == {"name": "é"}


def test_one_connection_serves_all_requests(client, controller):
    controller.on("GET /apps", [])
    controller.on("GET /bad", error("validation_error", "no", 400))
    for _ in range(2):
        client.get("/apps")
        with pytest.raises(Failure):
            client.get("/bad")
        with pytest.raises(Failure):
            client.get("/missing")
    assert len({request.connection for request in controller.requests}) == 1


def test_a_connection_the_server_closed_is_replaced(client, controller):
    controller.on("GET /apps", Reply([], headers={"Content-Type": "application/json", "Connection": "close"}))
    controller.on("POST /apps", Reply({}, headers={"Content-Type": "application/json", "Connection": "close"}))
    for _ in range(3):
        assert client.get("/apps") == []
        assert client.post("/apps", {}) == {}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            error("object_exists", 'application "x" already exists', 409),
            'object_exists: application "x" already exists',
        ),
        (error("object_not_found", "no", 404), "object_not_found: no"),
        (Reply(b"404 page not found\n", 404, {"Content-Type": "text/plain"}), "controller: resource not found"),
        (Reply(b"", 404, {}), "controller: resource not found"),
        (Reply(b"<html>", 502, {"Content-Type": "text/html"}), "unexpected status 502"),
        (Reply(b"[]", 500), "unexpected status 500"),
        (Reply(b"{", 500), "unexpected status 500"),
        (Reply(b"", 401, {}), "unexpected status 401"),
        (Reply(b"{}", 201), "unexpected status 201"),
        (Reply(b"oops"), "the response is not JSON"),
    ],
)
def test_errors_in_words(client, controller, answer, text):
    controller.on("GET /apps/x", answer)
    with pytest.raises(Failure) as caught:
        client.get("/apps/x", {"a": "b"})
    if text.startswith("unexpected"):
        text = f'GET "http://127.0.0.1:{controller.port}/apps/x?a=b": httpclient: raw req: {text}'
    assert str(caught.value) == text or str(caught.value).endswith(text)


def test_a_transient_error_is_tried_again(client, controller):
    again = error("service_unavailable", "starting", 503, retry=True)
    controller.on("GET /apps", again, again, [])
    assert client.get("/apps") == []
    assert len(controller.requests) == 3


def test_but_not_for_ever(client, controller, monkeypatch):
    monkeypatch.setattr(module, "RETRY_FOR_S", 0.25)
    controller.on("GET /apps", error("service_unavailable", "starting", 503, retry=True))
    with pytest.raises(Failure, match="service_unavailable: starting"):
        client.get("/apps")
    assert 2 <= len(controller.requests) <= 4


def test_a_body_that_breaks_off(client, controller):
    controller.on("GET /apps", Stream([b"[", b"{"], "application/json", end=False))
    with pytest.raises(Failure, match="unexpected EOF"):
        client.get("/apps")


def test_a_server_that_hangs_up(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            listener.accept()[0].close()

        hung_up = threading.Thread(target=hang_up)
        hung_up.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Failure, match=f'Get "{url}/apps": (EOF|Connection reset by peer)'):
            Client(Cluster("x", url)).get("/apps")
        hung_up.join()


def test_ids_cannot_leave_their_place_in_a_path():
    assert part("a/b?c#d é") == "a%2Fb%3Fc%23d%20%C3%A9"
    assert part("host0-1") == "host0-1"


def test_a_redirect_is_followed_with_the_same_method_and_body(client, controller):
    base = f"http://127.0.0.1:{controller.port}"
    controller.on("POST /old", Reply(None, 307, {"Location": f"{base}/older"}))
    controller.on("POST /older", Reply(None, 307, {"Location": "/new"}))
    controller.on("POST /new", {"id": "x"})
    assert client.post("/old", {"name": "a"}) == {"id": "x"}
    assert controller.bodies("POST /new") == [{"name": "a"}]


@pytest.mark.parametrize("location", ["https://elsewhere.example.com/apps", "//elsewhere/apps", ""])
def test_the_key_is_not_carried_to_another_server(client, controller, location):
    controller.on("GET /apps", Reply(None, 307, {"Location": location}))
    with pytest.raises(Failure, match="which is another server"):
        client.get("/apps")


def test_redirects_in_a_circle_end(client, controller):
    controller.on("GET /apps", Reply(None, 307, {"Location": "/apps"}))
    with pytest.raises(Failure, match="unexpected status 307"):
        client.get("/apps")
    assert len(controller.requests) == module.MAX_REDIRECTS + 1


class Cut:
    """A response whose body comes in these pieces."""

    def __init__(self, pieces):
        self._pieces = iter(pieces)

    def piece(self):
        return next(self._pieces, b"")


@given(st.lists(st.binary(min_size=1).map(lambda data: data.replace(b"a", b"\n"))))
def test_lines_are_what_they_are_however_they_are_cut(pieces):
    whole = b"".join(pieces)
    expected = whole.removesuffix(b"\n").split(b"\n") if whole else []
    assert list(Answer(None, Cut(pieces)).lines()) == expected


def test_a_line_of_many_pieces_costs_no_more_than_its_length():
    began = time.monotonic()
    (line,) = Answer(None, Cut([b"x" * 4096] * 16384)).lines()
    assert len(line) == 64 * 1024**2
    assert time.monotonic() - began < 5  # each piece put together with all before it: half a TB is moved
