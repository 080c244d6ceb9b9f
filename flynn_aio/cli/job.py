"""A job with our streams for its own: what `flynn run` and the commands for databases share.

Source: `controller-api.md` §8, §12 (`run`); Flynn `cli/run.go`, `runJob`.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from .client import Client, part

if TYPE_CHECKING:
    from .progress import Progress

_INIT = "/runner/init"
_STDOUT = 1  # the descriptor itself: the job's bytes go there, past Python's text streams
_UPGRADE = {"Connection": "upgrade", "Upgrade": "flynn-attach/0"}


class Ended(NamedTuple):
    """How an attached job ended.

    Attributes:
        code: its exit code, which becomes ours; 0 when it was interrupted, as in Flynn's client.
        interrupted: a signal to us was forwarded to it, so it may not have finished.
    """

    code: int
    interrupted: bool

    @property
    def well(self) -> bool:
        """Whether it did all it was to do."""
        return self.code == 0 and not self.interrupted


def args_of(client: Client, release_id: str, command: Sequence[str]) -> list[str]:
    """Return the arguments of a job: what was pushed is run by its runner."""
    release = client.get(f"/releases/{part(release_id)}")
    pushed = (release.get("meta") or {}).get("git") == "true"
    return [_INIT, *command] if pushed and command[0] != _INIT else [*command]


def attached(
    client: Client,
    app: str,
    job: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    taken: "Progress | None" = None,
    given: "Progress | None" = None,
) -> Ended:
    """Run a job with our streams for its own, until it ends.

    It has a terminal when we have one on both ends and neither is replaced.

    Args:
        stdin: a descriptor to read from instead of our standard input.
        stdout: a descriptor to write to instead of our standard output.
        taken: counts what is read for the job.
        given: counts what it printed.

    Raises:
        Failure: it could not be started, or the connection broke.
        BrokenPipeError: nobody reads our output any more.
    """
    from .attach import Attachment, raw_terminal, window

    ours = stdin is None and stdout is None
    if stdin is None and sys.stdin:
        stdin = sys.stdin.fileno()
    terminal = stdin if ours and stdin is not None and os.isatty(stdin) and os.isatty(_STDOUT) else None
    if terminal is not None:
        rows, columns = window(terminal)
        size = {"COLUMNS": str(columns), "LINES": str(rows), "TERM": environ.get("TERM", "")}
        env = {**job.get("env", {}), **size}
        job = {**job, "tty": True, "tty_columns": columns, "tty_lines": rows, "env": env}
    with client.open("POST", f"/apps/{part(app)}/jobs", job, headers=_UPGRADE, upgrade=True) as answer:
        wire, early = answer.take_over()
        with nullcontext() if terminal is None else raw_terminal(terminal):
            attachment = Attachment(
                wire,
                early,
                stdin=stdin,
                stdout=_STDOUT if stdout is None else stdout,
                terminal=terminal,
                taken=taken,
                given=given,
            )
            status = attachment.run()
    return Ended(0 if attachment.interrupted else status % 256, attachment.interrupted)
