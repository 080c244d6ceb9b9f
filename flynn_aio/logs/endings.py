"""Endings: which unfinished lines are whole because their job has ended.

Source: `logs.md` §1: a final unterminated line is a message.
"""

from collections.abc import Iterable

from .line import Origin
from .live import LiveJobs
from .tail import Tail


class Endings:
    """One reader's view of which jobs have ended. It never waits: its reader is rung when there is a better answer."""

    def __init__(self, live: LiveJobs) -> None:
        self._live = live
        self._running_at: dict[str, int] = {}  # file -> version of the live jobs its job was last among

    def unfinished(self, tails: Iterable[Tail]) -> set[Tail]:
        """Return those with an unfinished line whose job has ended."""
        version = self._live.version
        undecided = {tail for tail in tails if tail.decoder.has_pending and self._running_at.get(tail.name) != version}
        live = self._live.known() if undecided else None
        if live is None:
            return set()
        self._running_at |= {tail.name: version for tail in undecided if tail.origin.job in live}
        return {tail for tail in undecided if tail.origin.job not in live}

    def have_ended(self, origins: Iterable[Origin]) -> set[Origin]:
        """Return those whose job is known to have ended."""
        asked = set(origins)
        live = self._live.known() if asked else None
        return set() if live is None else {origin for origin in asked if origin.job not in live}

    def forget(self, name: str) -> None:
        """Its reader looks at a file no more."""
        self._running_at.pop(name, None)
