"""`flynn scale`."""

import re
import time

import pytest

from flynn_aio.cli.failure import Failure
from flynn_aio.cli.scale import parse_specs

from .fake_controller import NOT_FOUND, Reply, Stream, after, frame
from .nouns import NEW, OLD, release

PUT = f"PUT /apps/shop/scale/{OLD}"
COMPLETE = frame(30, "scale_request", {"id": "req", "state": "complete"})


def linger(handler):
    time.sleep(0.2)


def job(event_id, state, **more):
    return frame(event_id, "job", {"uuid": "u1", "type": "web", "release": OLD, "state": state, **more})


@pytest.fixture
def scalable(controller):
    controller.on("GET /apps/shop/release", release())
    controller.on(PUT, lambda request: Reply({**request.body, "id": "req", "old_processes": {"web": 1}}))
    return controller


def test_scaling_tells_what_changes_what_happens_and_how_long_it_took(person, scalable):
    steps = [
        after(PUT),
        job(10, "pending"),
        b":\n",
        job(11, "starting", id="host0-u1"),
        frame(12, "job", {"uuid": "u2", "type": "web", "release": NEW, "state": "up"}),
        frame(13, "scale_request", {"id": "another", "state": "complete"}),
        job(14, "up", id="host0-u1"),
        COMPLETE,
        linger,
    ]
    scalable.on("GET /events", Stream(steps))
    done = person.flynn("scale", "web=3", "worker=0")
    assert (done.code, done.err) == (0, "")
    lines = re.sub(r"\d\d:\d\d:\d\d\.\d{3} ==>", "NOW ==>", done.out)
    assert re.fullmatch(
        "scaling web: 1=>3\n\n"
        "NOW ==> web u1 pending\nNOW ==> web host0-u1 starting\nNOW ==> web host0-u1 up\n"
        r"\nscale completed in [0-9.]+(ms|s)\n",
        lines,
    )
    assert scalable.asked == ["GET /apps/shop/release", "GET /events", PUT]  # listening before asking
    assert scalable.requests[1].query == {"app_id": "shop", "object_types": "job,scale_request"}
    assert scalable.bodies(PUT) == [
        {
            "id": "",
            "app": "shop",
            "release": OLD,
            "state": "pending",
            "new_processes": {"web": 3, "worker": 0},
            "new_tags": {},
            "created_at": None,
            "updated_at": None,
        }
    ]


def test_no_wait_says_only_what_changes(person, scalable):
    done = person.flynn("scale", "-n", "web=1")
    assert (done.code, done.out) == (0, "scaling \n\n")
    assert "GET /events" not in scalable.asked


def test_a_cancelled_request_is_a_failure(person, scalable):
    cancelled = frame(30, "scale_request", {"id": "req", "state": "cancelled"})
    scalable.on("GET /events", Stream([after(PUT), cancelled, linger]))
    done = person.flynn("scale", "web=3")
    assert (done.code, done.err) == (1, "scale request cancelled\n")


def test_waiting_ends(person, scalable, monkeypatch):
    monkeypatch.setattr("flynn_aio.cli.scale.SCALE_S", 0.1)
    scalable.on("GET /events", Stream([linger, linger]))
    done = person.flynn("scale", "web=3")
    assert (done.code, done.err) == (1, "timed out waiting for scale to complete (waited 0 seconds)\n")


def test_a_broken_stream_is_resumed_behind_the_last_event(person, scalable):
    scalable.on(
        "GET /events",
        Stream([after(PUT), job(21, "starting")], end=False),
        Stream([job(22, "up"), COMPLETE, linger]),
    )
    done = person.flynn("scale", "web=2")
    assert done.code == 0
    assert [line.split()[-1] for line in done.out.splitlines() if "==>" in line] == ["starting", "up"]
    resumed = [request.headers["last-event-id"] for request in scalable.requests if request.path == "/events"]
    assert resumed == ["0", "21"]


@pytest.mark.parametrize(
    ("specs", "processes", "tags"),
    [
        (["web=3"], {"web": 3}, {}),
        (["web=3,disk=ssd,fast", "worker=0"], {"web": 3, "worker": 0}, {"web": {"disk": "ssd", "fast": "true"}}),
        (["web=+2,a=b=c"], {"web": 2}, {"web": {"a": "b=c"}}),
    ],
)
def test_specs(specs, processes, tags):
    assert parse_specs(specs, {"web": {}, "worker": {}}) == (processes, tags)


@pytest.mark.parametrize(
    ("specs", "text"),
    [
        (["web"], "ERROR: scale args must be of the form <typ>=<spec>"),
        (["web=x"], 'ERROR: could not parse quantity in "web=x"'),
        (["web="], 'ERROR: could not parse quantity in "web="'),
        (["web=1.5"], 'ERROR: could not parse quantity in "web=1.5"'),
        (["web=-1"], 'ERROR: process quantities cannot be negative in "web=-1"'),
        (["a=1", "web=1", "b=2"], 'ERROR: unknown process types: "a", "b"'),
    ],
)
def test_wrong_specs(specs, text):
    with pytest.raises(Failure, match=re.escape(text)):
        parse_specs(specs, {"web": {}})


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["-a", "web=1"], "ERROR: Can't use --all when scaling\n"),
        (["-a", "-r", OLD], "ERROR: Can't use --all in combination with --release\n"),
        (["web=1"], "No app release, specify a release with --release\n"),
        ([], "No app release, specify a release with --release\n"),
    ],
)
def test_what_cannot_be_scaled(person, controller, argv, text):
    done = person.flynn("scale", *argv)
    assert (done.code, done.out, done.err) == (1, "", text)


def test_showing_the_scale(person, controller):
    controller.on("GET /apps/shop/release", release())
    controller.on(f"GET /releases/{NEW}", release(NEW))
    controller.on(f"GET /apps/shop/formations/{OLD}", {"processes": {"web": 2}})
    controller.on(f"GET /apps/shop/formations/{NEW}", NOT_FOUND)
    assert person.flynn("scale").out == "web=2 worker=0\n"
    assert person.flynn("scale", "--release", NEW).out == ""


def test_showing_all_releases_that_run_something(person, controller):
    controller.on("GET /apps/shop/release", release())
    controller.on("GET /apps/shop/releases", [release("never-scaled"), release(), release(NEW)])
    controller.on(f"GET /apps/shop/formations/{OLD}", {"processes": {"web": 2}})
    controller.on(f"GET /apps/shop/formations/{NEW}", {"processes": {"web": 0, "worker": 1}})
    assert person.flynn("scale", "--all").out == f"{OLD} (current)\nweb=2\n\n{NEW}\nworker=1\n"
