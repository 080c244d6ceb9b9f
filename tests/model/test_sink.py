"""Sinks: what a config may say."""

import pytest

from flynn_aio.errors import ValidationError
from flynn_aio.model import Sink, SyslogFormat, SyslogScheme, syslog_config


def config(**sent):
    return syslog_config(Sink(id="", kind="syslog", config=sent))


def test_what_is_not_said_has_a_default():
    found = config(url="syslog://logs.example.com")
    assert (found.scheme, found.host, found.port) == (SyslogScheme.TCP, "logs.example.com", 514)
    assert found.format is SyslogFormat.RFC6587
    assert (found.use_ids, found.insecure, found.structured_data, found.template.pieces) == (False, False, False, ())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("syslog://10.0.0.1:1514", (SyslogScheme.TCP, "10.0.0.1", 1514)),
        ("syslog://[::1]:1514/", (SyslogScheme.TCP, "::1", 1514)),
        ("syslog+tls://logs.example.com:6514/path", (SyslogScheme.TLS, "logs.example.com", 6514)),
        ("SYSLOG+TLS://Logs.Example.com", (SyslogScheme.TLS, "logs.example.com", 514)),
    ],
)
def test_a_url_says_how_and_where(url, expected):
    found = config(url=url)
    assert (found.scheme, found.host, found.port) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "logs.example.com",
        "http://logs.example.com",
        "udp://logs.example.com",
        "syslog://",
        "syslog://:514",
        "syslog://h:0",
        "syslog://h:x",
        "syslog://h:70000",
        "syslog://[::1",
        "syslog://a b",
        "syslog://a\x00b",
        "syslog://a..b",
        "syslog://" + "a" * 300,
    ],
)
def test_a_url_that_leads_nowhere_is_refused(url):
    with pytest.raises(ValidationError, match=r"config.url must be like syslog://HOST:PORT"):
        config(url=url)
