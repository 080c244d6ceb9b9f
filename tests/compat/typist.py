"""A process that has `flynn` loaded and runs many of its commands, each in a fork, which saves loading it each time.

Reads a line of JSON per command (`words`, `stdin`, and, for one that is to be stopped, `until` and `signal`) and
answers with one: `exit`, `stdout`, `stderr`.
"""

import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import flynn_aio.cli
from flynn_aio.cli.main import main

GIVE_UP_S = 40


def run(command: dict[str, Any], place: Path) -> dict[str, Any]:
    for name, text in command.get("files", {}).items():
        Path(name).write_text(text)
    files = {name: place / name for name in ("stdin", "stdout", "stderr")}
    files["stdin"].write_text(command.get("stdin", ""))
    for name in ("stdout", "stderr"):
        files[name].unlink(missing_ok=True)  # or the last command's would be taken for this one's
    child = os.fork()
    if child == 0:
        _become(command["words"], files)
    if "until" in command:
        _wait_for(files["stdout"], command["until"])
        os.kill(child, command["signal"])
    return {
        "exit": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
        "stdout": files["stdout"].read_text(),
        "stderr": files["stderr"].read_text(),
    }


def _become(words: list[str], files: dict[str, Path]) -> None:
    """Be `flynn`, or another program, with these three files, and end."""
    code = 1
    try:
        signal.alarm(GIVE_UP_S)
        for number, name in enumerate(files):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(files[name], flags, 0o600), number)
        if words[0] != "flynn":
            os.execvp(words[0], words)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
        code = main(words[1:])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _wait_for(file: Path, text: str) -> None:
    deadline = time.monotonic() + GIVE_UP_S
    while not (file.exists() and text in file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)


if __name__ == "__main__":
    for module in pkgutil.iter_modules(flynn_aio.cli.__path__):
        importlib.import_module(f"flynn_aio.cli.{module.name}")
    with tempfile.TemporaryDirectory() as place:
        for line in sys.stdin:
            print(json.dumps(run(json.loads(line), Path(place))), flush=True)
