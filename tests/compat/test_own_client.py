"""Our own `flynn` prints what Flynn's printed, command by command, and exits as it did.

It may say more: what to type next. What else is meant to differ is in `MEANT`.
"""

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from .flow import Bindings, Mismatch, load, table
from .given import furnish
from .replay import FLOWS, SETTLES_WITHIN_S, replaying

MEANT = {
    # "the command is always shown", since a list of jobs without it says little
    "ps": lambda told, out, err: (told, [line.rpartition("  ")[0] for line in out], err),
    # options of ours stand in our usage
    "apps extra": lambda told, out, err: (told, [line.replace(" [--json]", "") for line in out], err),
    # Go's words for a number that is none are no help
    "deployment timeout soon": lambda told, out, err: (
        told | {"stderr": ['error parsing timeout "soon": not a whole number']},
        out,
        err,
    ),
    "log -n nonsense": lambda told, out, err: (told | {"stderr": ['invalid number of lines: "nonsense"']}, out, err),
    # that there is more than one is not so when there is none
    "resource remove queues": lambda told, out, err: (told | {"stderr": ["App has no resource for queues"]}, out, err),
    # what a person has to do next
    "cluster migrate-domain moved.<domain>": lambda told, out, err: (
        told,
        out,
        [line for line in err if not line.startswith("Git remotes still lead to")],
    ),
    # the router of the tests is not at 443, and has TLS where it is
    "info": lambda told, out, err: (
        told | {"stdout": [line.replace("http://", "https://") for line in told.get("stdout", [])]},
        out,
        err,
    ),
    # going back to where one is is no success
    "release rollback -y": lambda told, out, err: (
        told | {"exit": 1, "stderr": ["Release id given is the current release."]}
        if told.get("stderr", [""])[0] == "Rolling back to release <release> from <release>."
        else told,
        out,
        err,
    ),
    # there is no such type of route, so nothing needs to be asked
    "route remove udp/x": lambda told, out, err: (told | {"stderr": ["Route type udp not supported."]}, out, err),
}
"""By the words of a command, without the app: what is expected and compared instead."""

ROOT = Path(__file__).parents[2]


class Person:
    """Somebody with an empty home, who types."""

    def __init__(self, process) -> None:
        self._process = process
        self._buffer = b""

    async def type(self, command):
        await self._process.stdin.send_all(json.dumps(command).encode() + b"\n")
        with trio.fail_after(40):
            while b"\n" not in self._buffer:
                piece = await self._process.stdout.receive_some(65536)
                assert piece, "the typist has died"
                self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)


@asynccontextmanager
async def open_person(home):
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLYNN", "GIT_", "XDG_"))}
    env = kept | {"HOME": str(home), "FLYNNRC": f"{home}/flynnrc", "GIT_CONFIG_NOSYSTEM": "1", "PYTHONPATH": str(ROOT)}
    env["PATH"] = f"{home}/bin:{env['PATH']}"
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.compat.typist"], cwd=home, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Person(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
async def test_our_flynn_prints_what_flynns_did(world, path, tmp_path):
    flow = load(path.read_text())
    home = tmp_path / "home"
    async with replaying(world, flow) as replay, open_person(home) as person:
        words = replay.bindings
        port = f":{world.ready.https_port}"
        await trio.to_thread.run_sync(furnish, home, words.values)
        if "bare" not in flow:
            add = ["flynn", "cluster", "add", "-p", "<pin>", "default", f"<domain>{port}", "<key>"]
            said = await person.type({"words": words.render(add)})
            assert said["exit"] == 0, said
        for step in flow["steps"]:
            line = [f"<domain>{port}" if word == "<domain>" else word for word in step["run"]]
            command = {name: step[name] for name in ("files", "until", "signal") if name in step}
            stdin = step.get("stdin", "").replace("<domain>", f"<domain>{port}")
            command |= words.render({"words": line, "stdin": stdin})
            asks = [exchange["ask"] for exchange in step["exchanges"]]
            again_until = trio.current_time() + (SETTLES_WITHIN_S if all(ask.startswith("GET ") for ask in asks) else 0)
            while (different := difference(step, await person.type(command), words, port)) is not None:
                if trio.current_time() > again_until:
                    raise different
                await trio.sleep(0.05)


def difference(step, said, words, port):
    """Return in what a command that was typed differs from the one that was recorded."""
    for name in ("stdout", "stderr"):
        said[name] = said[name].replace(port, "")
    try:
        compare(step, said, words)
    except Mismatch as different:
        return different
    return None


def compare(step, said, words):
    """Compare what was printed; words met first are bound."""
    told = {"exit": 0, "stdout": [], "stderr": []} | step["prints"]
    out, err = table(said["stdout"]), table(said["stderr"])
    command = " ".join(word for word in step["run"][1:] if word not in ("-a", "hello", "other"))
    if command in MEANT:
        told, out, err = MEANT[command](told, out, err)
    if step.get("unordered"):
        out, err = sorted(out), sorted(err)
    err = [line for line in err if not line.startswith("hint: ")]  # what to type next
    where = f"{' '.join(step['run'])}: {said}"
    words.match(told, {"exit": said["exit"], "stdout": out, "stderr": err}, where)


@pytest.mark.parametrize(
    "said",
    [
        {"exit": 0, "stdout": "", "stderr": "no\n"},
        {"exit": 1, "stdout": "more\n", "stderr": "no\n"},
        {"exit": 1, "stdout": "", "stderr": ""},
        {"exit": 1, "stdout": "", "stderr": "no\nand no\n"},
    ],
)
def test_what_is_printed_otherwise_is_noticed(said):
    step = {"run": ["flynn", "apps"], "prints": {"exit": 1, "stderr": ["no"]}}
    assert difference(step, {"exit": 1, "stdout": "", "stderr": "no\nhint: try\n"}, Bindings(), ":0") is None
    assert isinstance(difference(step, said, Bindings(), ":0"), Mismatch)
