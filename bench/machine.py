"""Where and when a run took place: figures mean little without."""

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("trio", "hypercorn", "h2", "msgspec")


def describe() -> dict[str, Any]:
    """Return what a reader needs to judge a run: machine, versions, the moment, and how busy it was at the start."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "podman": _said("podman", "version", "--format", "{{.Client.Version}}"),
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: version(name) for name in LIBRARIES},
        "flynn-aio": version("flynn-aio"),
        "commit": _said("git", "describe", "--always", "--dirty"),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def summary(machine: dict[str, Any]) -> str:
    """Return the same in two lines."""
    return (
        f"{machine['date']}, commit {machine['commit']}, load at the start {machine['load'][0]}\n"
        f"{machine['cores']} x {machine['cpu']}, Linux {machine['kernel']}, "
        f"Python {machine['python']}, Podman {machine['podman']}"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip()
