"""Syslog messages, byte for byte."""

import pytest

from flynn_aio.logs.line import Origin
from flynn_aio.logs.record import Line
from flynn_aio.logs.syslog import SyslogEncoder
from flynn_aio.model import HOST_ID, JobFacts, Sink, full_job_id, syslog_config

from ..support.conmon import APP, job_id

JOB = full_job_id(job_id(1))
WEB = Origin(APP, job_id(1), "web")
TIME = "2026-11-23T04:11:15.016030999"


def encode(*texts, origin=WEB, stream="stdout", app_name="shop", **config):
    sink = Sink(id="", kind="syslog", config={"url": "syslog://h"} | config)
    lines = [(Line(TIME, stream, text), origin) for text in texts]
    return SyslogEncoder(syslog_config(sink)).encode(lines, {origin: JobFacts(id=JOB, app_name=app_name)})


HEAD = f"<190>1 2026-11-23T04:11:15.016030Z {HOST_ID} shop web.{JOB} ID1 -".encode()


def test_a_message_is_counted_in_octets():
    text = "héllo".encode()
    assert encode(text) == b"%d " % (len(HEAD) + 7) + HEAD + b" " + text
    assert encode(b"") == b"%d " % len(HEAD) + HEAD
    assert encode(b"\xff\x00") == b"%d " % (len(HEAD) + 3) + HEAD + b" \xff\x00"


def test_messages_end_with_a_newline_where_wanted():
    assert encode(b"one", b"two", format="newline") == HEAD + b" one\n" + HEAD + b" two\n"
    assert encode(b"one", format="prefixed_newline") == HEAD + b" one\n"


def test_a_prefix_stands_before_the_text_or_before_everything():
    message = HEAD + f" [{JOB}] one".encode()
    assert encode(b"one", template="[{{.ID}}]") == b"%d " % len(message) + message
    assert encode(b"one", template="[{{.ID}}]", format="newline") == message + b"\n"
    assert encode(b"one", template="token", format="prefixed_newline") == b"token " + HEAD + b" one\n"


@pytest.mark.parametrize(("stream", "message_id"), [("stdout", "ID1"), ("stderr", "ID2"), ("init", "ID3")])
def test_the_stream_is_the_message_id(stream, message_id):
    assert f" {message_id} - x".encode() in encode(b"x", stream=stream)


def test_ids_and_numbers_are_there_on_request():
    assert f" {HOST_ID} {APP} web.{JOB} ID1 ".encode() in encode(b"x", use_ids=True)
    sent = encode(b"x", b"y", structured_data=True, format="newline").splitlines()
    assert [line.partition(b"ID1 ")[2] for line in sent] == [b'[flynn seq="1"] x', b'[flynn seq="2"] y']


@pytest.mark.parametrize(
    ("kind", "procid"),
    [("", JOB), ("my web\n", f"my_web_.{JOB}"), ("wéb", f"w_b.{JOB}"), ("x" * 200, "x" * (127 - len(JOB)) + f".{JOB}")],
)
def test_names_have_no_spaces_and_are_not_too_long(kind, procid):
    assert encode(b"x", origin=Origin(APP, job_id(1), kind), format="newline").split(b" ")[4] == procid.encode()
