"""Messages: a line with all a reader wants to know about it. Pure.

Source: `logs.md` §3; Flynn `logaggregator/client`, `Message`.
"""

from msgspec import Struct

from ..model import HOST_ID, AppID, JobID, full_job_id
from .record import Line

SOURCE = "app"
INIT = "init"


class LogMessage(Struct, frozen=True, omit_defaults=True):
    """A line as the API shows it; empty fields are omitted.

    Attributes:
        process_type: empty for a one-off job.
        stream: `stdout`, `stderr` or `init`.
        timestamp: RFC 3339 in UTC with up to nine digits, zeros at the end trimmed as Go does.
    """

    host_id: str = ""
    job_id: str = ""
    msg: str = ""
    process_type: str = ""
    source: str = ""
    stream: str = ""
    timestamp: str = ""


class Origin(Struct, frozen=True, order=True):
    """Where lines come from: the output of one job, or what the engine says about it (`is_init`)."""

    app: AppID
    job: JobID
    type: str
    is_init: bool = False


def message(line: Line, origin: Origin) -> LogMessage:
    """Return a line with where it came from. Bytes that are no UTF-8 are replaced."""
    return LogMessage(
        host_id=HOST_ID,
        job_id=full_job_id(origin.job),
        msg=line.text.decode("utf-8", "replace"),
        process_type=origin.type,
        source=SOURCE,
        stream=line.stream,
        timestamp=_timestamp(line.time),
    )


def _timestamp(time: str) -> str:
    second, _, fraction = time.partition(".")
    fraction = fraction.rstrip("0")
    return f"{second}.{fraction}Z" if fraction else f"{second}Z"
