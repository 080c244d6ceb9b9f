"""How a process type is looked after: its health checks, and how it is stopped. Pure.

What cannot work is refused when the release is made, since afterwards it shows only as a job that is never up.

Source: `discovery.md` §4, `jobs.md` §6, §11.
"""

import re
from signal import SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU

from ...errors import ValidationError
from ...model import CheckType, HealthCheck, ProcessType, signal_number

MATCH_BYTES_MAX = 5120
"""What lies behind is never looked at."""
SHORTEST_NS = 1_000_000
"""Nobody means less than a millisecond; whoever writes 5 means seconds."""
THRESHOLD_MAX = 1000
HOST_MAX = 253
STOP_TIMEOUT_MAX = 3600

_PATH = re.compile(r"[!-~]*", re.ASCII)
_HOST = re.compile(r"[\w-]+(\.[\w-]+)*\.?(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", re.ASCII)
_FREEZING = frozenset({SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU})


def check_supervision(process: ProcessType, *, field: str) -> None:
    """Check the fields of a process type by which it is watched and stopped.

    Args:
        field: where it is, as errors name it.

    Raises:
        ValidationError: one of them can mean nothing.
    """
    for index, port in enumerate(process.ports):
        if port.service and port.service.check:
            _check_health(port.service.check, field=f"{field}.ports.{index}.service.check")
    if process.stop_signal:
        number = signal_number(process.stop_signal)
        if number is None or number in _FREEZING:
            raise ValidationError(
                f"must be a signal that can end a process, such as SIGINT, not {process.stop_signal!r}",
                field=f"{field}.stop_signal",
            )
    if not 0 <= process.stop_timeout <= STOP_TIMEOUT_MAX:
        raise ValidationError(
            f"must be 0 to {STOP_TIMEOUT_MAX} seconds, not {process.stop_timeout}", field=f"{field}.stop_timeout"
        )


def _check_health(check: HealthCheck, *, field: str) -> None:
    if check.type and check.type not in set(CheckType):
        raise ValidationError(f"must be {_in_words(CheckType)}, not {check.type!r}", field=f"{field}.type")
    for name, duration in (("interval", check.interval), ("start_timeout", check.start_timeout)):
        if duration < 0 or 0 < duration < SHORTEST_NS:
            raise ValidationError(
                f"must be 0 or a number of nanoseconds from {SHORTEST_NS} on, not {duration}; 5 s are 5000000000",
                field=f"{field}.{name}",
            )
    if not 0 <= check.threshold <= THRESHOLD_MAX:
        raise ValidationError(f"must be 0 to {THRESHOLD_MAX}, not {check.threshold}", field=f"{field}.threshold")
    if check.status and not 200 <= check.status <= 599:
        raise ValidationError(f"must be an HTTP status from 200 to 599, not {check.status}", field=f"{field}.status")
    if not _PATH.fullmatch(check.path) or "://" in check.path.partition("?")[0]:
        raise ValidationError(
            f"must be a path such as /health, percent-encoded, not {check.path!r}", field=f"{field}.path"
        )
    if check.host and (not _HOST.fullmatch(check.host) or len(check.host) > HOST_MAX):
        raise ValidationError(f"must be a host name, not {check.host!r}", field=f"{field}.host")
    if len(check.match.encode()) > MATCH_BYTES_MAX:
        raise ValidationError(
            f"must not be longer than {MATCH_BYTES_MAX} bytes: no more of a body is looked at", field=f"{field}.match"
        )


def _in_words(kinds: type[CheckType]) -> str:
    *most, last = kinds
    return f"{', '.join(most)} or {last}"
