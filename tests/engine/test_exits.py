"""Exits: exit files as conmon writes them, and the kernel's words on memory."""

import os
from importlib import import_module

import pytest
import trio

from flynn_aio.engine.exits import _OOM_KILL, ExitFiles, watch_oom
from flynn_aio.errors import EngineError

CONTAINER = "1aaf1e541ccc81ae86250a76c8fff4c90c050444538fb55968944fd25da7c0dd"


def conmon_writes(directory, container: str, code: int) -> None:
    (directory / f"{container}.tmp").write_text(str(code))
    os.rename(directory / f"{container}.tmp", directory / container)


@pytest.fixture
async def exits(tmp_path, nursery):
    files = ExitFiles(tmp_path)
    nursery.start_soon(files.run)
    yield files
    nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    files.close()


async def test_a_code_is_told_when_it_comes(exits, tmp_path, nursery):
    exits.expect("c1")
    conmon_writes(tmp_path, "other", 1)
    conmon_writes(tmp_path, "c1", 42)
    with trio.fail_after(5):
        assert await exits.code("c1") == 42


async def test_a_code_that_came_before_is_told_at_once(exits, tmp_path):
    conmon_writes(tmp_path, "c1", 137)
    exits.expect("c1")
    with trio.fail_after(5):
        assert await exits.code("c1") == 137


async def test_a_file_that_is_gone_already_is_none_and_not_a_wait(exits, tmp_path):
    exits.expect("c1")
    conmon_writes(tmp_path, "c1", 0)
    (tmp_path / "c1").unlink()
    with trio.fail_after(5):
        assert await exits.code("c1") is None


async def test_a_directory_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(EngineError, match="cannot watch .*missing"):
        ExitFiles(tmp_path / "missing")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=libpod-0,mems_allowed=0,"
            f"oom_memcg=/libpod_parent/libpod-{CONTAINER},task_memcg=/libpod_parent/libpod-{CONTAINER},task=sh,pid=7,uid=0",
            CONTAINER,
        ),
        (
            "6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
            f"task_memcg=/machine.slice/libpod-{CONTAINER}.scope,task=python,pid=7,uid=5000",
            CONTAINER,
        ),
        ("6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/user.slice,task=sh,pid=7,uid=0", None),
        ("6,1,2,-;eth0: link is up", None),
    ],
)
def test_the_kernels_log_names_the_container(record, expected):
    found = _OOM_KILL.search(record.encode())
    assert (found[1].decode() if found else None) == expected


async def test_a_kernel_log_that_cannot_be_waited_for_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "kmsg").touch()  # in a container it may be /dev/null: neither can be polled
    monkeypatch.setattr(import_module(watch_oom.__module__), "KERNEL_LOG", tmp_path / "kmsg")
    with trio.fail_after(5):
        await watch_oom(pytest.fail)
