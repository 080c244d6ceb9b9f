"""Processes: pidfds, signals a pid 1 would drop, and memory events."""

import os
import signal
import sys

import pytest
import trio

from flynn_aio.engine.processes import WatchedProcess, _memory_events, identity_of, would_ignore_as_init

SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(100)"]
CATCH = [
    sys.executable,
    "-c",
    "from signal import *; import time; signal(15, print); signal(1, SIG_IGN); print(flush=True); time.sleep(100)",
]


@pytest.fixture
async def sleeper(nursery):
    return await start(nursery, SLEEP)


async def start(nursery, command):
    process = await nursery.start(_run, command)
    assert await process.stdout.receive_some() == b"\n"
    return process


async def _run(command, task_status):
    process = await trio.lowlevel.open_process(command, stdout=-1)
    task_status.started(process)
    try:
        await process.wait()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def test_the_end_of_a_process_is_seen(sleeper):
    watched = WatchedProcess(sleeper.pid, "time.sleep")
    assert not watched.has_ended
    assert watched.send_signal(signal.SIGKILL)
    with trio.fail_after(5):
        await watched.wait_ended()
    assert watched.has_ended
    watched.close()
    assert not watched.send_signal(signal.SIGKILL)


async def test_a_stranger_with_the_same_pid_counts_as_ended(sleeper):
    watched = WatchedProcess(sleeper.pid, "something else")
    assert watched.has_ended
    await watched.wait_ended()
    assert not watched.send_signal(signal.SIGKILL)


async def test_an_identity_stays_through_an_exec_and_ends_with_the_process(nursery):
    process = await start(nursery, ["sh", "-c", "echo; read x; exec sleep 100"])
    first, other = identity_of(process.pid), identity_of(os.getpid())
    assert first
    assert first != other
    assert identity_of(process.pid) == first
    process.kill()
    await process.wait()
    assert identity_of(process.pid) == ""


async def test_no_pid_is_no_process():
    assert WatchedProcess(0, "").has_ended
    assert WatchedProcess(2**22 - 1, "").has_ended


async def test_a_signal_without_a_handler_would_be_dropped_by_a_pid_1(nursery, sleeper):
    assert would_ignore_as_init(sleeper.pid, signal.SIGTERM)
    assert not would_ignore_as_init(sleeper.pid, signal.SIGINT)  # Python has a handler
    assert not would_ignore_as_init(sleeper.pid, signal.SIGKILL)
    assert not would_ignore_as_init(sleeper.pid, signal.SIGWINCH)
    catcher = await start(nursery, CATCH)
    assert not would_ignore_as_init(catcher.pid, signal.SIGTERM)
    assert not would_ignore_as_init(catcher.pid, signal.SIGHUP)  # it said so itself
    assert would_ignore_as_init(catcher.pid, signal.SIGUSR1)
    nursery.cancel_scope.cancel()


def test_where_memory_events_are():
    v1 = "9:name=systemd:/x\n4:memory:/libpod_parent/libpod-1\n0::/libpod_parent/libpod-1\n"
    assert str(_memory_events(v1)) == "/sys/fs/cgroup/memory/libpod_parent/libpod-1/memory.oom_control"
    assert str(_memory_events("0::/machine.slice/libpod-1.scope\n")) == (
        "/sys/fs/cgroup/machine.slice/libpod-1.scope/memory.events"
    )
    assert _memory_events("") is None


async def test_descriptors_are_given_back(sleeper):
    before = len(os.listdir("/proc/self/fd"))
    WatchedProcess(sleeper.pid, "time.sleep").close()
    WatchedProcess(sleeper.pid, "another")
    assert len(os.listdir("/proc/self/fd")) == before
