"""Stories: jobs print into files, and people read and follow."""

import errno
import os
import random
import time
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from flynn_aio.clock import SystemClock
from flynn_aio.engine import INIT_SUFFIX, JobSpec, Stream, exits, open_fake_engine
from flynn_aio.errors import FlynnError
from flynn_aio.logs import LogQuery, follow, live, open_logs
from flynn_aio.logs.files import KEPT, OLD
from flynn_aio.logs.record import STREAMS
from flynn_aio.logs.retention import hold_on
from flynn_aio.model import AppID, JobID, Time, full_job_id
from flynn_aio.settings import LogSettings

from ..support.conmon import APP, OTHER, job_id

ALL = LogQuery(streams=STREAMS)


@asynccontextmanager
async def opened(directory, engine=None, **settings):
    async with open_fake_engine() as nobody:
        async with open_logs(LogSettings(dir=directory, **settings), engine or nobody, SystemClock()) as logs:
            yield logs


def texts(messages) -> list[str]:
    return [message.msg for message in messages]


async def receive(stream, count: int) -> list[str]:
    """Return the texts of the next messages."""
    found = []
    with trio.fail_after(5):
        while len(found) < count:
            found.append((await stream.receive()).msg)
    return found


async def until(condition) -> None:
    """Wait for something on disk, of which nobody tells us."""
    with trio.fail_after(5):
        while True:
            if condition():
                return
            await trio.sleep(0.01)


async def nothing_more(stream) -> bool:
    with trio.move_on_after(0.1):
        await stream.receive()
        return False
    return True


async def test_an_app_without_output_has_an_empty_log(directory):
    async with opened(directory) as logs:
        assert await logs.read(APP, ALL) == []
        assert await logs.tail(job_id(1), 10) == []


async def test_lines_are_read_back_with_where_they_came_from(directory, writer):
    web, one_off = writer(1, "web"), writer(2, "")
    web.print("hello")
    one_off.print("oops", stream="stderr")
    async with opened(directory) as logs:
        first, second = await logs.read(APP, LogQuery())
    assert (first.msg, first.stream, first.process_type, first.job_id) == (
        "hello",
        "stdout",
        "web",
        full_job_id(job_id(1)),
    )
    assert (second.msg, second.stream, second.process_type) == ("oops", "stderr", "")
    assert Time.parse(first.timestamp) <= Time.parse(second.timestamp)


async def test_filter_first_then_the_last_of_them(directory, writer):
    web, worker, one_off, init = writer(1), writer(2, "worker"), writer(3, ""), writer(1, suffix=INIT_SUFFIX)
    for number in range(5):
        web.print(f"web {number}")
        worker.print(f"worker {number}", stream="stderr" if number % 2 else "stdout")
        one_off.print(f"one-off {number}")
    init.print("FATAL", stream="init")
    async with opened(directory) as logs:

        async def read(**query) -> list[str]:
            return texts(await logs.read(APP, LogQuery(**query)))

        assert await read(lines=2) == ["worker 4", "one-off 4"]
        assert await read(lines=2, process_type="web") == ["web 3", "web 4"]
        assert await read(lines=1, process_type="") == ["one-off 4"]
        assert await read(lines=1, job=job_id(2)) == ["worker 4"]
        assert await read(process_type="worker", streams=frozenset({"stderr"})) == ["worker 1", "worker 3"]
        assert await read(streams=frozenset({"init"})) == ["FATAL"]
        assert len(await read()) == len(await read(lines=0)) == 15
        assert len(await read(streams=STREAMS)) == 16
        assert await read(process_type="nobody") == []
        assert await logs.tail(job_id(1), 2) == ["web 4", "FATAL"]


async def test_apps_do_not_see_each_other(directory, writer):
    writer(1).print("mine")
    writer(2, app=OTHER).print("theirs")
    async with opened(directory) as logs:
        assert texts(await logs.read(APP, LogQuery())) == ["mine"]
        async with logs.follow(APP, LogQuery()) as stream:
            writer(2, app=OTHER).print("theirs again")
            assert await nothing_more(stream)


