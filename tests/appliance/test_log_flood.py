"""An app that prints without end, on real Podman: others are served and read as before, and the disk does not fill."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from flynn_aio.engine import shut_down
from flynn_aio.logs import store
from flynn_aio.receive import Stack
from flynn_aio.settings import MIB

from ..support.images import ensure_test_image
from .inside import inside, load_settings
from .person import until
from .traces import pid_of

pytestmark = pytest.mark.podman

LINE = "this is one of very many lines that nobody is going to read"
QUIET = 'cd $(mktemp -d) && echo quiet > index.html && echo "I listen" && exec httpd -f -p $PORT'
UPKEEP_S = 0.5
APP_BYTES, FILE_BYTES = 6 * MIB, 8 * MIB
FILES_PER_JOB = 4
"""Of one job that floods, until the next upkeep: the present file, what was before it, and what is held of either."""
ROUNDS = 30
ANSWERED_S = 2.0


@pytest.fixture
async def settings(monkeypatch):
    """An appliance of this test's own whose apps may keep little, and at the end an end to all of it."""

    async def ensure(*_) -> None:
        """No stack: nothing is pushed here."""

    monkeypatch.setattr(Stack, "ensure", ensure)
    monkeypatch.setattr(store, "UPKEEP_S", UPKEEP_S)
    place = Path(tempfile.mkdtemp(prefix="flynn-aio-test-"))
    found = load_settings(place / "data", "100.112.1.0/26")
    try:
        yield replace(
            found,
            engine=replace(found.engine, log_file_bytes=FILE_BYTES),
            logs=replace(found.logs, app_bytes=APP_BYTES),
        )
    finally:
        with trio.CancelScope(shield=True):
            await shut_down(found.engine, kill_s=0)
            shutil.rmtree(place)


async def test_a_flood_of_one_app_leaves_the_others_answers_and_logs_and_the_disk_alone(settings):
    async with inside(settings, ensure_test_image()) as one:
        quiet = await one.create("quiet", script=QUIET)
        await one.scale(quiet, 1, "quiet")
        await one.wait_up(1, "quiet")
        loud = await one.create("loud", script=f"exec yes {LINE}", ports=[], service="")
        await one.scale(loud, 1, "loud")
        [flooding] = await one.wait_up(1, "loud")

        written, longest = 0, 0.0
        for _ in range(ROUNDS):
            began = trio.current_time()
            answer = await one.ask("quiet")
            assert (answer.status, answer.body) == (200, b"quiet\n")
            lines = (await one.api.get("/apps/quiet/log?lines=100")).body.decode()
            assert "I listen" in lines
            longest = max(longest, trio.current_time() - began)
            written = max(written, on_disk(settings.logs.dir))
            await trio.sleep(0.1)
        printed = printed_by(await pid_of(settings, flooding))
        print(f"{printed / MIB:.0f} MiB printed, {written / MIB:.0f} on disk at most, {longest:.3f} s for both at most")
        assert longest < ANSWERED_S
        assert written <= FILES_PER_JOB * FILE_BYTES + MIB
        assert printed > 2 * FILES_PER_JOB * FILE_BYTES, "it was no flood"

        said = (await one.api.get("/apps/loud/log?lines=10")).body.decode()
        assert said.count(LINE) == 10
        await one.call("DELETE", f"/apps/loud/jobs/{flooding}")
        await one.scale(loud, 0, "loud")
        await until(lambda: gone(one))
        await until(lambda: within_bounds(settings.logs.dir))


async def gone(one) -> bool:
    return not await one.jobs("loud")


async def within_bounds(directory: Path) -> bool:
    return on_disk(directory) <= APP_BYTES + MIB


def printed_by(pid: int) -> int:
    """Return how many bytes a process has written so far."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"])


def on_disk(directory: Path) -> int:
    """Return how many bytes the files of a directory hold; holes do not count, nor does a second name."""
    found = {}
    for path in directory.iterdir():
        try:
            stat = path.stat()
        except FileNotFoundError:  # taken away meanwhile
            continue
        found[stat.st_ino] = stat.st_blocks * 512
    return sum(found.values())
