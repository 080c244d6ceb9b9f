"""`flynn log`."""

import json

import pytest

from .fake_controller import Stream, error


def line(**fields):
    return json.dumps({"source": "app", "timestamp": "2020-01-02T03:04:05.12Z", **fields}).encode() + b"\n"


LINES = [
    line(job_id="host0-1", process_type="web", stream="stdout", msg="hello <é>"),
    line(job_id="host0-1", process_type="web", stream="stderr", msg="oh"),
    line(job_id="host0-2", stream="stdout"),
    line(job_id="host0-1", process_type="web", stream="init", msg="FATAL"),
    line(job_id="host0-1", process_type="web", stream="unknown", msg="?"),
]
HELLO = "2020-01-02T03:04:05.120000Z app[web.host0-1]: hello <é>\n"
OH = "2020-01-02T03:04:05.120000Z app[web.host0-1]: oh\n"
EMPTY = "2020-01-02T03:04:05.120000Z app[.host0-2]: \n"
FATAL = "2020-01-02T03:04:05.120000Z app[web.host0-1]: FATAL\n"


@pytest.mark.parametrize(
    ("flags", "out", "err"),
    [
        ([], HELLO + OH + EMPTY, ""),
        (["-s"], HELLO + EMPTY, OH),
        (["-i"], HELLO + OH + EMPTY, FATAL),
        (["-r"], "hello <é>\noh\n\n", ""),
        (["-rsi"], "hello <é>\n\n", "oh\nFATAL\n"),
    ],
)
def test_each_stream_has_its_place(person, controller, flags, out, err):
    controller.on("GET /apps/shop/log", Stream([b"".join(LINES)[:100], b"".join(LINES)[100:]], "text/plain"))
    done = person.flynn("log", *flags)
    assert (done.code, done.out, done.err) == (0, out, err)


@pytest.mark.parametrize(
    ("flags", "query"),
    [
        ([], {}),
        (["-f"], {"follow": "true"}),
        (["-n", "10", "-f"], {"follow": "true", "lines": "10"}),
        (["-n0"], {"lines": "0"}),
        (["-j", "host0-1"], {"job_id": "host0-1"}),
        (["-t", "web"], {"process_type": "web"}),
        (["-t", ""], {"process_type": ""}),  # one-off jobs, which is not the same as all jobs
        (["-i"], {"stream_types": "stdout,stderr,init"}),
    ],
)
def test_what_is_asked_for(person, controller, flags, query):
    controller.on("GET /apps/shop/log", Stream([], "text/plain"))
    assert person.flynn("log", *flags).code == 0
    (request,) = controller.requests
    assert request.query == {"stream_types": "stdout,stderr", **query}


def test_a_number_that_is_none(person, controller):
    done = person.flynn("log", "-n", "many")
    assert (done.code, done.err) == (1, 'invalid number of lines: "many"\n')


def test_a_refused_number_is_the_controllers_word(person, controller):
    text = "lines lines must be an integer between 0 and 10000"
    controller.on("GET /apps/shop/log", error("validation_error", text, 400))
    assert person.flynn("log", "-n", "10001").err == f"validation_error: {text}\n"


def test_a_log_that_is_cut_off_is_no_success(person, controller):
    controller.on("GET /apps/shop/log", Stream(LINES[:1], "text/plain", end=False))
    done = person.flynn("log", "-f")
    assert (done.code, done.out, done.err) == (1, HELLO, "unexpected EOF\n")