async def test_the_ring_has_ten_thousand_lines_whatever_they_are_in(directory, writer):
    first, second = writer(1), writer(2)
    first.write(b"".join(first.record(b"old %d" % number) for number in range(9_000)))
    second.write(b"".join(second.record(b"new %d" % number) for number in range(9_000)))
    async with opened(directory) as logs:
        found = texts(await logs.read(APP, LogQuery()))
        assert found == [f"old {number}" for number in range(8_000, 9_000)] + [f"new {n}" for n in range(9_000)]
        assert texts(await logs.read(APP, LogQuery(lines=3))) == ["new 8997", "new 8998", "new 8999"]


async def test_long_lines_are_cut_and_a_restart_changes_nothing(directory, writer):
    job = writer()
    job.print("1", "2", "x" * 10_050)
    for _ in range(2):
        async with opened(directory) as logs:
            assert [len(text) for text in texts(await logs.read(APP, LogQuery(lines=10)))] == [1, 1, 10_000, 50]
    job.print("3")
    async with opened(directory) as logs:
        assert texts(await logs.read(APP, LogQuery(lines=2)))[1] == "3"


async def test_a_line_begun_before_a_restart_is_one_message(directory, writer):
    job = writer()
    job.begin("hel")
    engine_spec = JobSpec(id=job_id(1), app=APP, app_name="hello", image="x", type="web")
    async with open_fake_engine() as engine:
        await engine.start(engine_spec)
        async with opened(directory, engine) as logs:
            assert await logs.read(APP, LogQuery()) == []  # it still runs: the line may go on
        job.print("lo")
        async with opened(directory, engine) as logs:
            assert texts(await logs.read(APP, LogQuery())) == ["hello"]


async def test_the_last_line_of_an_ended_job_needs_no_newline(directory, writer):
    job = writer()
    job.print("whole")
    job.begin("half")
    async with opened(directory) as logs:
        assert texts(await logs.read(APP, LogQuery())) == ["whole", "half"]
        assert await logs.tail(job_id(1), 1) == ["half"]
        async with logs.follow(APP, LogQuery(lines=5)) as stream:
            assert await receive(stream, 2) == ["whole", "half"]


async def test_a_silent_engine_keeps_nobody_from_reading(directory, writer):
    job = writer()
    job.print("whole")
    job.begin("half")
    async with open_fake_engine() as engine, opened(directory, engine) as logs:
        with engine.outage():
            assert texts(await logs.read(APP, LogQuery())) == ["whole"]
            async with logs.follow(APP, LogQuery(lines=5)) as stream:
                assert await receive(stream, 1) == ["whole"]
                job.print(" done")
                assert await receive(stream, 1) == ["half done"]


async def test_following_gives_the_backlog_and_then_what_comes(directory, writer):
    job = writer()
    job.print("1", "2", "3")
    async with opened(directory) as logs:
        async with logs.follow(APP, LogQuery(lines=2)) as stream, logs.follow(APP, LogQuery()) as live:
            assert await receive(stream, 2) == ["2", "3"]
            assert await nothing_more(stream)
            job2 = writer(2, "worker")
            job2.print("4", stream="stderr")
            assert await receive(stream, 1) == ["4"]
            assert await receive(live, 1) == ["4"]


async def test_a_line_of_ours_stands_among_those_of_the_job_it_is_about(directory, writer):
    job = writer()
    job.print("1")
    async with opened(directory) as logs, logs.follow(APP, LogQuery(streams=STREAMS)) as stream:
        await logs.note(APP, job_id(1), "web", "flapping: it ended\n with\x00 a line break " + "x" * 5000)
        assert (await receive(stream, 1))[0].startswith("flapping: it ended with\x00 a line break xxx")
        [one, ours] = await logs.read(APP, LogQuery(lines=9, streams=STREAMS))
        assert (one.msg, ours.job_id, ours.process_type, ours.stream) == ("1", full_job_id(job_id(1)), "web", "init")
        assert len(ours.msg) == 1000


