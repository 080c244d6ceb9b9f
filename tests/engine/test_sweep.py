"""Sweep: telling our leftovers from everybody else's. The putting away is in test_podman.py."""

import sys

import pytest

from flynn_aio.engine.sweep import _LOCAL_ADDRESS, _OF_PODMAN, Keeper, _as_keeper, find_keepers

from .test_processes import start

PREFIX = "flynn-0123abcd-"


def command(*words: str) -> str:
    return "\0".join(words) + "\0"


def test_a_conmon_with_our_prefix_is_ours():
    line = command("/usr/bin/conmon", "--api-version", "1", "-c", "c1", "-u", "c1", "-n", PREFIX + "job", "--exit-dir")
    assert _as_keeper(7, line, PREFIX) == Keeper(7, "c1")
    assert _as_keeper(7, line, "flynn-ffffffff-") is None


def test_other_processes_are_not():
    assert _as_keeper(7, "", PREFIX) is None
    assert _as_keeper(7, command("grep", "conmon", "-n", PREFIX, "-c", "c1"), PREFIX) is None
    assert _as_keeper(7, command("/usr/bin/conmon", "-n"), PREFIX) is None


def test_addresses_of_a_namespace():
    table = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 100.100.0.0/16 2 0 2
        |-- 100.100.0.5
           /32 host LOCAL
        |-- 100.100.255.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
"""
    assert _LOCAL_ADDRESS.findall(table) == ["100.100.0.5", "127.0.0.1"]


def test_only_namespaces_podman_named_are_podmans():
    assert _OF_PODMAN.fullmatch("netns-0f8fad5b-d9cb-469f-a165-70867728950e")
    assert not _OF_PODMAN.fullmatch("netns-test")


@pytest.mark.podman
async def test_a_process_in_a_container_cannot_pass_for_a_conmon(nursery):
    code = "import time; print(flush=True); time.sleep(100)"
    lie = [sys.executable, "-c", code, "-n", PREFIX + "job"]
    script = "import os, sys; os.execv(sys.argv[1], ['conmon', *sys.argv[2:]])"
    outside = await start(nursery, [sys.executable, "-c", script, *lie])
    await start(nursery, ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", script, *lie])
    assert [keeper.pid for keeper in find_keepers(PREFIX)] == [outside.pid]
    nursery.cancel_scope.cancel()
