"""Queries, messages, and merging."""

from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.logs import LogMessage, LogQuery
from flynn_aio.logs.line import Origin, message
from flynn_aio.logs.query import Newest, in_order
from flynn_aio.logs.record import STREAMS, Line
from flynn_aio.model import AppID, JobID, encode

WEB = Origin(AppID("app"), JobID("job-1"), "web")
WORKER = Origin(AppID("app"), JobID("job-2"), "worker")
ONE_OFF = Origin(AppID("app"), JobID("job-3"), "")
WEB_INIT = Origin(AppID("app"), JobID("job-1"), "web", is_init=True)


def line(time: int, text: str = "", stream: str = "stdout") -> Line:
    return Line(f"2026-11-23T05:00:{time:02}.000000000", stream, (text or str(time)).encode())


def test_a_message_is_what_the_api_shows():
    found = message(Line("2026-11-23T05:15:06.300763679", "stderr", b"hi"), WEB)
    assert encode(found) == (
        b'{"host_id":"host0","job_id":"host0-job-1","msg":"hi","process_type":"web","source":"app",'
        b'"stream":"stderr","timestamp":"2026-11-23T05:15:06.300763679Z"}'
    )


def test_empty_fields_are_omitted_and_times_trimmed_as_go_does():
    found = message(Line("2026-11-23T05:15:06.300000000", "stdout", b""), ONE_OFF)
    assert found == LogMessage(
        host_id="host0", job_id="host0-job-3", source="app", stream="stdout", timestamp="2026-11-23T05:15:06.3Z"
    )
    assert b"msg" not in encode(found)
    assert b"process_type" not in encode(found)
    assert message(Line("2026-11-23T05:15:06.000000000", "stdout", b""), WEB).timestamp == "2026-11-23T05:15:06Z"


def test_bytes_that_are_no_text_are_replaced():
    assert message(Line("2026-11-23T05:15:06.3", "stdout", b"a\xffb\xc3\xa4"), WEB).msg == "a\ufffdb\u00e4"


def test_what_a_query_wants():
    assert LogQuery().wants(WEB)
    assert not LogQuery().wants(WEB_INIT)
    assert LogQuery(streams=STREAMS).wants(WEB_INIT)
    assert not LogQuery(streams=frozenset({"init"})).wants(WEB)
    assert LogQuery(job=JobID("job-1")).wants(WEB)
    assert not LogQuery(job=JobID("job-1")).wants(WORKER)
    assert LogQuery(process_type="web").wants(WEB)
    assert not LogQuery(process_type="web").wants(ONE_OFF)
    assert LogQuery(process_type="").wants(ONE_OFF)
    assert not LogQuery(process_type="").wants(WEB)


def test_the_newest_of_several_are_merged_by_time():
    newest = Newest(wanted=4, max_bytes=1000)
    newest.add(WEB, [line(1), line(4), line(5)])
    assert newest.threshold == ""
    newest.add(WORKER, [line(2), line(3), line(6)])
    assert newest.threshold == line(3).time
    assert newest.result() == [(line(3), WORKER), (line(4), WEB), (line(5), WEB), (line(6), WORKER)]


def test_a_clock_set_back_does_not_mix_up_a_job():
    assert [one.text for one, _ in in_order([(WEB, [line(5), line(1, "x"), line(6)]), (WORKER, [line(2)])])] == [
        b"2",
        b"5",
        b"x",
        b"6",
    ]


def test_long_texts_leave_the_oldest_out():
    newest = Newest(wanted=10, max_bytes=25)
    newest.add(WEB, [line(time, "x" * 10) for time in range(5)])
    assert [one.time for one, _ in newest.result()] == [line(3).time, line(4).time]


times = st.lists(st.integers(0, 30), max_size=30).map(sorted)


@given(times, times, st.integers(1, 40))
def test_the_newest_are_the_end_of_everything_in_order(first, second, wanted):
    newest = Newest(wanted=wanted, max_bytes=10_000)
    newest.add(WEB, [line(time) for time in first])
    newest.add(WORKER, [line(time) for time in second])
    expected = sorted([*first, *second])[-wanted:]
    assert [one.time for one, _ in newest.result()] == [line(time).time for time in expected]
    if newest.threshold:
        assert newest.threshold == line(expected[0]).time
