"""Stopping on real Podman: shells in the way, and the end of everything at `flynn-aio down`."""

import signal
import time

import pytest
import trio

from flynn_aio.engine import RunState, open_engine, shut_down

from .appliance import open_world
from .contract import STOP_AT_INT, WAIT_S

pytestmark = pytest.mark.podman

SHELL_IN_FRONT = ("sh", "-c", "sleep 1000; true")
SHELL_THAT_EXECS = ("sh", "-c", "exec sh -c \"trap 'exit 9' TERM; echo ready; while true; do sleep 0.1; done\"")
NEVER_ENDS = ("sh", "-c", "trap '' TERM INT; echo ready; while true; do sleep 0.1; done")


async def test_a_shell_that_hands_nothing_on_goes_at_once_with_all_below_it(world):
    spec = world.spec(SHELL_IN_FRONT)
    await world.engine.start(spec)
    began = time.monotonic()
    await world.engine.stop(spec.id, kill_s=WAIT_S)
    assert time.monotonic() - began < 2
    assert (await world.ended(spec.id)).exit_code == 128 + signal.SIGTERM


async def test_a_program_that_took_the_place_of_its_shell_is_asked_itself(world):
    spec = world.spec(SHELL_THAT_EXECS)
    await world.engine.start(spec)
    await has_said_ready(world, spec)
    await world.engine.stop(spec.id, kill_s=WAIT_S)
    assert (await world.ended(spec.id)).exit_code == 9


async def test_an_adopted_job_is_still_stopped_as_its_spec_said(settings, image):
    try:
        async with open_world(settings, image) as first:
            spec = first.spec(STOP_AT_INT, stop_signal=signal.SIGINT, stop_s=77.0)
            await first.engine.start(spec)
            await has_said_ready(first, spec)
        async with open_world(settings, image) as second:
            [adopted] = await second.engine.jobs()
            assert (adopted.stop_signal, adopted.stop_s) == (signal.SIGINT, 77.0)
            await second.engine.stop(spec.id, kill_s=WAIT_S)
            assert (await second.ended(spec.id)).exit_code == 7
    finally:
        await shut_down(settings, kill_s=0)


async def test_down_asks_each_job_as_it_wants_and_waits_as_long_as_it_says(settings, image):
    try:
        async with open_world(settings, image) as world:
            willing = world.spec(STOP_AT_INT, stop_signal=signal.SIGINT, stop_s=50.0)
            stubborn = world.spec(NEVER_ENDS, stop_s=1.0)
            for spec in (willing, stubborn):
                assert (await world.engine.start(spec)).state is RunState.RUNNING
                await has_said_ready(world, spec)
        began = time.monotonic()
        removed = await shut_down(settings)
        assert set(removed.jobs) == {willing.id, stubborn.id}
        assert 1 <= time.monotonic() - began < 9  # neither the 10 s of a job that says nothing, nor 50
    finally:
        await shut_down(settings, kill_s=0)


async def test_down_waits_for_nobody_for_an_hour(settings, image, monkeypatch):
    monkeypatch.setattr("flynn_aio.engine.lifecycle.LONGEST_STOP_S", 1.5)
    try:
        async with open_world(settings, image) as world:
            spec = world.spec(NEVER_ENDS, stop_s=3600.0)
            await world.engine.start(spec)
            await has_said_ready(world, spec)
        began = time.monotonic()
        await shut_down(settings)
        assert 1.5 <= time.monotonic() - began < 9
        async with open_engine(settings) as engine:
            assert await engine.jobs() == []
    finally:
        await shut_down(settings, kill_s=0)


async def has_said_ready(world, spec) -> None:
    """Wait until a program has set its traps and says so in its log."""
    with trio.fail_after(WAIT_S):
        while True:
            if any(b"ready" in file.read_bytes() for file in world.log_dir.glob(f"*.{spec.id}.*")):
                return
            await trio.sleep(0.02)
