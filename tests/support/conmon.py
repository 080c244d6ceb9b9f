"""conmon's end of log files, for tests without containers."""

import os
from pathlib import Path

from flynn_aio.engine import log_file_name
from flynn_aio.model import AppID, JobID, Time

APP, OTHER = AppID("00000000-0000-4000-8000-00000000000a"), AppID("00000000-0000-4000-8000-00000000000b")


def job_id(number: int) -> JobID:
    return JobID(f"00000000-0000-4000-8000-{number:012}")


class Writer:
    """conmon's end of a job's log file."""

    def __init__(self, directory: Path, number: int = 1, type: str = "web", app: AppID = APP, suffix: str = "") -> None:
        directory.mkdir(exist_ok=True)
        self.path = directory / (log_file_name(app, job_id(number), type) + suffix)
        self._file = self.path.open("ab", buffering=0)

    def record(self, text: bytes, *, flag: str = "F", stream: str = "stdout") -> bytes:
        stamp = Time.utcnow().replace(tzinfo=None).isoformat(timespec="microseconds")
        return f"{stamp}000+00:00 {stream} {flag} ".encode() + text + b"\n"

    def print(self, *lines: str, stream: str = "stdout") -> None:
        for line in lines:
            self._file.write(self.record(line.encode(), stream=stream))

    def begin(self, text: str, stream: str = "stdout") -> None:
        """Print without a newline."""
        self._file.write(self.record(text.encode(), flag="P", stream=stream))

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def rotate(self) -> None:
        """Begin a new file in the place of the present one, as conmon does at its size limit."""
        self._file.close()
        new = self.path.with_name(self.path.name + ".tmp")
        self._file = new.open("ab", buffering=0)
        os.rename(new, self.path)

    def close(self) -> None:
        self._file.close()
