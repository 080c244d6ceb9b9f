"""Event streams: frames, keep-alives, resuming."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.cli import events as module
from flynn_aio.cli.client import Client
from flynn_aio.cli.events import Events, Expired, Frames
from flynn_aio.cli.failure import Failure, NotFound
from flynn_aio.cli.rc import Cluster

from .fake_controller import KEY, UNAUTHORIZED, Stream, error, frame


def read(text: bytes) -> list[dict]:
    frames = Frames()
    found = [frames.line(line) for line in text.split(b"\n")[:-1]]
    return [each for each in found if each is not None]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b'data: {"id":1}\n\n', [{"id": 1}]),
        (b'data: {"id":1}\n\ndata: {"id":2}\n\n', [{"id": 1}, {"id": 2}]),
        (b':\ndata: {"id":1}\n\n:\n', [{"id": 1}]),  # keep-alives as Flynn sends them
        (b': ka\n\n\ndata: {"id":1}\n\n', [{"id": 1}]),  # and as others do: no event, no reconnect
        (b'id: 7\nevent: message\ndata:{"id":1}\r\n\r\n', [{"id": 1}]),
        (b'data: {"id":\ndata: 1}\n\n', [{"id": 1}]),
        (b'data: {"id":1}\n', []),
        (b"event: error\n\n\n", "Server error: "),
        (b"event: error\ndata: event stream buffer overflow\n\n", "Server error: event stream buffer overflow"),
        (b"data: nonsense\n\n", "the event stream sent what is not JSON: b'nonsense'"),
        (b"data: []\n\n", "the event stream sent what is not an event: b'[]'"),
    ],
)
def test_frames(text, events):
    if isinstance(events, list):
        assert read(text) == events
    else:
        with pytest.raises(Failure) as caught:
            read(text)
        assert str(caught.value) == events


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3), max_size=5))
def test_every_event_comes_out_as_it_went_in(events):
    assert read(b":\n".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)) == events


@pytest.fixture
def client(controller):
    client = Client(Cluster("one", f"http://127.0.0.1:{controller.port}", key=KEY))
    yield client
    client.close()


def linger(handler):
    time.sleep(0.3)


def resumed_at(controller):
    return [request.headers["last-event-id"] for request in controller.requests]


def test_a_stream_survives_every_kind_of_end(client, controller):
    overflow = b"event: error\ndata: event stream buffer overflow\n\n"
    controller.on(
        "GET /events",
        Stream([frame(1, "job", {}), b":\n", frame(5, "job", {})], end=False),
        Stream([overflow]),
        Stream([frame(6, "job", {})]),
        error("unknown_error", "restarting", 500, retry=True),
        Stream([b"data: {\n\n"]),
        Stream([frame(7, "job", {}), linger]),
    )
    with Events(client, {"app_id": "shop"}) as events:
        ids = []
        for event in events.until(5):
            ids.append(event["id"])
            if event["id"] == 7:
                break
    assert ids == [1, 5, 6, 7]
    assert resumed_at(controller) == ["0", "5", "5", "6", "6", "6"]


def test_a_silent_connection_is_given_up(client, controller, monkeypatch):
    monkeypatch.setattr(module, "SILENCE_S", 0.05)
    controller.on("GET /events", Stream([frame(3, "job", {}), linger]), Stream([frame(4, "job", {}), linger]))
    with Events(client, {}) as events:
        stream = events.until()
        assert [next(stream)["id"], next(stream)["id"]] == [3, 4]
    assert resumed_at(controller) == ["0", "3"]


def test_the_callers_time_runs_out_in_spite_of_keep_alives(client, controller):
    controller.on("GET /events", Stream([b":\n", linger, b":\n", linger, linger]))
    began = time.monotonic()
    with Events(client, {}) as events, pytest.raises(Expired):
        next(events.until(0.4))
    assert 0.3 < time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("answer", "kind"), [(None, NotFound), (error("validation_error", "app_id is invalid", 400), Failure)]
)
def test_a_subscription_that_is_refused_fails_at_once(client, controller, answer, kind):
    if answer:
        controller.on("GET /events", answer)
    with pytest.raises(kind), Events(client, {}):
        pass
    assert len(controller.requests) == 1


def test_a_subscription_that_does_not_get_through_is_tried_for_a_while(client, controller, monkeypatch):
    monkeypatch.setattr(module, "CONNECT_FOR_S", 0.25)
    controller.on("GET /events", UNAUTHORIZED)
    with pytest.raises(Failure, match="unexpected status 401"), Events(client, {}):
        pass
    assert len(controller.requests) > 1
