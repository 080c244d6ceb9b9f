"""The process around the appliance: where its log goes."""

import logging

import pytest

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


def test_a_terminal_shows_the_diary_and_not_the_requests(settings, capsys):
    with diary(settings, to_file=False):
        write()
    assert capsys.readouterr().out == "job started job=x\n"
    assert audit_file(settings).read_text().endswith("Z request path=/apps\n")
    assert not log_file(settings).exists()
