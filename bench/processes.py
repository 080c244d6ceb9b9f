"""What the kernel knows of a process: how long it took, how much it holds, how much it worked."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Took:
    """One run of a command. `cpu_s` is its own work and that of its children: what a busy machine does not stretch."""

    wall_s: float
    cpu_s: float


def timed(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None) -> Took:
    """Run a command to its end, unheard, and return what it took.

    Raises:
        CalledProcessError: it failed; its output is in the error.
    """
    words = [str(word) for word in command]
    started = time.perf_counter()
    # Into a pipe that is read after the end: what is timed prints less than a pipe holds.
    process = subprocess.Popen(
        words, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words, said)
    return Took(wall_s, usage.ru_utime + usage.ru_stime)


def cpu_s(pid: int) -> float:
    """Return how long a process has worked so far, the children it has collected included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) * TICK_S  # utime, stime, cutime, cstime; proc(5)


def resident_mb(pid: int) -> float:
    """Return a process's resident memory, shared pages included."""
    return _rollup_kb(pid, "Rss:") * 1024 / 1e6


def private_mb(pid: int) -> float:
    """Return what would be free again if the process ended."""
    return sum(_rollup_kb(pid, name) for name in ("Private_Clean:", "Private_Dirty:")) * 1024 / 1e6


def _rollup_kb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0
