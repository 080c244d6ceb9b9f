"""How jobs are asked to end, and how long they may take: by the scheduler, through the whole loop."""

import signal

import pytest
import trio

from flynn_aio.engine import Process, ignore_sigterm, run_forever
from flynn_aio.model import JobState, ProcessType


def slow_to_stop(seconds: float):
    """Return a program that needs so long for what it does at SIGINT, and ignores SIGTERM."""

    async def program(process: Process) -> int:
        process.trap(signal.SIGTERM, signal.SIGINT)
        while await process.next_signal() != signal.SIGINT:
            pass
        await trio.sleep(seconds)
        return 0

    return program


async def stop_time(world, process: ProcessType, program) -> tuple[float, int | None]:
    """Run a job and scale it away; return how long it took to end, and its exit status."""
    app, release = await world.app({"printer": process})
    world.engine.script(program)
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await world.wait_up(app, 1)
        began = trio.current_time()
        await world.scale(app, release, printer=0)
        await world.wait_up(app, 0)
        [job] = await world.jobs(app, JobState.DOWN)
        return trio.current_time() - began, job.exit_status


@pytest.mark.parametrize(
    ("process", "program", "seconds"),
    [
        (ProcessType(), run_forever, 0),
        (ProcessType(), ignore_sigterm, 30),
        (ProcessType(stop_timeout=2), ignore_sigterm, 2),
        (ProcessType(stop_timeout=200), ignore_sigterm, 200),
        (ProcessType(stop_signal="SIGINT"), ignore_sigterm, 0),
        (ProcessType(stop_signal="SIGINT", stop_timeout=90), slow_to_stop(80), 80),
        (ProcessType(stop_signal="SIGINT", stop_timeout=90), slow_to_stop(100), 90),
        (ProcessType(stop_signal="KILL"), ignore_sigterm, 0),
    ],
)
async def test_a_job_is_asked_and_given_time_as_its_type_says(autojump_clock, world, process, program, seconds):
    took, _ = await stop_time(world, process, program)
    assert took == seconds


async def test_a_job_that_ends_in_its_time_keeps_its_exit_status(autojump_clock, world):
    assert await stop_time(world, ProcessType(stop_signal="SIGINT"), slow_to_stop(5)) == (5, 0)


async def test_a_kill_through_the_api_asks_in_the_same_way(autojump_clock, world):
    app, release = await world.app({"printer": ProcessType(stop_signal="SIGINT", stop_timeout=90)})
    world.engine.script(slow_to_stop(80))
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        began = trio.current_time()
        await world.kill(job)
        await world.wait_up(app, 1, without=job)
        assert trio.current_time() - began == 80


async def test_what_the_health_check_gave_up_is_given_no_time(autojump_clock, world):
    app, release = await world.app({"printer": ProcessType(stop_timeout=90)})
    world.engine.script(ignore_sigterm)
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        began = trio.current_time()
        world.give_up(job)
        await world.wait_up(app, 1, without=job)
        assert trio.current_time() - began == 0
