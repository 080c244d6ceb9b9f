"""What `status` and `credentials` know, and of which process."""

import json
import os

import pytest

from flynn_aio.bootstrap import claimed, prepare_certificates, prepare_files
from flynn_aio.clock import SystemClock
from flynn_aio.config import load
from flynn_aio.status import AppStatus, Report, _lines, credentials, look
from flynn_aio.up import state_file


@pytest.fixture
def settings(tmp_path):
    loaded = load(environ={}, flags={"appliance.data_dir": str(tmp_path / "data"), "router.https_port": 8443})
    with claimed(loaded.data_dir):
        prepare_files(loaded)
        prepare_certificates(loaded, loaded.domain, now=SystemClock().now())
    return loaded


def wrote(settings, pid: int) -> None:
    """Leave what a process writes when it is ready; nobody listens on its port."""
    state = {"pid": pid, "version": "0", "domain": "d", "http_port": 1, "https_port": 1, "started_at": ""}
    state_file(settings).write_text(json.dumps(state))


def test_what_a_killed_appliance_left_says_nothing_of_the_next_one(settings):
    wrote(settings, pid=1)
    with claimed(settings.data_dir):
        report = look(settings)
        assert (report.pid, report.healthy) == (os.getpid(), False)
        assert "has not said ready yet" in report.problems[0]
        wrote(settings, pid=os.getpid())
        assert "controller does not answer" in look(settings).problems[0]


def test_credentials_of_one_that_was_killed_name_the_port_of_the_next_start(settings, capsys):
    wrote(settings, pid=1)
    assert credentials(settings, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["domain"] == "flynn.localhost:8443"


def test_an_app_that_keeps_ending_does_not_look_well():
    app = AppStatus(name="shop", release="r", jobs={"up": 1}, troubles=["web keeps ending: 7 times in a row; next try"])
    lines = _lines(Report(running=True, healthy=True, data_dir="/d", apps=[app]))
    assert lines[-2:] == [
        "app       shop: 1 up",
        "          web keeps ending: 7 times in a row; next try; see: flynn -a shop log -i",
    ]
