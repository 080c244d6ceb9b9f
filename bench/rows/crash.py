"""A crash: from the SIGKILL of an app's only process to the first answer of the one that takes its place."""

import os
import re
import signal
import time
from contextlib import suppress
from http.client import HTTPException

from ..by_hand import open_by_hand
from ..figures import Row, figure, ratio
from ..place import APP, HOST, POLL_S, Place

TARGET = 2.0
"""Times a container start that nobody watches, records or routes to."""
TIMEOUT_S = 60.0
_JOB = re.compile(r"job (\S+),")


def measure(place: Place, *, times: int) -> list[Row]:
    """Return how long an app is away, beside `podman run` of the same slug until it answers; the two alternate."""
    place.deploy()
    crashes, runs = [], []
    with open_by_hand(place) as by_hand:
        by_hand.build()
        by_hand.run()
        for _ in range(times):
            _begin_anew(place)
            crashes.append(_crash(place))
            place.wait_calm()
            runs.append(by_hand.run())
    crash, run = figure("s", crashes), figure("s", runs)
    return [
        Row(
            key="crash",
            title="crash, to the replacement's answer / `podman run` to its answer",
            shown=ratio(crash, run),
            target=TARGET,
            beside={"to the answer": crash, "`podman run` to its answer": run},
        )
    ]


def _begin_anew(place: Place) -> None:
    """Have a job without a past: what crashes for the fifth time in a row is started again after a pause."""
    [job] = place.appliance.job_ids(APP)
    place.appliance.flynn("-a", APP, "kill", job)
    _answered(place, other_than=job)
    place.wait_calm()


def _crash(place: Place) -> float:
    """Kill the process; return the seconds until another job answers through the router."""
    [container] = place.appliance.containers()
    shown = place.appliance.run("podman", "inspect", "--format", "{{.State.Pid}}", container)
    before = _answered(place)
    started = time.perf_counter()
    os.kill(int(shown.stdout), signal.SIGKILL)
    _answered(place, other_than=before)
    return time.perf_counter() - started


def _answered(place: Place, *, other_than: str = "") -> str:
    """Ask until a job answers; return its id."""
    deadline = time.perf_counter() + TIMEOUT_S
    while time.perf_counter() < deadline:
        with suppress(OSError, HTTPException):  # cut off in the middle, by the end of the one that was asked
            answer = place.appliance.fetch(HOST, plain=True)
            if answer.status == 200 and (found := _JOB.search(answer.text)) and found[1] != other_than:
                return found[1]
        time.sleep(POLL_S)
    raise TimeoutError(f"no answer of {APP} within {TIMEOUT_S:.0f} s of a crash")