async def test_a_line_that_cannot_be_written_is_an_error_with_its_job(directory):
    async with opened(directory) as logs:
        with pytest.raises(FlynnError, match="cannot write a line into the log of job j1"):
            await logs.note(AppID("no/such/directory"), JobID("j1"), "web", "text")


async def test_what_goes_wrong_in_a_readers_block_arrives_as_it_is(directory):
    async with opened(directory) as logs:
        with pytest.raises(ZeroDivisionError):
            async with logs.follow(APP, LogQuery()):
                raise ZeroDivisionError
        await trio.testing.wait_all_tasks_blocked()
        assert not logs._followers


async def test_following_obeys_the_filter(directory, writer):
    web, init = writer(1), writer(1, suffix=INIT_SUFFIX)
    async with (
        opened(directory) as logs,
        logs.follow(APP, LogQuery(job=job_id(2))) as one,
        logs.follow(APP, LogQuery(streams=frozenset({"init"}))) as inits,
        logs.follow(APP, LogQuery(process_type="", streams=frozenset({"stderr"}))) as errors,
    ):
        web.print("web")
        init.print("FATAL", stream="init")
        writer(2).print("second")
        one_off = writer(3, "")
        one_off.print("out")
        one_off.print("err", stream="stderr")
        assert await receive(one, 1) == ["second"]
        assert await receive(inits, 1) == ["FATAL"]
        assert await receive(errors, 1) == ["err"]
        assert await nothing_more(one)


async def test_following_real_jobs_to_their_last_byte(directory):
    """The engine's own writing, and its word that a job has ended."""
    spec = JobSpec(id=job_id(1), app=APP, app_name="hello", image="x", type="web")
    directory.mkdir()
    async with open_fake_engine(log_dir=directory) as engine, opened(directory, engine) as logs:
        async with logs.follow(APP, ALL) as stream:
            await engine.start(spec)
            await engine.print(spec.id, b"one\ntwo\nthr")
            assert await receive(stream, 2) == ["one", "two"]
            await engine.print(spec.id, b"warning\nerror", Stream.STDERR)
            await engine.print(spec.id, b"ee\nfour")
            assert sorted(await receive(stream, 2)) == ["three", "warning"]
            assert await nothing_more(stream)
            engine.crash(spec.id)
            assert sorted(await receive(stream, 2)) == ["error", "four"]
            assert await nothing_more(stream)
            await engine.start(JobSpec(id=job_id(2), app=APP, app_name="hello", image="x"))
            engine.script(exits(0, prints=b"bye"))
            await engine.start(JobSpec(id=job_id(3), app=APP, app_name="hello", image="x"))
            assert await receive(stream, 1) == ["bye"]


async def test_nothing_is_missed_and_nothing_comes_twice_while_a_job_writes(directory, writer):
    """Readers come and go at any moment; backlog and live part meet exactly."""
    job = writer()
    rng = random.Random(5)
    printed = 0
    running = True

    async def print_on() -> None:
        nonlocal printed
        while running:
            for _ in range(rng.randrange(1, 20)):
                if rng.random() < 0.3:
                    job.begin("line ")
                    job.print(f"{printed}")
                else:
                    job.print(f"line {printed}")
                printed += 1
            await trio.sleep(0.001)

    spec = JobSpec(id=job_id(1), app=APP, app_name="hello", image="x", type="web")
    async with open_fake_engine() as engine, opened(directory, engine) as logs, trio.open_nursery() as nursery:
        await engine.start(spec)
        nursery.start_soon(print_on)
        for _ in range(10):
            await trio.sleep(0.01)
            async with logs.follow(APP, LogQuery(lines=50)) as stream:
                found = await receive(stream, 300)
                first = int(found[0].removeprefix("line "))
                assert found == [f"line {first + number}" for number in range(300)]
            seen = texts(await logs.read(APP, LogQuery(lines=100)))
            first = int(seen[0].removeprefix("line "))
            assert seen == [f"line {first + number}" for number in range(100)]
        running = False


