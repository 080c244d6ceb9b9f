"""Sweep: telling our leftovers from everybody else's. The putting away is in test_podman.py."""

from flynn_aio.engine.sweep import _LOCAL_ADDRESS, Keeper, _as_keeper

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
