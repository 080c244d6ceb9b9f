"""The engine's own lines in a job's log: stream `init`, in a file beside the job's output.

The format is conmon's (`k8s-file`), so that one reader serves both files. Only this module writes
them; `jobs.md` §8 has the text.
"""

import os
from pathlib import Path

from ..model import AppID, JobID, Time
from ..settings import MIB
from .protocol import JobStatus
from .spec import INIT_SUFFIX, log_file_name

OOM_TEXT = "FATAL: a container process was killed due to lack of available memory"
INIT_STREAM = "init"
LINE_CHARS = 1000
"""What is repeated in a line of ours, the words of an engine or an app, may be longer than anybody reads."""


def disk_text(limit_bytes: int) -> str:
    """Return what is said of a job that was ended because it wrote more than its `temp_disk`."""
    return f"FATAL: the job wrote more than its temp_disk limit of {limit_bytes / MIB:.4g}MB outside of volumes"


def log_record(moment: Time, stream: str, text: bytes, *, whole: bool = True) -> bytes:
    """Return one record as conmon writes it: ``<RFC 3339, nanoseconds> <stream> F|P <text>``.

    Args:
        whole: whether the text ends a line; a record that does not is continued by the next.
    """
    stamp = moment.replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{stamp}000+00:00 {stream} {'F' if whole else 'P'} ".encode() + text + b"\n"


def init_log_path(log_dir: Path, job: JobStatus) -> Path:
    """Return where the engine's lines on a job lie; the file is there once there is one."""
    return _path(log_dir, job.app, job.id, job.type)


def tell_readers(log_dir: Path, job: JobStatus, moment: Time, text: str) -> None:
    """Tell the readers of a job's log what the engine saw. Blocks for one small write."""
    write_init_line(log_dir, job.app, job.id, job.type, text=text, moment=moment)


def tells_of_oom(log_dir: Path, job: JobStatus) -> bool:
    """Return whether readers of a job's log were told that its memory ran out. Blocks for one small read."""
    try:
        return OOM_TEXT in init_log_path(log_dir, job).read_text(errors="replace")
    except OSError:
        return False


def write_init_line(log_dir: Path, app: AppID, job: JobID, type: str, *, text: str, moment: Time) -> None:
    """Put a line of ours among those of a job. Blocks for one small write.

    One `write` on a file opened for appending: a reader never sees half a record.

    Args:
        type: the job's process type.
    """
    path = _path(log_dir, app, job, type)
    line = " ".join(text.split())[:LINE_CHARS].encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, log_record(moment, INIT_STREAM, line))
    finally:
        os.close(descriptor)


def _path(log_dir: Path, app: AppID, job: JobID, type: str) -> Path:
    return log_dir / (log_file_name(app, job, type) + INIT_SUFFIX)