async def test_a_new_file_in_the_place_of_the_old_one_loses_nothing(directory, writer):
    job = writer()
    job.print("1")
    async with opened(directory) as logs:
        async with logs.follow(APP, LogQuery(lines=1)) as stream:
            assert await receive(stream, 1) == ["1"]
            await until(job.path.with_name(job.path.name + KEPT).exists)
            job.print("2")
            job.begin("3 ")
            job.rotate()
            job.print("goes on", "4")
            assert await receive(stream, 3) == ["2", "3 goes on", "4"]
            await until(job.path.with_name(job.path.name + OLD).exists)
            assert await nothing_more(stream)
        assert texts(await logs.read(APP, LogQuery())) == ["1", "2", "3 goes on", "4"]


async def test_a_new_file_while_we_were_down_loses_nothing(directory, writer):
    job = writer()
    job.print("1")
    hold_on(directory)
    job.print("2")
    job.rotate()
    job.print("3")
    async with opened(directory) as logs:
        assert texts(await logs.read(APP, LogQuery())) == ["1", "2", "3"]


async def test_a_reader_who_does_not_read_costs_no_memory_and_hears_what_it_missed(directory, writer, monkeypatch):
    monkeypatch.setattr(follow, "LAG_BYTES", 200_000)
    monkeypatch.setattr(follow, "KEEP_BYTES", 20_000)
    job = writer()
    total = 50_000
    async with opened(directory, follower_lines=100) as logs:
        async with logs.follow(APP, LogQuery()) as stream:
            for begin in range(0, total, 1000):
                job.write(b"".join(job.record(b"%d" % number) for number in range(begin, begin + 1000)))
                await trio.lowlevel.checkpoint()
            await trio.sleep(0.1)
            found = []
            with trio.fail_after(5):
                while not found or found[-1].msg != str(total - 1):
                    found.append(await stream.receive())
    said = [message for message in found if message.stream == "init"]
    lines = [int(message.msg) for message in found if message.stream == "stdout"]
    assert said
    assert lines == sorted(set(lines))
    missed = sum(int(message.msg.split()[0]) for message in said)
    assert abs(total - len(lines) - missed) <= 3 * len(said)  # the lines at the edges are in pieces


async def test_a_flood_does_not_starve_the_loop(directory, writer):
    """While megabytes are read, other tasks get their turn every few milliseconds."""
    job = writer()
    piece = b"".join(job.record(b"x" * 80) for _ in range(2000))
    delays = []

    async def tick() -> None:
        while True:
            due = trio.current_time() + 0.001
            await trio.sleep_until(due)
            delays.append(trio.current_time() - due)

    async with opened(directory) as logs, logs.follow(APP, LogQuery()) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        for _ in range(10):
            job.write(piece)
        count = 0
        began = time.monotonic()
        with trio.fail_after(20):
            async for _ in stream:
                count += 1
                if count == 20_000:
                    break
        print(f"{count} lines in {time.monotonic() - began:.2f} s, worst delay {max(delays):.3f} s")
        nursery.cancel_scope.cancel()
    assert sorted(delays)[int(len(delays) * 0.95)] < 0.05


async def test_a_flood_of_one_job_does_not_drown_another(directory, writer):
    loud, quiet = writer(1), writer(2)
    async with opened(directory) as logs, logs.follow(APP, LogQuery()) as stream:
        loud.write(b"".join(loud.record(b"x" * 80) for _ in range(20_000)))
        assert await receive(stream, 1) == ["x" * 80]
        quiet.print("hello")
        with trio.fail_after(10):
            before = 1
            while (await stream.receive()).msg != "hello":
                before += 1
        assert before < 10_000


