"""The process around the appliance: where its log goes."""

import logging

import pytest

from flynn_aio import up
from flynn_aio.config import load
from flynn_aio.settings import AUDIT_LOGGER
from flynn_aio.up import audit_file, diary, log_file


@pytest.fixture
def settings(tmp_path):
    return load(environ={"FLYNN_AIO_DATA_DIR": str(tmp_path), "FLYNN_AIO_DOMAIN": "flynn.test"})


def write():
    logging.getLogger("flynn_aio.engine").info("job started", extra={"job": "x"})
    logging.getLogger(AUDIT_LOGGER).info("request", extra={"path": "/apps"})


def test_what_is_logged_about_requests_goes_to_a_file_of_its_own(settings):
    with diary(settings, to_file=True):
        write()
    assert log_file(settings).read_text().endswith("Z job started job=x\n")
    assert audit_file(settings).read_text().endswith("Z request path=/apps\n")
    assert "request" not in log_file(settings).read_text()
    assert "job" not in audit_file(settings).read_text()


def test_nobody_else_may_read_what_is_logged_also_in_the_next_file_or_one_that_was_open_to_all(settings, monkeypatch):
    monkeypatch.setattr(up, "LOG_FILE_BYTES", 200)
    audit_file(settings).touch(mode=0o644)
    with diary(settings, to_file=True):
        for _ in range(20):
            write()
    modes = {path.name: path.stat().st_mode & 0o777 for path in settings.data_dir.glob("*.log*")}
    assert modes == dict.fromkeys(("appliance.log", "appliance.log.1", "audit.log", "audit.log.1"), 0o600)


def test_a_terminal_shows_the_diary_and_not_the_requests(settings, capsys):
    with diary(settings, to_file=False):
        write()
    assert capsys.readouterr().out == "job started job=x\n"
    assert audit_file(settings).read_text().endswith("Z request path=/apps\n")
    assert not log_file(settings).exists()
