"""Syslog: lines -> RFC 5424 messages, framed. Pure.

Source: `logs.md` §6, §7; RFC 5424 §6; RFC 6587 §3.4; Flynn `host/logmux/sink.go`, `SyslogSink.Write`.
"""

import re
from collections.abc import Mapping, Sequence

from ..model import HOST_ID, JobFacts, SyslogConfig, SyslogFormat, full_job_id
from .line import Origin
from .record import Line

PRIORITY = 23 * 8 + 6
"""Facility local7, severity info."""
MESSAGE_IDS = {"stdout": "ID1", "stderr": "ID2", "init": "ID3"}
MAX_PROCID = 128

_NO_NAME = re.compile(r"[^!-~]")


class SyslogEncoder:
    """Turns lines into the bytes a syslog server is sent. Numbers them, where the sink wants that."""

    def __init__(self, config: SyslogConfig) -> None:
        self._config = config
        self._number = 0

    def encode(self, lines: Sequence[tuple[Line, Origin]], facts: Mapping[Origin, JobFacts]) -> bytes:
        """Return messages for lines, in their order.

        Args:
            facts: of every origin among them.
        """
        prefixes = {origin: self._config.template.fill(job).encode() for origin, job in facts.items()}
        names = {origin: self._names(origin, job) for origin, job in facts.items()}
        return b"".join(self._framed(line, names[origin], prefixes[origin]) for line, origin in lines)

    def _names(self, origin: Origin, job: JobFacts) -> str:
        """Return HOSTNAME, APP-NAME and PROCID."""
        app = origin.app if self._config.use_ids else job.app_name
        job_id = full_job_id(origin.job)
        kind = origin.type[: MAX_PROCID - len(job_id) - 1]
        procid = f"{kind}.{job_id}" if kind else job_id
        return " ".join(_NO_NAME.sub("_", name) or "-" for name in (HOST_ID, app, procid))

    def _framed(self, line: Line, names: str, prefix: bytes) -> bytes:
        self._number += 1
        data = f'[flynn seq="{self._number}"]' if self._config.structured_data else "-"
        head = f"<{PRIORITY}>1 {line.time[:26]}Z {names} {MESSAGE_IDS.get(line.stream, '-')} {data}".encode()
        before_all = self._config.format is SyslogFormat.PREFIXED_NEWLINE
        text = prefix + b" " + line.text if prefix and not before_all else line.text
        message = head + b" " + text if text else head
        match self._config.format:
            case SyslogFormat.RFC6587:
                return b"%d %s" % (len(message), message)
            case SyslogFormat.NEWLINE:
                return message + b"\n"
            case SyslogFormat.PREFIXED_NEWLINE:
                return (prefix + b" " if prefix else b"") + message + b"\n"
