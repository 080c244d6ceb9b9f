"""Scratch: where it lies, how much there is, and when somebody looks."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from flynn_aio.engine.scratch import (
    ALARM_BYTES,
    ALARM_FILES,
    FILE_BYTES,
    MEASURE_EVERY_S,
    Room,
    room_at,
    upper_directories,
    usage,
    watch_scratch,
)
from flynn_aio.settings import MIB

MOUNTS = r"""
158 81 0:46 / / rw,relatime - overlay overlay rw,lowerdir=/s/l/A:/s/l/B,upperdir=/s/overlay/x/diff,workdir=/s/w
159 158 0:67 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
164 158 0:70 / /app rw,relatime - overlay /s/merge rw,lowerdir=/d/slugs/s1,upperdir=/s/a\040b/upper,workdir=/s/w2
165 158 254:0 /hosts /etc/hosts rw,relatime - ext4 /dev/vda rw,upperdir=/no
166 158 0:71 / /x rw,relatime - overlay overlay rw,lowerdir=l/A,upperdir=x/diff,workdir=x/work
"""


def test_what_is_written_lies_in_the_upper_directories_of_overlays():
    assert upper_directories(MOUNTS) == [Path("/s/overlay/x/diff"), Path("/s/a b/upper")]
    assert upper_directories("") == []


def test_files_count_for_what_they_take_on_the_disk_and_for_a_block_at_least(tmp_path):
    for number in range(10):
        (tmp_path / f"empty-{number}").touch()
    assert usage([tmp_path], at_most=MIB) == 10 * FILE_BYTES
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper/big").write_bytes(os.urandom(MIB))
    os.link(tmp_path / "deeper/big", tmp_path / "again")
    (tmp_path / "to-all").symlink_to("/")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 40)
    assert MIB <= usage([tmp_path, tmp_path / "gone"], at_most=1 << 50) <= MIB + 20 * FILE_BYTES


def test_counting_ends_where_it_is_too_much(tmp_path):
    for number in range(10):
        (tmp_path / f"empty-{number}").touch()
    assert usage([tmp_path], at_most=3 * FILE_BYTES) == 4 * FILE_BYTES


def test_nothing_hides_in_depth(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    assert usage([tmp_path], at_most=1 << 50) > 1 << 50


@dataclass
class Job:
    """Stands for a container."""

    scratch: tuple[Path, ...]
    temp_disk_bytes: int
    ended: trio.Event = field(default_factory=trio.Event)


@dataclass
class Jobs:
    """Stands for the watcher."""

    jobs: list[Job]

    def __iter__(self):
        return iter(self.jobs)

    def end_for_disk(self, job):
        job.ended.set()


@dataclass
class Disk:
    room: Room | None = field(default_factory=lambda: Room(10**12, 10**6))

    def look(self, directory):
        return self.room


@pytest.mark.parametrize(
    "filled",
    [Room(10**12 - ALARM_BYTES, 10**6), Room(10**12, 10**6 - ALARM_FILES), None],
    ids=["bytes", "files", "gone"],
)
async def test_a_disk_that_fills_is_looked_at_at_once_and_else_every_minute(autojump_clock, nursery, tmp_path, filled):
    autojump_clock.autojump_threshold = 0.02  # time passes for threads, too
    for name in ("small", "large", "free"):
        (tmp_path / name).mkdir()
    small, large = Job((tmp_path / "small",), MIB), Job((tmp_path / "large",), MIB)
    free = Job((tmp_path / "free",), 0)
    disk = Disk()
    nursery.start_soon(lambda: watch_scratch(Jobs([small, large, free]), room=disk.look))
    await trio.sleep(5)
    for job in (large, free):
        (job.scratch[0] / "file").write_bytes(os.urandom(2 * MIB))
    began = trio.current_time()
    disk.room = Room(10**12 + 10 * ALARM_BYTES, 10**6)  # somebody else makes room
    await trio.sleep(2)
    assert not large.ended.is_set()
    disk.room = filled
    with trio.fail_after(3):
        await large.ended.wait()
    (small.scratch[0] / "file").write_bytes(os.urandom(2 * MIB))
    disk.room = Room(10**12, 10**6)
    await small.ended.wait()
    assert trio.current_time() - began <= MEASURE_EVERY_S + 10
    assert not free.ended.is_set()


def test_the_room_on_a_disk(tmp_path):
    room = room_at(tmp_path)
    assert room is not None
    assert room.bytes > 0
    assert room_at(tmp_path / "gone") is None
