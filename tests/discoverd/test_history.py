from flynn_aio.discoverd.history import RUNS, History
from flynn_aio.model import Evidence, Probes, Time

AT = [Time.parse(f"2026-11-23T12:00:{second:02}Z") for second in range(60)]


def test_equal_results_in_a_row_are_one_entry():
    history = History(now=0)
    for at, error in zip(AT, ["refused", "refused", "", "", "", "refused"], strict=False):
        history.probed(error, at)
    assert history.evidence() == Evidence(
        probes=[
            Probes(at=AT[0], error="refused", count=2),
            Probes(at=AT[2], count=3),
            Probes(at=AT[5], error="refused"),
        ]
    )


def test_only_the_latest_are_kept():
    history = History(now=0)
    for number, at in enumerate(AT):
        history.probed(f"status {number}", at)
    assert [run.error for run in history.evidence().probes] == [f"status {number}" for number in range(60)][-RUNS:]


def test_it_is_looked_ever_less_often_where_a_silent_job_listens():
    history = History(now=100)
    looks = []
    for now in range(100, 165):
        if history.wants_look(now):
            history.looked((), now)
            looks.append(now - 100)
    assert looks == [1, 2, 4, 8, 16, 32, 64]


def test_nowhere_is_something_else_than_unknown():
    history = History(now=0)
    assert history.evidence().opened is None
    history.looked((), 1)
    assert history.evidence().opened == []
