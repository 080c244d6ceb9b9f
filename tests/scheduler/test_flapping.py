"""A job that keeps ending, through the whole loop: every pause, what its rows say, and what the app's log is told."""

from dataclasses import replace
from itertools import pairwise

import pytest
import trio

from flynn_aio.engine import exits, fails_to_start
from flynn_aio.model import Job, JobState

from .world import SETTINGS

DOWN, PENDING, UP = JobState.DOWN, JobState.PENDING, JobState.UP


async def start_times(world, count: int) -> list[float]:
    """Return when the first `count` jobs were started, by noting it in the engine."""
    times: list[float] = []
    enough = trio.Event()
    start = world.engine.start

    async def noting(spec):
        times.append(trio.current_time())
        if len(times) == count:
            enough.set()
        return await start(spec)

    world.engine.start = noting
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await enough.wait()
    return times[:count]


@pytest.mark.parametrize("code", [0, 1])
async def test_the_pauses_are_those_of_the_specification(autojump_clock, world, code):
    """Whatever the exit code: five at once, ten after 10 s, and then one every 30 s."""
    world.engine.script(exits(code))
    times = await start_times(world, 20)
    assert [round(later - earlier, 3) for earlier, later in pairwise(times)] == [0] * 5 + [10] * 10 + [30] * 4


async def test_what_cannot_be_started_pauses_just_so(autojump_clock, world):
    world.engine.script(fails_to_start("no such user"))
    times = await start_times(world, 18)
    assert [round(later - earlier, 3) for earlier, later in pairwise(times)] == [0] * 5 + [10] * 10 + [30] * 2


async def test_four_stops_in_succession_are_each_replaced_at_once(autojump_clock, world):
    """TestJobRestartBackoffPolicy: stopped below the scheduler, as the host's own stop does."""
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        job = None
        for number in range(5):
            [job] = await world.wait_up(app, 1, without=job)
            assert (job.restarts or 0, job.run_at) == (number, None)
            began = trio.current_time()
            await world.engine.stop(job.uuid, kill_s=30)
        [job] = await world.wait_up(app, 1, without=job)
        assert trio.current_time() == began


async def test_the_count_begins_again_after_more_than_five_minutes(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        job: Job | None = None
        for ran_for, restarts in ((1, 0), (1, 1), (299, 2), (301, 3), (1, 1)):
            [job] = await world.wait_up(app, 1, without=job)
            assert (job.restarts or 0) == restarts
            await trio.sleep(ran_for)
            world.engine.crash(job.uuid)


async def test_a_place_that_keeps_ending_says_so_in_its_row_and_in_its_events(autojump_clock, world):
    app, release = await world.app()
    world.engine.script(exits(3, after_s=2))
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await trio.sleep(15)  # six ends, the last at 12 s
        [waiting] = await world.jobs(app, PENDING)
        assert (waiting.restarts, waiting.flapping, waiting.last_end) == (6, True, "ended with exit status 3")
        assert (waiting.run_at - waiting.failing_since).total_seconds() == 5 * 2 + 10
        event = [event for event in await world.events("job") if event["state"] == "pending"][-1]
        assert (event["flapping"], event["last_end"]) == (True, "ended with exit status 3")
        assert "flapping" not in (await world.events("job"))[0]


async def test_the_log_is_told_when_it_begins_grows_and_is_over(autojump_clock, world):
    app, release = await world.app()
    world.engine.script(exits(3))
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        await trio.sleep(3600)
        assert [note.partition("; ")[2] for note in world.notes] == [
            "3 ends in a row within 0 s; next try at once",
            "6 ends in a row within 0 s; next try in 10 s",
            "16 ends in a row within 100 s; next try in 30 s",
        ]
        assert all("ended with exit status 3" in note for note in world.notes)
        world.engine.script(exits(3, after_s=1000))  # it is well for a while
        await trio.sleep(100)
        [job] = await world.jobs(app, UP)
        assert job.flapping
        await trio.sleep(300)
        [job] = await world.jobs(app, UP)
        assert (job.flapping, job.failing_since) == (False, None)
        assert world.notes[3:] == [f"no longer flapping: job {job.id} has run for 5 min"]
        await trio.sleep(300)
        assert len(world.notes) == 4


async def test_what_the_health_check_gave_up_is_said_with_its_reason(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        [job] = await world.wait_up(app, 1)
        world.give_up(job)
        [job] = await world.wait_up(app, 1, without=job)
        assert job.last_end == "was given up by its health check: no answer"


async def test_who_is_killed_by_hand_is_not_flapping(autojump_clock, world):
    app, release = await world.app()
    async with world.scheduler():
        await world.scale(app, release, printer=1)
        job = None
        for _ in range(8):
            [job] = await world.wait_up(app, 1, without=job)
            assert not job.flapping
            await world.kill(job)
        assert world.notes == []


async def test_a_log_that_cannot_be_written_holds_nothing_up(autojump_clock, world):
    async def hangs(*_):
        await trio.sleep_forever()

    world.note = hangs
    app, release = await world.app()
    world.engine.script(exits(1))
    async with world.scheduler(replace(SETTINGS, restart_stable_s=60.0)):
        await world.scale(app, release, printer=1)
        await trio.sleep(12)
        assert len(await world.jobs(app, DOWN)) == 7
