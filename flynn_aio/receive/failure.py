"""What a pusher reads when the push is refused: the phase, the cause, what still serves, the next step."""

from collections.abc import Sequence

from ..errors import FlynnError

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
