"""News: an app is planned again when something of it has moved, and only then."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flynn_aio.engine import RunState
from flynn_aio.model import AppID, JobID
from flynn_aio.scheduler.news import Look, News
from flynn_aio.scheduler.step import Doing

from .builders import APP, EARLIER, NOW, status

JOB = JobID("job")
OTHER = AppID("other")
RUNS = status("job")
THEIRS = replace(status("theirs"), app=OTHER)
CALM = Look(statuses=[RUNS, THEIRS], up=frozenset({JOB, THEIRS.id}), steady_since=EARLIER)


def follower(look=CALM, *, version=0) -> News:
    """Return one that has planned everything after `look`."""
    news = News()
    assert news.take(look, {}, version=version, now=NOW) is None
    return news


def taken(news: News, look=CALM, touched=None, *, version=1, now=NOW):
    return news.take(look, touched or {}, version=version, now=now)


def test_with_nothing_to_compare_with_everything_is_news():
    news = follower()
    assert taken(news) == set()
    news.forget()
    assert taken(news) is None


def test_rows_of_which_not_all_is_known_are_all_news():
    assert follower().take(CALM, None, version=1, now=NOW) is None


@pytest.mark.parametrize(
    "look",
    [
        replace(CALM, statuses=[replace(RUNS, state=RunState.EXITED, exit_code=1), THEIRS]),
        replace(CALM, statuses=[THEIRS]),
        replace(CALM, statuses=[RUNS, THEIRS, status("new")]),
        replace(CALM, up=frozenset({THEIRS.id})),
        replace(CALM, dead={JOB: "no answer"}),
    ],
    ids=["ended", "gone", "appeared", "silent", "given up"],
)
def test_an_app_whose_container_or_verdict_moved_is_news_once(look):
    news = follower()
    assert taken(news, look) == {APP.id}
    assert taken(news, look) == set()


def test_what_a_job_waits_for_and_how_often_it_was_listed_is_none():
    assert taken(follower(), replace(CALM, waiting={JOB: "refused"}, statuses=[RUNS, THEIRS])) == set()


def test_written_rows_are_news_unless_the_plan_was_made_from_them():
    news = follower()
    assert taken(news, touched={APP.id: 3, OTHER: 2}, version=3) == {APP.id, OTHER}
    news.planned(APP.id, version=5, acting=(), wake_at=None)
    assert taken(news, touched={APP.id: 5, OTHER: 4}, version=5) == {OTHER}
    assert taken(news, touched={APP.id: 6}, version=6) == {APP.id}


def test_the_end_of_an_action_is_news():
    news = follower()
    news.planned(APP.id, version=0, acting=[JOB], wake_at=None)
    assert taken(news, replace(CALM, doing={JOB: Doing.STOPPING})) == set()
    assert taken(news) == {APP.id}
    assert taken(news) == set()


def test_time_is_news_when_a_plan_said_so_until_the_next_plan():
    news = follower()
    news.planned(APP.id, version=0, acting=(), wake_at=NOW)
    news.planned(OTHER, version=0, acting=(), wake_at=NOW + timedelta(seconds=1))
    assert (news.wake_at, taken(news)) == (NOW, {APP.id})
    news.planned(APP.id, version=0, acting=(), wake_at=None)
    assert news.wake_at == NOW + timedelta(seconds=1)
    assert taken(news, now=NOW + timedelta(seconds=2)) == {OTHER}


def test_what_a_pass_could_not_finish_is_owed_to_the_next():
    news = follower()
    news.owe(APP.id)
    assert taken(news) == {APP.id}
    assert taken(news) == set()
