"""What a pusher reads when the push is refused: the phase, the cause, what still serves, the next step."""

from collections.abc import Iterator, Sequence

from ..errors import FlynnError
from ..model import Failure, NextStep

INDENT = " " * 7
"""In front of what stands below a title. Source: `build.md` §3, output style."""
TITLES = ("-----> ", "=====> ")


class PushRejected(FlynnError):
    """The push did not become a release that serves; the branch stays where it was.

    Attributes:
        message: the phase and the cause, e.g. ``Build failed: exit status 1``.
        more: lines below it: last output, what still serves, what to type.
    """

    code = "push_rejected"

    def __init__(self, message: str, *, more: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.more = tuple(more)

    @property
    def lines(self) -> list[str]:
        """What is shown: the message, then the rest below it; titles keep their place."""
        first, *rest = self.message.splitlines() or [""]
        below = [line if line.startswith(TITLES) else f"{INDENT}{line}" for line in (*rest, *self.more)]
        return [f"ERROR: {first}", *below]


class BuildFailed(PushRejected):
    """The tree did not become a slug; nothing of the app was touched.

    Args:
        why: the cause; the message becomes ``Build failed: <cause>``.
    """

    def __init__(self, why: str, *, more: Sequence[str] = ()) -> None:
        super().__init__(f"Build failed: {why}", more=more)


def failure_lines(failure: Failure, *, app: str, after: Sequence[str]) -> Iterator[str]:
    """Yield what stands below the message of a push whose release did not come up.

    Args:
        after: what became of the app, between what was seen and what to do.
    """
    first, *more = failure.explanation or [""]
    if failure.phase:
        yield f"Phase {failure.phase}: {first}"
    yield from more
    if failure.probes:
        yield "What its health check met:"
        for run in failure.probes:
            times = f", {run.count} times" if run.count > 1 else ""
            yield f"  {run.at:%H:%M:%S} UTC  {run.error or 'it answered'}{times}"
    if failure.job and failure.log:
        yield f"The last lines of {failure.job}{_how_it_ended(failure)}:"
        yield from (f"  {line}" for line in failure.log)
    elif failure.job:
        yield f"Job {failure.job}{_how_it_ended(failure)} printed nothing."
    yield from after
    *steps, last = failure.try_next or [NextStep(purpose="see more", command=f"flynn -a {app} log")]
    for step in steps:
        yield f"To {step.purpose}: {step.command}"
    yield f"To {last.purpose}: {last.command}; then mend it and push again."


def _how_it_ended(failure: Failure) -> str:
    if failure.signal:
        return f" ({failure.signal})"
    return "" if failure.exit_status is None else f" (exit status {failure.exit_status})"
