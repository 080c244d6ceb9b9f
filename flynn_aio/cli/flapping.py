"""What is said of an app whose jobs keep ending, in `flynn ps` and `flynn-aio status`. Pure.

A job that was started a moment ago looks as well as one that has run for a year; only its row knows better.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from .render import human_duration, moment


def flapping(jobs: Iterable[Mapping[str, Any]], now: datetime) -> Iterator[str]:
    """Yield a sentence for each process type that is flapping, by the worst of its jobs.

    ``web keeps ending: 7 times in a row within 2 minutes, the last one ended with exit status 1; next try in 8 s``

    Args:
        jobs: as the controller shows them, of one app.
    """
    worst: dict[str, Mapping[str, Any]] = {}
    for job in jobs:
        if job.get("flapping") and job.get("state") not in ("down", "stopping"):
            kind = job.get("type", "")
            if kind not in worst or job["restarts"] > worst[kind]["restarts"]:
                worst[kind] = job
    for kind, job in sorted(worst.items()):
        yield f"{kind} keeps ending: {_history(job, now)}; {_outlook(job, now)}"


def _history(job: Mapping[str, Any], now: datetime) -> str:
    since = moment(job.get("failing_since"))
    within = f" within {human_duration(now - since).lower()}" if since else ""
    return f"{job['restarts']} times in a row{within}, the last one {job.get('last_end') or 'ended'}"


def _outlook(job: Mapping[str, Any], now: datetime) -> str:
    if job.get("state") != "pending":
        return f"job {job.get('id')} is {job.get('state')} again"
    run_at = moment(job.get("run_at"))
    seconds = max((run_at - now).total_seconds(), 0.0) if run_at else 0.0
    return f"next try in {seconds:.0f} s" if seconds >= 1 else "next try at once"
