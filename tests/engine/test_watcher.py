"""Watcher: ends, exit codes and out-of-memory kills, with processes that are no containers."""

import signal
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from flynn_aio.clock import SystemClock
from flynn_aio.engine import OOM_TEXT, JobStatus, RunState
from flynn_aio.engine.containers import Inspected
from flynn_aio.engine.exits import ExitFiles
from flynn_aio.engine.watcher import KEEPER_DIED, Watcher
from flynn_aio.model import AppID, JobID, ReleaseID

from .test_exits import conmon_writes
from .test_processes import start

ID = "c0ffee"
PROGRAM = [sys.executable, "-c", "import time; print(flush=True); time.sleep(100)", ID]
STATUS = JobStatus(
    id=JobID("j1"),
    app=AppID("a1"),
    release=ReleaseID("r1"),
    type="web",
    formation=True,
    state=RunState.RUNNING,
    address="100.100.0.5",
)


class SilentPodman:
    """Stands for `Calls`: it knows one container, or none."""

    def __init__(self) -> None:
        self.state: dict[str, object] | None = None

    async def inspect(self, id: str) -> Inspected | None:
        await trio.lowlevel.checkpoint()
        return msgspec.convert({"Id": id, "State": self.state}, Inspected) if self.state else None


class CountedMemory:
    """Stands for the cgroup's counter."""

    def __init__(self) -> None:
        self.count = 0

    def oom_kills(self) -> int:
        return self.count


@pytest.fixture
async def world(tmp_path: Path, nursery):
    (tmp_path / "exits").mkdir()
    exit_files = ExitFiles(tmp_path / "exits")
    podman = SilentPodman()
    nursery.start_soon(exit_files.run)
    watcher = Watcher(nursery, log_dir=tmp_path, clock=SystemClock(), exit_files=exit_files, calls=podman)
    yield watcher, podman, nursery
    nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    watcher.close()
    exit_files.close()


async def running(world, **changes):
    """Add a container of two processes: the job's and its keeper's."""
    watcher, _, nursery = world
    job, keeper = await start(nursery, PROGRAM), await start(nursery, PROGRAM)
    container = watcher.add(ID, STATUS, is_logged=True, pid=job.pid, keeper_pid=keeper.pid, **changes)
    container.memory = CountedMemory()
    await trio.testing.wait_all_tasks_blocked()
    return container, job, keeper


async def ended(container) -> JobStatus:
    with trio.fail_after(5):
        await container.ended.wait()
    return container.status


async def test_the_exit_file_tells_the_code(world, tmp_path):
    container, job, _ = await running(world)
    job.kill()
    conmon_writes(tmp_path / "exits", ID, 42)
    status = await ended(container)
    assert (status.state, status.exit_code, status.error) == (RunState.EXITED, 42, "")


async def test_podman_tells_the_code_when_the_file_was_missed(world, tmp_path):
    world[1].state = {"Status": "exited", "ExitCode": 7}
    container, job, _ = await running(world)
    conmon_writes(tmp_path / "exits", ID, 7)
    (tmp_path / "exits" / ID).unlink()
    job.kill()
    assert (await ended(container)).exit_code == 7


async def test_sigkill_in_the_place_of_sigterm_reads_as_sigterm(world, tmp_path):
    container, _, _ = await running(world)
    assert container.deliver(signal.SIGTERM)
    conmon_writes(tmp_path / "exits", ID, 137)
    assert (await ended(container)).exit_code == 143


async def test_a_job_without_its_keeper_is_killed_and_its_code_lost(world):
    world[1].state = {"Status": "running"}
    container, _, keeper = await running(world)
    keeper.kill()
    status = await ended(container)
    assert (status.exit_code, status.error) == (-1, KEEPER_DIED)


async def test_a_job_that_ended_while_nobody_looked(world):
    world[1].state = {"Status": "exited", "ExitCode": 3}
    container = world[0].add(ID, STATUS, is_logged=True, pid=0, keeper_pid=0, adopted=True)
    assert (await ended(container)).exit_code == 3


async def test_who_waits_for_a_removed_job_learns_of_it(world):
    container, _, _ = await running(world)
    world[0].drop(STATUS.id)
    assert (await ended(container)).exit_code == 137
    assert list(world[0]) == []


async def written(world) -> None:
    """Wait until nobody writes a line any more: each line is a task of its own."""
    with trio.fail_after(5):
        for _ in iter(lambda: any("_write_init_line" in task.name for task in world[2].child_tasks), False):
            await trio.sleep(0.001)


def lines(tmp_path: Path) -> list[str]:
    path = tmp_path / "a1.j1.web.log.init"
    return [line.split(" ", 1)[1] for line in path.read_text().splitlines()] if path.exists() else []


LINE = f"init F {OOM_TEXT}"


@pytest.mark.parametrize(
    ("news", "expected"),
    [
        (["log"], 1),
        (["count"], 1),
        (["log", "count"], 1),
        (["count", "log"], 1),
        (["log", "count", "log", "count"], 2),
        (["count", "log", "count", "log"], 2),
    ],
)
async def test_each_kill_is_told_once_whichever_source_is_first(world, tmp_path, news, expected):
    container, _, _ = await running(world)
    told = {"log": 0, "count": 0}
    for source in news:
        told[source] += 1
        container.memory.count = max(told.values())
        if source == "log":
            world[0].note_oom(ID)
        else:
            world[0].check_memory(container)
    await written(world)
    assert container.status.oom
    assert lines(tmp_path) == [LINE] * expected


async def test_an_adopted_job_is_not_told_of_again(world, tmp_path):
    (tmp_path / "a1.j1.web.log.init").write_text(f"2026-11-23T18:25:29.000000000+00:00 {LINE}\n")
    container, _, _ = await running(world, adopted=True)
    assert container.status.oom
    world[0].check_memory(container)
    await written(world)
    assert lines(tmp_path) == [LINE]


async def test_another_line_of_ours_is_no_out_of_memory_kill(world, tmp_path):
    (tmp_path / "a1.j1.web.log.init").write_text("2026-11-23T18:25:29.000000000+00:00 init F flapping: job j1\n")
    container, _, _ = await running(world, adopted=True)
    assert not container.status.oom
