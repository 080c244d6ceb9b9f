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
