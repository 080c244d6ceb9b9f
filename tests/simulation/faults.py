"""Faults: what the world does. Those that last are tasks, which end by themselves or when the world comes to rest."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from datetime import timedelta

import trio

from .history import short
from .machine import Machine
from .world import World

LASTING_S = (0.05, 0.5, 3.0, 15.0, 60.0)
LITTLE_S = 0.01


def crash_job(world: World) -> None:
    if status := _victim(world):
        world.history.note(f"fault: job {short(status.id)} crashes")
        world.machine.engine.crash(status.id, world.dice.choice((0, 1, 7, 139)))


def run_out_of_memory(world: World) -> None:
    if status := _victim(world):
        world.history.note(f"fault: job {short(status.id)} runs out of memory")
        world.machine.engine.run_out_of_memory(status.id, survives=world.dice.random() < 0.3)


def lose_container(world: World) -> None:
    if status := _victim(world):
        world.history.note(f"fault: the container of job {short(status.id)} is removed")
        world.machine.engine.lose(status.id)


def kill_us(world: World) -> None:
    """Let the control plane end at one of the next points it passes, or now, and boot again some time later."""
    world.downtime_s = world.dice.choice((0.0, 0.0, 1.0, 40.0))
    if world.dice.random() < 0.5:
        world.history.note("fault: kill -9")
        world.gate.kill()
    else:
        world.gate.last = len(world.gate.passed) + world.dice.randint(0, 30)
        world.history.note(f"fault: kill -9 at point {world.gate.last}")


def take_everything_down(world: World) -> None:
    """Do what a power cut does: no container is left, and we boot again."""
    world.history.note("fault: a power cut")
    world.downtime_s = 0.5
    world.gate.kill()
    for status in world.machine.engine.listed:
        world.machine.engine.lose(status.id)


def set_the_clock(world: World) -> None:
    seconds = world.dice.choice((-1, 1)) * world.dice.choice((0.5, 20, 4000))
    world.history.note(f"fault: the clock jumps by {seconds} s")
    world.machine.clock.jump(timedelta(seconds=seconds))


def fail_once(world: World) -> None:
    world.history.note("fault: the next start fails")
    world.machine.failing_starts += 1


INSTANT = (
    (crash_job, 8),
    (run_out_of_memory, 2),
    (lose_container, 3),
    (kill_us, 2),
    (take_everything_down, 1),
    (set_the_clock, 2),
    (fail_once, 2),
)
"""With their weights."""


async def engine_outage(world: World) -> None:
    if world.machine.engine.answers:
        with world.hindered(), world.machine.engine.outage():
            await _last(world)


async def slow_engine(world: World) -> None:
    with world.hindered():
        world.machine.slow_s = world.dice.choice((0.2, 1.0, 5.0))
        try:
            await _last(world)
        finally:
            world.machine.slow_s = LITTLE_S


async def slow_disk(world: World) -> None:
    with world.hindered():
        world.machine.slow_disk_s = world.dice.choice((0.2, 1.0))
        try:
            await _last(world)
        finally:
            world.machine.slow_disk_s = LITTLE_S


async def locked_store(world: World) -> None:
    """Let another program hold the database."""
    other = sqlite3.connect(world.machine.path, isolation_level=None, timeout=0)
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:  # another fault has it
        other.close()
        return
    with world.hindered():
        try:
            await _last(world)
        finally:
            other.close()


async def full_disk(world: World) -> None:
    """Let there be no room for another page of the database, nor for another volume."""
    with world.hindered():
        world.machine.engine.disk_is_full = True
        world.machine.most_pages = 1
        try:
            await _last(world)
        finally:
            world.machine.most_pages = None
            world.machine.engine.disk_is_full = False


async def silent(world: World) -> None:
    """Let a job, or all jobs of a release, run and not answer."""
    if status := _victim(world):
        await _afflicted(world, world.machine.silent, world.dice.choice((status.id, status.release)))


async def flapping(world: World) -> None:
    if status := _victim(world):
        for _ in range(world.dice.randint(2, 5)):
            with _member(world.machine.silent, status.id):
                await trio.sleep(world.dice.uniform(1, 9))
            await trio.sleep(world.dice.uniform(0.5, 6))


async def crashing_release(world: World) -> None:
    if status := _victim(world):
        await _afflicted(world, world.machine.crashing, status.release)


async def broken_release(world: World) -> None:
    """Let a release be such that it cannot be started; the newest, so that its deployment meets it."""
    newest = world.db.conn.execute("SELECT id FROM releases ORDER BY seq DESC LIMIT 1").fetchall()
    if newest:
        await _afflicted(world, world.machine.unstartable, newest[0][0])


LASTING: tuple[tuple[Callable[[World], Awaitable[None]], int], ...] = (
    (engine_outage, 3),
    (slow_engine, 2),
    (slow_disk, 2),
    (locked_store, 2),
    (full_disk, 2),
    (silent, 4),
    (flapping, 2),
    (crashing_release, 2),
    (broken_release, 3),
)
"""With their weights."""


def _victim(world: World):
    running = world.machine.running()
    return world.dice.choice(running) if running else None


async def _last(world: World) -> None:
    await trio.sleep(world.dice.choice(LASTING_S))


async def _afflicted(world: World, group: set[str], one: str) -> None:
    with _member(group, one):
        await _last(world)


@contextmanager
def _member(group: set[str], one: str):
    group.add(one)
    try:
        yield
    finally:
        group.discard(one)


def heal(machine: Machine) -> None:
    """Undo what no task of a fault undoes."""
    machine.failing_starts = 0
