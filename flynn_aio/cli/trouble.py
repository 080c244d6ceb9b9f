"""What is said of an app whose jobs are not well, in `flynn ps` and `flynn-aio status`. Pure.

A job that was started a moment ago, or that serves nobody, is `up` like one that has run for a year; only what
else is known of it tells them apart.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from .render import human_duration, moment

Job = Mapping[str, Any]

STARTING_S = 10.0
"""A job that is not healthy for as long may still be starting. As with the default of `start_timeout`."""


def troubles(jobs: Iterable[Job], now: datetime) -> list[str]:
    """Return a sentence for each process type that keeps ending, and for each that does not answer its checks.

    ``web keeps ending: 7 times in a row within 2 minutes, the last one ended with exit status 1; next try in 8 s``
    ``web does not serve: job host0-… is up, and its health check met: no answer from 100.100.0.5:8080 within 2.0 s``

    Args:
        jobs: as the controller shows them, of one app.
    """
    alive = [job for job in jobs if job.get("state") not in ("down", "stopping")]
    return [*_flapping(alive, now), *_unhealthy(alive, now)]


def _flapping(jobs: Iterable[Job], now: datetime) -> Iterator[str]:
    worst: dict[str, Job] = {}
    for job in jobs:
        kind = job.get("type", "")
        if job.get("flapping") and (kind not in worst or job["restarts"] > worst[kind]["restarts"]):
            worst[kind] = job
    for kind, job in sorted(worst.items()):
        yield f"{kind} keeps ending: {_history(job, now)}; {_outlook(job, now)}"


def _history(job: Job, now: datetime) -> str:
    since = moment(job.get("failing_since"))
    within = f" within {human_duration(now - since).lower()}" if since else ""
    return f"{job['restarts']} times in a row{within}, the last one {job.get('last_end') or 'ended'}"


def _outlook(job: Job, now: datetime) -> str:
    if job.get("state") != "pending":
        return f"job {job.get('id')} is {job.get('state')} again"
    run_at = moment(job.get("run_at"))
    seconds = max((run_at - now).total_seconds(), 0.0) if run_at else 0.0
    return f"next try in {seconds:.0f} s" if seconds >= 1 else "next try at once"


def _unhealthy(jobs: Iterable[Job], now: datetime) -> Iterator[str]:
    silent: dict[str, list[Job]] = {}
    for job in jobs:
        if job.get("unhealthy") and (job.get("state") == "up" or _age_s(job, now) > STARTING_S):
            silent.setdefault(job.get("type", ""), []).append(job)
    for kind, some in sorted(silent.items()):
        job, others = some[0], f"; so it is with {len(some) - 1} more" if len(some) > 1 else ""
        doing = f"job {job.get('id')} is {job.get('state')}, and its health check met: {job['unhealthy']}"
        yield f"{kind} does not serve: {doing}{others}"


def _age_s(job: Job, now: datetime) -> float:
    created_at = moment(job.get("created_at"))
    return (now - created_at).total_seconds() if created_at else 0.0
