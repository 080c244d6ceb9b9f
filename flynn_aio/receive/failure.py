"""What a pusher reads when the push is refused: the phase, the cause, what still serves, the next step."""

from collections.abc import Sequence

from ..errors import FlynnError


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
