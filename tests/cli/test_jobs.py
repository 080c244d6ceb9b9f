"""`flynn ps` and `flynn kill`."""

import pytest

from .fake_controller import error
from .nouns import OLD, since

WEB = "host0-00000001-0000-4000-8000-000000000000"
PENDING = "00000003-0000-4000-8000-000000000000"
ONE_OFF = "host0-00000004-0000-4000-8000-000000000000"


def jobs():
    """Return them as of now: what `ps` prints is counted from the present."""
    return [
        {"uuid": PENDING, "release": OLD, "type": "worker", "state": "pending", "created_at": since(minutes=2)},
        {
            "id": WEB,
            "uuid": WEB.removeprefix("host0-"),
            "release": OLD,
            "type": "web",
            "state": "up",
            "args": ["/runner/init", "start", "web"],
            "created_at": since(minutes=25),
        },
        {
            "id": "host0-5",
            "uuid": "5",
            "release": OLD,
            "type": "web",
            "state": "starting",
            "created_at": since(minutes=30),
        },
        {"id": ONE_OFF, "uuid": "4", "release": OLD, "state": "down", "args": ["bash"], "created_at": since(days=20)},
    ]


def rows(*cells):
    widths = [42, 6, 7, 14, 36]  # of the widest cells below
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) + "\n" for row in cells
    )


HEADER = ("ID", "TYPE", "STATE", "CREATED", "RELEASE", "COMMAND")


@pytest.mark.parametrize("flags", [[], ["-c"], ["--command"]])
def test_ps_shows_what_runs_and_waits_oldest_first(person, controller, flags):
    controller.on("GET /apps/shop/jobs", jobs())
    done = person.flynn("ps", *flags)
    assert (done.code, done.err) == (0, "")
    assert done.out == rows(
        HEADER,
        (WEB, "web", "up", "25 minutes ago", OLD, "/runner/init start web"),
        (PENDING, "worker", "pending", "2 minutes ago", OLD, ""),
    )


@pytest.mark.parametrize(
    ("flags", "ids"),
    [
        (["-q"], [WEB, PENDING]),
        (["-aq"], [ONE_OFF, "host0-5", WEB, PENDING]),
        (["-aq", "-t", "run"], [ONE_OFF]),
        (["-q", "--type=web"], [WEB]),
        (["-q", "-t", "nope"], []),
    ],
)
def test_ps_quiet_prints_ids(person, controller, flags, ids):
    controller.on("GET /apps/shop/jobs", jobs())
    assert person.flynn("ps", *flags).out.split() == ids


def test_ps_calls_a_job_without_type_run(person, controller):
    controller.on("GET /apps/shop/jobs", jobs())
    (line,) = [line for line in person.flynn("ps", "-a").out.splitlines() if line.startswith(ONE_OFF)]
    assert line.split("  ", 1)[1].split()[:2] == ["run", "down"]
    assert line.endswith(f"2 weeks ago     {OLD}  bash")


def test_ps_of_an_app_without_jobs_is_a_header(person, controller):
    controller.on("GET /apps/shop/jobs", [])
    assert person.flynn("ps").out == "ID  TYPE  STATE  CREATED  RELEASE  COMMAND\n"


def test_kill_goes_on_after_a_failure_and_tells_at_the_end(person, controller):
    controller.on("DELETE /apps/shop/jobs/a", error("validation_error", "cannot kill a job which has no host", 400))
    controller.on("DELETE /apps/shop/jobs/b", None)
    done = person.flynn("kill", "a", "b", "c")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "ERROR: could not kill job a: validation_error: cannot kill a job which has no host\n"
        "Job b killed.\n"
        "ERROR: could not kill job c: controller: resource not found\n"
        "Could not kill all jobs.\n"
    )


def test_kill(person, controller):
    controller.on("DELETE /apps/shop/jobs/b", None)
    done = person.flynn("kill", "b")
    assert (done.code, done.out, done.err) == (0, "", "Job b killed.\n")


def flaps(**facts):
    row = {"restarts": 7, "flapping": True, "last_end": "ended with exit status 1", "failing_since": since(seconds=90)}
    return (
        {"uuid": "6", "release": OLD, "type": "web", "state": "pending", "created_at": since(seconds=1)} | row | facts
    )


def test_ps_says_below_the_table_what_keeps_ending(person, controller):
    controller.on("GET /apps/shop/jobs", [flaps(), *jobs()])
    done = person.flynn("ps")
    assert len(done.out.splitlines()) == 4  # the table is as ever
    assert done.err == (
        "web keeps ending: 7 times in a row within about a minute, the last one ended with exit status 1; "
        "next try at once\n"
    )


def test_ps_says_it_once_for_each_type(person, controller):
    some = [flaps(uuid=str(number), restarts=number) for number in range(3, 50)]
    again = flaps(type="worker", state="up", id="host0-9", last_end="was killed by SIGKILL", failing_since=None)
    over = flaps(type="clock", flapping=False)
    controller.on("GET /apps/shop/jobs", [*some, again, over, flaps(state="down", restarts=99)])
    web, worker = person.flynn("ps").err.splitlines()
    assert web.startswith("web keeps ending: 49 times in a row")
    assert worker == (
        "worker keeps ending: 7 times in a row, the last one was killed by SIGKILL; job host0-9 is up again"
    )
    assert person.flynn("ps", "-q").err == ""
    assert person.flynn("ps", "--type=clock").err == ""


def test_ps_tells_when_the_next_try_is(person, controller):
    controller.on("GET /apps/shop/jobs", [flaps(run_at=since(seconds=-25))])
    assert " next try in 2" in person.flynn("ps").err


def test_ps_says_what_runs_and_serves_nobody(person, controller):
    met = "no answer from 100.100.0.5:8080 within 2.0 s, 9 probes in 18.0 s"
    silent = {"uuid": "7", "id": "host0-7", "release": OLD, "type": "web", "state": "up", "unhealthy": met}
    another = {**silent, "id": "host0-8"}
    fresh = {**silent, "type": "clock", "state": "starting", "created_at": since(seconds=2)}
    late = {**silent, "type": "worker", "state": "starting", "created_at": since(seconds=60)}
    controller.on("GET /apps/shop/jobs", [silent, another, fresh, late])
    assert person.flynn("ps").err.splitlines() == [
        f"web does not serve: job host0-7 is up, and its health check met: {met}; so it is with 1 more",
        f"worker does not serve: job host0-7 is starting, and its health check met: {met}",
    ]
