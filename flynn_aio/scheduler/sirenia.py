"""Sirenia: a database on one host stops before its next release starts. Pure.

In a cluster of Flynn the members take over from one another while they replicate. A lone primary has
nobody to follow it, and two on the same data would ruin it: it goes down, and the new one comes up;
then the other types go one by one. Each move of a database job is told as a `running` event, as by no
other strategy. Nothing is rolled back: what the new primary has written, the old one might not read.

Source: `deploy.md` §1, §3; Flynn `controller/worker/deployment/sirenia.go`.
"""

from collections.abc import Iterator

from ..model import Deployment, JobState, Release
from .step import TellJob
from .strategies import Balance

PROCESS_ENV = "SIRENIA_PROCESS"
"""The variable of a release that names the type of its database."""


def database_type(old: Release | None, new: Release) -> str:
    """Return the type of the database: as the old release says, or else the new one; empty when neither does."""
    return (old.env.get(PROCESS_ENV, "") if old else "") or new.env.get(PROCESS_ENV, "")


def refusal(kind: str, new: Release, *, started: bool) -> str | None:
    """Return why a release cannot be deployed so; the words are Flynn's to the letter.

    Args:
        started: somebody has started its database already.
    """
    if not kind:
        return "unable to determine sirenia process type"
    if kind not in new.processes:
        return "sirenia process type not present in new release"
    if started:
        return "sirenia cluster in unexpected state"
    return None


def moves(
    deployment: Deployment, step: str, now: Balance, following: Balance | None, *, kind: str
) -> Iterator[TellJob]:
    """Yield what is to be told of the step that ended and of the one that begins.

    Args:
        step: the note of the step that ended: ``up TYPE=COUNT`` or ``down TYPE=COUNT``.
        kind: the type of the database. Other types are not told of.
    """

    def told(state: JobState) -> TellJob:
        release = deployment.new_release if state in (JobState.STARTING, JobState.UP) else deployment.old_release
        return TellJob(deployment.app, deployment.id, release or deployment.new_release, kind, state)

    old, new = now.old.get(kind, 0), now.new.get(kind, 0)
    if step == f"down {kind}={old}":
        yield told(JobState.DOWN)
    elif step == f"up {kind}={new}":
        yield told(JobState.UP)
    if following and following.old.get(kind, 0) != old:
        yield told(JobState.STOPPING)
    elif following and following.new.get(kind, 0) != new:
        yield told(JobState.STARTING)