async def test_a_hung_engine_keeps_nobody_from_reading(directory, writer, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE_S", 0.05)
    job = writer()
    job.print("whole")
    job.begin("half")
    async with open_fake_engine() as engine, opened(directory, engine) as logs:
        monkeypatch.setattr(engine, "jobs", trio.sleep_forever)
        with trio.fail_after(2):
            assert texts(await logs.read(APP, LogQuery())) == ["whole"]
            async with logs.follow(APP, LogQuery(lines=1)) as stream:
                assert await receive(stream, 1) == ["whole"]
                job.print(" done", "more")
                assert await receive(stream, 2) == ["half done", "more"]


async def test_lost_events_are_made_up_for(directory, writer):
    job = writer()
    async with opened(directory) as logs, logs.follow(APP, LogQuery()) as stream:
        for changes in logs._watch._readers:
            changes.mask = 0  # nothing is reported any more
        job.print("unseen")
        writer(2).print("a new one")
        assert await nothing_more(stream)
        overflow = (-1).to_bytes(4, "little", signed=True) + (0x4000).to_bytes(4, "little") + bytes(8)
        logs._watch._pass_on(overflow)
        assert await receive(stream, 2) == ["unseen", "a new one"]


async def test_files_that_cannot_be_read_end_their_followers_and_nobody_else(directory, writer, monkeypatch):
    def exhausted(*args) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    web = writer(1)
    async with opened(directory) as logs:
        async with logs.follow(APP, LogQuery()) as stream:
            with monkeypatch.context() as patch, trio.fail_after(5):
                patch.setattr("flynn_aio.logs.files.os.open", exhausted)
                web.print("unheard")
                with pytest.raises(trio.EndOfChannel):
                    await stream.receive()
        assert texts(await logs.read(APP, LogQuery())) == ["unheard"]


async def test_forgetting_an_app(directory, writer):
    writer(1).print("a")
    writer(1, suffix=INIT_SUFFIX).print("b", stream="init")
    writer(2, app=OTHER).print("c")
    async with opened(directory) as logs:
        async with logs.follow(APP, LogQuery()):
            await logs.forget(APP)
            await logs.forget(APP)
        assert await logs.read(APP, ALL) == []
        assert texts(await logs.read(OTHER, ALL)) == ["c"]
    assert {name.split(".")[0] for name in os.listdir(directory)} == {OTHER}


async def test_only_the_files_of_living_apps_are_kept(directory, writer):
    writer(1).print("a")
    writer(2, app=OTHER).print("b")
    (directory / "notes.txt").write_text("not ours")
    async with opened(directory) as logs:
        await logs.keep_only({OTHER})
        assert await logs.read(APP, ALL) == []
        assert texts(await logs.read(OTHER, ALL)) == ["b"]
    assert (directory / "notes.txt").exists()


async def test_too_much_on_disk_is_given_up_at_the_start(directory, writer):
    old, live = writer(1), writer(2)
    old.write(b"".join(old.record(b"x" * 80) for _ in range(2000)))
    live.write(b"".join(live.record(b"%d" % number) for number in range(10_000)))
    spec = JobSpec(id=job_id(2), app=APP, app_name="hello", image="x", type="web")
    async with open_fake_engine() as engine:
        await engine.start(spec)
        async with opened(directory, engine, app_bytes=100_000) as logs, logs.follow(APP, LogQuery()) as stream:
            await until(lambda: not old.path.exists() and live.path.stat().st_blocks * 512 < 120_000)
            found = texts(await logs.read(APP, LogQuery()))
            assert found[-1] == "9999"
            assert found == [str(number) for number in range(int(found[0]), 10_000)]
            assert 1000 < len(found) < 5000
            live.print("and on")
            assert await receive(stream, 1) == ["and on"]


async def test_a_directory_that_cannot_be_watched_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    async with open_fake_engine() as engine:
        with pytest.raises(FlynnError, match="cannot watch the log directory"):
            async with open_logs(LogSettings(dir=tmp_path / "file"), engine, SystemClock()):
                pass


async def test_a_huge_log_is_not_read_for_its_last_lines(directory, writer):
    job = writer()
    piece = b"".join(job.record(b"x" * 80) for _ in range(10_000))
    for _ in range(20):
        job.write(piece)
    job.print("last")
    async with opened(directory) as logs:
        began = time.monotonic()
        assert texts(await logs.read(APP, LogQuery(lines=1))) == ["last"]
        assert time.monotonic() - began < 0.2
