"""Fields of a process type that could never work are refused when the release is made."""

import pytest

from flynn_aio.controller.wire import ReleaseRequest, new_release
from flynn_aio.errors import ValidationError

APP = "6e3e3d3f-1f4e-4f4c-9a67-6a1f4a1a7c11"


def made(process):
    [of_web] = new_release(ReleaseRequest(app_id=APP, processes={"web": process})).processes.values()
    return of_web


def checked(**check):
    return {"ports": [{"service": {"name": "hello-web", "check": check}}]}


@pytest.mark.parametrize(
    "check",
    [
        {},
        {"type": "https", "path": "/ready?deep=1&q=%20", "host": "shop.example.com:8443", "status": 302, "match": "ok"},
        {"type": "http", "path": "ready", "host": "[::1]:80", "interval": 10**9, "start_timeout": 10**8},
        {"type": "tcp", "threshold": 1000, "kill_down": True},
        {"type": "http", "path": "/?next=http://elsewhere"},
    ],
)
def test_a_check_that_can_work_is_taken_as_it_is(check):
    kept = made(checked(**check)).ports[0].service.check
    assert {name: getattr(kept, name) for name in check} == check


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("type", "icmp", "must be tcp, http or https, not 'icmp'"),
        ("type", "HTTP", "must be tcp, http or https, not 'HTTP'"),
        ("interval", -1, "not -1; 5 s are 5000000000"),
        ("interval", 5, "not 5; 5 s are 5000000000"),
        ("start_timeout", -(10**9), "must be 0 or a number of nanoseconds from 1000000 on"),
        ("threshold", -1, "must be 0 to 1000, not -1"),
        ("threshold", 10**6, "must be 0 to 1000"),
        ("status", 99, "must be an HTTP status from 200 to 599, not 99"),
        ("status", -200, "must be an HTTP status"),
        ("path", "/a b", "must be a path such as /health, percent-encoded, not '/a b'"),
        ("path", "/a\r\nX: y", "must be a path"),
        ("path", "/größe", "must be a path"),
        ("path", "http://elsewhere/", "must be a path"),
        ("host", "a b", "must be a host name, not 'a b'"),
        ("host", ".example", "must be a host name"),
        ("host", "x" * 300, "must be a host name"),
        ("host", "a\r\nb", "must be a host name"),
        ("match", "x" * 5121, "must not be longer than 5120 bytes"),
    ],
)
def test_a_check_that_can_never_work_is_refused_by_its_field(field, value, why):
    with pytest.raises(ValidationError) as refused:
        made(checked(**{field: value}))
    assert refused.value.field == f"processes.web.ports.0.service.check.{field}"
    assert why in refused.value.message


@pytest.mark.parametrize("name", ["SIGINT", "quit", "3", "SIGWINCH", "SIGRTMIN+3", "SIGKILL"])
def test_a_type_is_stopped_with_the_signal_it_names(name):
    assert made({"stop_signal": name}).stop_signal == name


@pytest.mark.parametrize("name", ["SIGNONE", "0", "99", "SIGSTOP", "TSTP"])
def test_a_signal_that_ends_nothing_is_refused(name):
    with pytest.raises(ValidationError, match="processes.web.stop_signal must be a signal that can end a process"):
        made({"stop_signal": name})


@pytest.mark.parametrize("seconds", [-1, 3601])
def test_a_stop_has_its_bounds(seconds):
    assert made({"stop_timeout": 3600}).stop_timeout == 3600
    with pytest.raises(ValidationError, match="processes.web.stop_timeout must be 0 to 3600 seconds, not"):
        made({"stop_timeout": seconds})
