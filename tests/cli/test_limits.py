"""Resource limits, pure and as `flynn limit`."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.cli import limits
from flynn_aio.cli.failure import Failure

from .fake_controller import NOT_FOUND, Reply
from .nouns import APP, APP_ID, NEW, SHORT, release


@pytest.mark.parametrize(
    ("kind", "text", "amount"),
    [
        ("memory", "512MB", 536870912),
        ("memory", "500MB", 524288000),
        ("memory", "2GB", 2147483648),
        ("memory", "1.5g", 1610612736),
        ("memory", "1024", 1024),
        ("temp_disk", "100 mb", 104857600),
        ("temp_disk", "7B", 7),
        ("max_fd", "12k", 12000),
        ("cpu", "0.5k", 500),
        ("cpu", "1T", 10**12),
    ],
)
def test_amounts(kind, text, amount):
    assert limits.amount(kind, text) == amount


@pytest.mark.parametrize("text", ["", "x", "-1", "1.2.3", "1 GB ", "1GiB", "MB", "1e3", "٣"])
def test_what_is_no_amount(text):
    with pytest.raises(Failure, match="invalid resource limit value: "):
        limits.amount("memory", text)


@given(st.text(max_size=8))
def test_any_text_is_an_amount_or_refused(text):
    try:
        assert limits.amount("memory", text) >= 0
    except Failure as failure:
        said = str(failure)
    else:
        said = "invalid resource limit value"
    assert said.startswith("invalid resource limit value")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("memory", 'invalid resource limit: "memory"'),
        ("max_procs=1", 'invalid resource limit type: ["max_procs" "1"]'),
        ("cpu=lots", 'invalid resource limit value: "lots"'),
    ],
)
def test_wrong_specs(spec, text):
    with pytest.raises(Failure, match=re.escape(text)):
        limits.parse([spec])


def test_what_is_shown_is_sorted_and_only_limits():
    resources = {
        "memory": {"request": 1, "limit": 1234567890},
        "cpu": {"request": None, "limit": 500},
        "max_procs": {"request": 1, "limit": None},
        "new_kind": {"limit": 5},
    }
    assert limits.shown(resources) == ["cpu=500", "memory=1.15GB", "new_kind=5"]
    assert limits.shown(limits.defaults()) == ["cpu=1000", "max_fd=10000", "memory=1GB", "temp_disk=100MB"]


LIMITED = {
    "web": {"resources": limits.defaults()},
    "clock": {"resources": {"cpu": {"request": 1, "limit": 50}}},
    "x": {},
}


def test_showing_limits(person, controller):
    controller.on("GET /apps/shop/release", release(processes=LIMITED))
    assert person.flynn("limit").out == (
        "clock:  cpu=50\nweb:    cpu=1000  max_fd=10000  memory=1GB  temp_disk=100MB\nx:      \n"
    )
    assert person.flynn("limit", "-t", "clock").out == "clock:  cpu=50\n"
    done = person.flynn("limit", "-t", "zz")
    assert (done.code, done.err) == (1, 'unknown process type "zz"\n')
    controller.on("GET /apps/shop/release", NOT_FOUND)
    assert person.flynn("limit") == person.flynn("limit", "-t", "zz")


def test_setting_limits(person, controller):
    controller.on("GET /apps/shop", APP)
    controller.on(f"GET /apps/{APP_ID}/release", release(processes=LIMITED))
    controller.on("POST /releases", lambda request: Reply({**request.body, "id": NEW}))
    controller.on(f"POST /apps/{APP_ID}/deploy", {"id": "d", "app": APP_ID, "finished_at": SHORT})
    done = person.flynn("limit", "set", "clock", "memory=512MB", "cpu=1.5k")
    assert (done.code, done.out, done.err) == (0, f"Created release {NEW}\n", "")
    assert person.flynn("limit", "set", "slugbuilder", "memory=2GB").err == ""
    done = person.flynn("limit", "set", "new", "max_fd=9")
    assert done.err == 'Warning: "new" is not an existing process type, setting anyway\n'
    clock, slugbuilder, new = (sent["processes"] for sent in controller.bodies("POST /releases"))
    assert clock == {
        **LIMITED,
        "clock": {
            "resources": {"cpu": {"request": None, "limit": 1500}, "memory": {"request": None, "limit": 536870912}}
        },
    }
    assert slugbuilder["slugbuilder"]["resources"]["memory"] == {"request": None, "limit": 2147483648}
    assert new["new"]["resources"] == {**limits.defaults(), "max_fd": {"request": None, "limit": 9}}
