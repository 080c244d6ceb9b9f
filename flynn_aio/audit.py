"""The audit log: who asked for what, and what came of it; a line when a request ends, and when a stream begins.

For the API, the image service and git alike; whoever answers requests writes its lines with an `Audit`.

Nothing secret is in a line. Of the target only the path is told, since a query may carry a key.
Bodies are left out altogether: what Flynn does, to redact variables whose names sound secret,
trusts that people name their secrets well. What a request changed is told by the events.

Source: `resources.md` §11; Flynn `pkg/httphelper`, `ContextInjector`, and `controller/audit.go`.
"""

import json
import logging

import trio

from .settings import AUDIT_LOGGER

logger = logging.getLogger(AUDIT_LOGGER)

LONGEST = 256
"""Characters of a path or a user agent: both are the client's words."""

GONE = 499
"""Stands for a status that nobody was there to get, as in other servers' logs."""


class Audit:
    """The lines about one request.

    Args:
        path: as sent, percent-encoded: so it has no blanks or line ends.
        address: the client's, empty when unknown.
        agent: what the client says it is.

    Attributes:
        key: the name of the key it came with, once known.
    """

    def __init__(self, method: str, path: str, *, address: str, agent: str) -> None:
        self._method = method
        self._path = path[:LONGEST]
        self._address = address or "-"
        self._agent = json.dumps(agent[:LONGEST])
        self._began = trio.current_time()
        self.key = ""

    def begun(self, status: int) -> None:
        """Note that an answer without an end in sight begins."""
        self._write("request goes on", status)

    def ended(self, status: int) -> None:
        self._write("request", status)

    def _write(self, phrase: str, status: int) -> None:
        logger.info(
            phrase,
            extra={
                "method": self._method,
                "path": self._path,
                "status": status,
                "ms": round((trio.current_time() - self._began) * 1000),
                "address": self._address,
                "key": self.key or "-",
                "agent": self._agent,
            },
        )
