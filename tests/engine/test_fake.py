"""The fake: the contract, and the scripting that is its own."""

import signal
from pathlib import Path

import pytest
import trio

from flynn_aio.engine import (
    OOM_TEXT,
    Behaviour,
    FakeEngine,
    Process,
    RunState,
    Stream,
    exits,
    fails_to_start,
    ignore_sigterm,
    listens,
    open_fake_engine,
)
from flynn_aio.errors import EngineError, NotFound, StartError
from flynn_aio.model import JobID

from . import contract
from .contract import EngineContract, World

IMAGE = "localhost/test:1"


async def print_both(process: Process) -> int:
    await process.write(b"out\n")
    await process.write(b"err\n", Stream.STDERR)
    return 3


async def cat(process: Process) -> int:
    while data := await process.read():
        await process.write(data)
    return 0


async def size(process: Process) -> int:
    await process.read()
    await process.write(b"%d %d\r\n" % process.size)
    return 5


async def flood(process: Process) -> int:
    while True:
        await process.write(b"0123456789" * 4 + b"\n")


async def environment(process: Process) -> int:
    await process.write(f"{process.spec.env['EXTERNAL_IP']}\n{process.spec.env['GREETING']}\n".encode())
    return 0


async def stop_at_int(process: Process) -> int:
    process.trap(signal.SIGTERM, signal.SIGINT)
    while await process.next_signal() != signal.SIGINT:
        pass
    return 7


async def write_volume(process: Process) -> int:
    process.files["/store"]["file"] = b"kept\n"
    return 0


async def read_volume(process: Process) -> int:
    await process.write(process.files["/store"]["file"])
    return 0


def script(engine: FakeEngine) -> None:
    """Teach the fake the programs of the contract suite."""
    for args, program in (
        (contract.EXIT_42, exits(42)),
        (contract.EXIT_0, exits(0)),
        (contract.IGNORE_TERM, ignore_sigterm),
        (contract.STOP_AT_INT, stop_at_int),
        (contract.PRINT, print_both),
        (contract.CAT, cat),
        (contract.SIZE, size),
        (contract.FLOOD, flood),
        (contract.ENVIRONMENT, environment),
        (contract.WRITE_VOLUME, write_volume),
        (contract.READ_VOLUME, read_volume),
        (contract.LISTEN, listens("127.0.0.1:8080", "0.0.0.0:3000")),
    ):
        engine.script(program, args=args)
    engine.script(fails_to_start('exec: "no-such-command": executable file not found in $PATH'), args=contract.MISSING)


@pytest.fixture
async def world(tmp_path: Path):
    async with open_fake_engine(log_dir=tmp_path, images=[IMAGE]) as engine:
        script(engine)
        yield World(engine, IMAGE, tmp_path)


class TestFake(EngineContract):
    """The contract."""


@pytest.fixture
async def engine(tmp_path: Path):
    async with open_fake_engine(log_dir=tmp_path) as engine:
        yield engine


def job(engine: FakeEngine, **changes):
    return World(engine, IMAGE, Path()).spec(("serve",), **changes)


async def test_unscripted_jobs_run_until_they_are_stopped(engine, autojump_clock):
    spec = job(engine)
    await engine.start(spec)
    await trio.sleep(3600)
    assert [status.state for status in await engine.jobs()] == [RunState.RUNNING]
    await engine.stop(spec.id, kill_s=30)
    assert [status.exit_code for status in await engine.jobs()] == [143]
    assert (engine.started[0].id, engine.stopped) == (spec.id, [spec.id])


async def test_a_job_exits_after_a_while(engine, autojump_clock):
    engine.script(exits(7, after_s=60), type="worker")
    worker, web = job(engine, type="worker"), job(engine, type="web")
    await engine.start(worker)
    await engine.start(web)
    await trio.sleep(61)
    assert {status.type: status.exit_code for status in await engine.jobs()} == {"worker": 7, "web": None}


async def test_the_newest_rule_that_matches_wins(engine, autojump_clock):
    engine.script(exits(1)).script(exits(2), args=("serve",)).script(exits(3), args=("other",))
    await engine.start(job(engine))
    await trio.testing.wait_all_tasks_blocked()
    assert [status.exit_code for status in await engine.jobs()] == [2]


async def test_a_start_takes_its_time_and_may_fail(engine, autojump_clock):
    engine.script(Behaviour(start_s=5, start_error="no"))
    began = trio.current_time()
    with pytest.raises(StartError, match="^no$"):
        await engine.start(job(engine))
    assert trio.current_time() - began == 5


async def test_a_crash_rings_the_bell(engine, autojump_clock):
    spec = job(engine)
    await engine.start(spec)
    seen = engine.bell.version
    engine.crash(spec.id, 9)
    await engine.bell.moved_past(seen)
    assert [status.exit_code for status in await engine.jobs()] == [9]


async def test_running_out_of_memory_is_noted_and_logged(engine, autojump_clock, tmp_path):
    first, second = job(engine), job(engine)
    await engine.start(first)
    await engine.start(second)
    engine.run_out_of_memory(first.id)
    engine.run_out_of_memory(second.id, survives=True)
    assert [(status.oom, status.exit_code) for status in await engine.jobs()] == [(True, 137), (True, None)]
    assert (tmp_path / f"{first.app}.{first.id}..log.init").read_text().endswith(f" init F {OOM_TEXT}\n")


async def test_nothing_works_during_an_outage_and_jobs_go_on(engine, autojump_clock):
    spec = job(engine)
    await engine.start(spec)
    with engine.outage("gone fishing"):
        for call in (engine.jobs(), engine.start(job(engine)), engine.stop(spec.id, kill_s=1), engine.remove(spec.id)):
            with pytest.raises(EngineError, match="gone fishing"):
                await call
    assert [status.state for status in await engine.jobs()] == [RunState.RUNNING]


async def test_a_lost_job_is_no_longer_listed(engine, autojump_clock):
    spec = job(engine)
    await engine.start(spec)
    engine.lose(spec.id)
    assert await engine.jobs() == []


async def test_printing_reaches_the_log_with_its_partial_lines(engine, autojump_clock, tmp_path):
    spec = job(engine)
    await engine.start(spec)
    await engine.print(spec.id, b"one\ntw")
    await engine.print(spec.id, b"o\n")
    await engine.print(spec.id, b"three\n", Stream.STDERR)
    lines = (tmp_path / f"{spec.app}.{spec.id}..log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["stdout F one", "stdout P tw", "stdout F o", "stderr F three"]


async def test_a_program_can_wait_for_a_signal(engine, autojump_clock):
    async def program(process: Process) -> int:
        process.trap(signal.SIGTERM)
        assert await process.next_signal() == signal.SIGTERM
        await trio.sleep(3)
        return 0

    engine.script(program)
    spec = job(engine)
    await engine.start(spec)
    await trio.testing.wait_all_tasks_blocked()
    await engine.stop(spec.id, kill_s=10)
    assert [status.exit_code for status in await engine.jobs()] == [0]


async def test_images_come_from_the_registry_or_a_file(tmp_path):
    async with open_fake_engine(images=[]) as engine:
        engine.registry.add("a:1")
        await engine.pull_image("a:1")
        await engine.import_image(tmp_path / "x.tar", "b:1")
        assert [await engine.image_exists(name) for name in ("a:1", "b:1", "c:1")] == [True, True, False]
        await engine.start(spec := World(engine, "a:1", tmp_path).spec(("x",)))
        await engine.commit(spec.id, "c:1")
        assert await engine.image_exists("c:1")
        with pytest.raises(NotFound):
            await engine.commit(JobID("nobody"), "d:1")
