"""Failure: why a deployment failed, for the person who has to mend it and for programs.

The values say what was seen; `explanation` says the same in plain words.
"""

from enum import StrEnum

from msgspec import Struct, field

from .ids import ReleaseID
from .json import Time


class FailurePhase(StrEnum):
    """How far it got."""

    BUILD = "build"
    """The tree did not become a slug."""
    CREATE = "create"
    """No process ran: the container could not be made."""
    START = "start"
    """The process could not be executed, or ended by itself."""
    HEALTH = "health"
    """It ran, and did not answer as its health check wants."""
    DRAIN = "drain"
    """An old job did not stop in time."""


class Probes(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Probes of a health check, one after the other, that came to the same.

    Attributes:
        at: when the first of them ended.
        error: what they met instead of an answer, as a sentence; empty when it answered.
        count: how many.
    """

    at: Time
    error: str = ""
    count: int = 1


class Evidence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen of a job that did not serve.

    Attributes:
        given_up: its health check had it killed.
        opened: addresses it listened on over TCP when last looked at, ``ip:port``; ``None`` when nobody could look.
        probes: the latest ones, oldest first.
    """

    given_up: bool = False
    opened: list[str] | None = None
    probes: list[Probes] = field(default_factory=list)


class Serving(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What serves in spite of a failure; no processes: nothing does.

    Attributes:
        processes: how many of each type are wanted.
    """

    release: ReleaseID = ReleaseID("")
    processes: dict[str, int] = field(default_factory=dict)


class NextStep(Struct, frozen=True, kw_only=True):
    """A command to try next.

    Attributes:
        purpose: what for: the end of a sentence that begins with "to".
    """

    purpose: str
    command: str


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a deployment failed, as far as it is known.

    Attributes:
        error: the same as in the deployment's event.
        phase: how far it got; absent when no job had to do with it.
        explanation: what was seen, in sentences.
        job: full id of the job it failed by.
        job_type: its process type.
        exit_status: how its process ended, unless a signal did that.
        signal: the signal that ended it, ``SIGKILL``.
        oom: it, or a child of its, was killed for lack of memory.
        memory_limit: how much it may use, in bytes.
        port: what it was told to listen on, as `PORT`.
        opened: addresses it listened on over TCP when last looked at, ``ip:port``; absent when nobody could look.
        probes: what its health check met in the end, oldest first.
        log: the last lines it printed.
        serving: what serves in spite of it.
        try_next: commands, the most promising first.
    """

    error: str
    phase: FailurePhase | None = None
    explanation: list[str] = field(default_factory=list)
    job: str = ""
    job_type: str = ""
    exit_status: int | None = None
    signal: str = ""
    oom: bool = False
    memory_limit: int | None = None
    port: int | None = None
    opened: list[str] | None = None
    probes: list[Probes] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    serving: Serving | None = None
    try_next: list[NextStep] = field(default_factory=list)
