"""Requests of all kinds while an app is deployed, scaled and killed all the time: how many of them were lost."""

import time
from functools import partial

import trio

from tests.support.appliance import repository
from tests.support.traffic.changes import Changes, doors_of, open_changes
from tests.support.traffic.load import ROOT, open_load
from tests.support.traffic.outcome import Outcome

from ..figures import Figure, Row, figure, ratio
from ..place import Place

APP = "steady"
TREE = ROOT / "tests" / "support" / "traffic" / "app"
RATE = 500.0
"""Requests per second."""
JOBS = 2


def measure(place: Place, *, changes: int, quiet_s: float) -> list[Row]:
    """Return what was lost of `RATE` requests/s while an app was changed, and how late the answers came.

    Args:
        changes: deploys of all strategies, scales and kills, in a random order.
        quiet_s: how long the same requests are made without any, before.
    """
    place.deploy()
    repo = repository(place.appliance.place / APP, TREE)
    place.appliance.flynn("create", APP, cwd=repo)
    place.appliance.run("git", "push", "flynn", "master", cwd=repo)
    try:
        return trio.run(partial(_measure, place, changes, quiet_s))
    finally:
        place.appliance.flynn("-a", APP, "delete", "--yes")
        place.wait_calm()


async def _measure(place: Place, number: int, quiet_s: float) -> list[Row]:
    doors = doors_of(place.appliance, APP)
    with open_changes(place.appliance, APP) as changes:
        await changes.scale(JOBS)
        async with open_load(doors, rate=RATE) as quiet:
            await trio.sleep(quiet_s)
        started = time.perf_counter()
        async with open_load(doors, rate=RATE) as changed:
            await changes.some(number)
        took = time.perf_counter() - started
        if changed.failures:
            print(await changes.explain(changed.failures), flush=True)
    return [_lost(quiet, changed, changes, took), _later(quiet, changed)]


def _lost(quiet: Outcome, changed: Outcome, changes: Changes, took: float) -> Row:
    return Row(
        key="zero-loss",
        title=f"requests lost of {RATE:.0f}/s while an app was changed {len(changes.made) - 1} times",
        shown=_count(len(changed.failures)),
        target=0.0,
        beside={
            "answered": _count(changed.answered),
            "skipped, since too many were under way": _count(changed.skipped),
            "jobs that answered": Figure("jobs", (float(len(changed.jobs)),)),
            "took": figure("s", [took]),
            "lost without changes": _count(len(quiet.failures)),
        },
    )


def _later(quiet: Outcome, changed: Outcome) -> Row:
    before, during = figure("ms", [quiet.percentile(99)]), figure("ms", [changed.percentile(99)])
    return Row(
        key="zero-loss-p99",
        title="p99 of quick requests while an app is changed / without changes",
        shown=ratio(during, before),
        beside={
            "p99 with changes": during,
            "p99 without": before,
            "p50 with changes": figure("ms", [changed.percentile(50)]),
            "p50 without": figure("ms", [quiet.percentile(50)]),
        },
    )


def _count(number: int) -> Figure:
    return Figure("requests", (float(number),))
