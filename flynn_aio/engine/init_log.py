"""The engine's own lines in a job's log: stream `init`, in a file beside the job's output.

The format is conmon's (`k8s-file`), so that one reader serves both files. Only this module writes
them; `jobs.md` §8 has the text.
"""

import os
from pathlib import Path

from ..model import Time
from .protocol import JobStatus
from .spec import INIT_SUFFIX, log_file_name

OOM_TEXT = "FATAL: a container process was killed due to lack of available memory"
INIT_STREAM = "init"


def log_record(moment: Time, stream: str, text: bytes, *, whole: bool = True) -> bytes:
    """Return one record as conmon writes it: ``<RFC 3339, nanoseconds> <stream> F|P <text>``.

    Args:
        whole: whether the text ends a line; a record that does not is continued by the next.
    """
    stamp = moment.replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{stamp}000+00:00 {stream} {'F' if whole else 'P'} ".encode() + text + b"\n"


def init_log_path(log_dir: Path, job: JobStatus) -> Path:
    """Return where the engine's lines on a job lie; the file is there once there is one."""
    return log_dir / (log_file_name(job.app, job.id, job.type) + INIT_SUFFIX)


def write_oom_line(log_dir: Path, job: JobStatus, moment: Time) -> None:
    """Tell the readers of a job's log that memory ran out. Blocks for one small write.

    One `write` on a file opened for appending: a reader never sees half a record.
    """
    descriptor = os.open(init_log_path(log_dir, job), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, log_record(moment, INIT_STREAM, OOM_TEXT.encode()))
    finally:
        os.close(descriptor)
