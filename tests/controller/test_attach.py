"""Attached jobs: the handshake, streams both ways, and every way it can end."""

from dataclasses import replace

import pytest
import trio

from flynn_aio.controller.attach_session import LINGER_S, RECORD_S
from flynn_aio.engine import OOM_TEXT, Behaviour, RunState, Stream, exits, fails_to_start, ignore_sigterm
from flynn_aio.model import Job, JobState
from flynn_aio.store import changes

from ..support.attach_client import attach, resize, signal, stdin
from ..support.build import make_app, make_release
from ..support.http_client import Exchange

JOBS = "/apps/hello/jobs"


@pytest.fixture
async def release(store):
    return await make_release(store, await make_app(store))


async def observe(stage):
    """Write down how jobs are, as the scheduler's observer does."""
    while True:
        seen = stage.engine.bell.version
        for status in await stage.engine.jobs():
            state = JobState.DOWN if status.state is RunState.EXITED else JobState.UP
            job = Job(uuid=status.id, app=status.app, release=status.release, state=state, exit_status=status.exit_code)
            await stage.store.transact(lambda tx, job=job: changes.put_job(tx, job, formation=False))
        await stage.engine.bell.moved_past(seen)


@pytest.fixture
async def stage(open_stage):
    async with open_stage() as stage, trio.open_nursery() as nursery:
        nursery.start_soon(observe, stage)
        yield stage
        nursery.cancel_scope.cancel()


async def cat(process):
    while data := await process.read():
        await process.write(data)
    await process.write(b"bye", Stream.STDERR)
    return 42


async def test_the_head_is_as_flynns_client_wants_it(stage, client, release):
    stage.engine.script(exits(0))
    async with attach(client, JOBS, {"release": release.id}) as session:
        assert (session.head.status, session.head.headers) == (
            101,
            {"connection": "upgrade", "upgrade": "flynn-attach/0"},
        )
        assert await session.rest() == [("exit", 0)]


async def test_streams_go_both_ways_and_the_exit_comes_last(stage, client, release):
    stage.engine.script(cat)
    async with attach(client, JOBS, {"release": release.id, "args": ["cat"], "disable_log": True}) as session:
        await session.send(stdin(b"hello "), stdin(b"world"))
        assert await session.frame() == ("data", (1, b"hello "))
        await session.send(stdin(b""))
        assert await session.output() == ({1: b"world", 2: b"bye"}, ("exit", 42))
    [spec] = stage.engine.started
    assert (spec.args, spec.tty, spec.log) == (("cat",), False, False)
    [job] = (await client.get(JOBS)).json()
    assert (job["uuid"], job["state"], job["exit_status"], "type" in job) == (spec.id, "down", 42, False)
    assert await stage.engine.jobs() == []


async def test_a_long_output_arrives_whole(stage, client, release):
    piece = b"x" * 60_000

    async def talkative(process):
        for _ in range(100):
            await process.write(piece)
        return 0

    stage.engine.script(talkative)
    async with attach(client, JOBS, {"release": release.id}) as session:
        streams, end = await session.output()
    assert (len(streams[1]), end) == (6_000_000, ("exit", 0))


async def test_a_terminal_has_the_size_of_the_clients_and_follows_it(stage, client, release):
    sizes = trio.Event()

    async def shell(process):
        process.trap(28)
        await process.write(b"%d %d" % process.size)
        await process.next_signal()
        await process.write(b"%d %d" % process.size)
        sizes.set()
        return 0

    stage.engine.script(shell)
    body = {"release": release.id, "tty": True, "tty_lines": 24, "tty_columns": 80}
    async with attach(client, JOBS, body) as session:
        assert await session.frame() == ("data", (1, b"24 80"))
        await session.send(resize(40, 132), signal(28))
        assert await session.rest() == [("data", (1, b"40 132")), ("exit", 0)]
    assert stage.engine.started[0].log is False


async def test_signals_reach_the_job(stage, client, release):
    async def polite(process):
        process.trap(2, 15)
        await process.write(b"ready")
        return await process.next_signal()

    stage.engine.script(polite)
    async with attach(client, JOBS, {"release": release.id}) as session:
        assert await session.frame() == ("data", (1, b"ready"))
        await session.send(resize(1, 1), signal(0), signal(2**31), signal(15))
        assert await session.rest() == [("exit", 15)]


async def test_input_that_comes_too_late_does_not_cost_the_exit(stage, client, release):
    """A reset would: a proxy in between gives up on it before it has read the last frame."""
    async with attach(client, JOBS, {"release": release.id}) as session:
        stage.engine.crash(stage.engine.started[0].id, 42)
        await session.send(stdin(b"x"), stdin(b""))
        assert await session.frame() == ("exit", 42)
        await session.send(stdin(b"x"))
        assert await session.stream.receive_some(1) == b""
    await until_gone(stage)


async def test_a_job_killed_by_a_signal_says_which(stage, client, release):
    async with attach(client, JOBS, {"release": release.id}) as session:
        await session.send(signal(9))
        assert await session.rest() == [("exit", 137)]


async def test_a_job_that_ran_out_of_memory_says_so(stage, client, release):
    async with attach(client, JOBS, {"release": release.id}) as session:
        stage.engine.run_out_of_memory(stage.engine.started[0].id)
        assert await session.output() == ({3: OOM_TEXT.encode() + b"\n"}, ("exit", 137))


async def test_a_job_whose_exit_is_lost_ends_with_an_error(stage, client, release):
    async with attach(client, JOBS, {"release": release.id}) as session:
        job = stage.engine.started[0].id
        stage.engine.lose(job)
        assert await session.rest() == [("error", f"job {job} has ended: its exit status is lost")]


async def test_101_waits_until_the_job_runs(autojump_clock, stage, client, release):
    stage.engine.script(Behaviour(program=exits(0), start_s=5))
    started = trio.current_time()
    async with attach(client, JOBS, {"release": release.id}) as session:
        assert session.head.status == 101
        assert trio.current_time() - started == pytest.approx(5)
        await session.rest()


async def test_why_a_job_did_not_start_is_said_before_101(stage, client, release):
    text = 'exec: "nope": executable file not found in $PATH'
    stage.engine.script(fails_to_start(text))
    async with attach(client, JOBS, {"release": release.id, "args": ["nope"]}) as session:
        assert (session.head.status, session.head.json()["message"]) == (400, text)
    with stage.engine.outage():
        async with attach(client, JOBS, {"release": release.id}) as session:
            assert (session.head.status, session.head.json()["code"]) == (500, "unknown_error")


async def test_a_start_that_takes_for_ever_is_given_up(autojump_clock, stage, client, release):
    stage.engine.script(Behaviour(start_s=1000))
    async with attach(client, JOBS, {"release": release.id}) as session:
        assert session.head.status == 500
        assert "did not start within 60 s; try again" in session.head.json()["message"]
    assert stage.engine.started == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "syntax_error"),
        (b"{}", 400, "validation_error"),
        (b"x" * (1024 * 1024 + 1), 400, "request_body_too_big"),
        (b'{"release": "x"}', 404, None),
    ],
)
async def test_a_refusal_looks_like_every_other(client, release, body, status, code):
    async with attach(client, JOBS, body) as session:
        assert session.head.status == status
        if code:
            assert session.head.json()["code"] == code
        else:
            assert (session.head.body, session.head.content_type) == (b"", None)


async def test_the_same_keys_and_paths_hold(stage, client, release):
    for other in (stage.client(None), stage.client("wrong")):
        async with attach(other, JOBS, {"release": release.id}) as session:
            assert (session.head.status, session.head.body) == (401, b"")
    async with attach(client, "/apps/nobody/jobs", {"release": release.id}) as session:
        assert (session.head.status, session.head.body) == (404, b"")
    async with attach(client, "/nothing", {}) as session:
        assert (session.head.status, session.head.body) == (404, b"404 page not found\n")
    async with attach(client, "/apps", {}) as session:
        assert session.head.json()["message"] == (
            "POST /apps cannot be upgraded to flynn-attach/0, only one-off jobs can"
        )
    assert stage.engine.started == []


async def test_it_need_not_be_the_first_request_of_a_connection(stage, client, release):
    stage.engine.script(exits(7))
    exchange = Exchange(await stage.dial())
    for path in ("/apps", "/apps/nobody", "/ping"):
        await exchange.send("GET", path, client.headers({}), None)
        await exchange.head()
        await exchange.body()
        exchange.http.start_next_cycle()
    async with attach(client, JOBS, {"release": release.id}, exchange=exchange) as session:
        assert await session.rest() == [("exit", 7)]


async def test_what_is_sent_too_early_is_not_lost(stage, client, release):
    stage.engine.script(Behaviour(program=cat, start_s=0.01))
    early = stdin(b"early") + stdin(b"")
    async with attach(client, JOBS, {"release": release.id}, early=early) as session:
        assert await session.output() == ({1: b"early", 2: b"bye"}, ("exit", 42))


async def until_gone(stage):
    """Wait until the engine has no job any more."""
    with trio.fail_after(60):
        while await stage.engine.jobs():
            await stage.engine.bell.moved_past(stage.engine.bell.version)


@pytest.mark.parametrize("tty", [False, True])
async def test_when_the_client_hangs_up_its_job_is_stopped(stage, client, release, tty):
    async with attach(client, JOBS, {"release": release.id, "tty": tty}) as session:
        assert session.head.status == 101
    await until_gone(stage)
    [spec] = stage.engine.started
    assert stage.engine.stopped == [spec.id]
    assert (await client.get(f"{JOBS}/{spec.id}")).json()["state"] == "down"


async def test_a_job_that_ignores_the_hang_up_is_killed(autojump_clock, stage, client, release):
    stage.engine.script(ignore_sigterm)
    async with attach(client, JOBS, {"release": release.id}):
        pass
    await until_gone(stage)


async def test_a_hang_up_is_noticed_while_the_job_takes_no_input(autojump_clock, stage, client, release):
    async with attach(client, JOBS, {"release": release.id}) as session:
        with trio.move_on_after(5):
            while True:
                await session.send(stdin(b"x" * 32768))
    await until_gone(stage)


async def test_a_hang_up_before_the_job_runs_means_it_never_does(autojump_clock, stage, client, release):
    stage.engine.script(Behaviour(start_s=30))
    with trio.move_on_after(1):
        async with attach(client, JOBS, {"release": release.id}):
            raise AssertionError("unreachable")
    await trio.sleep(40)
    assert stage.engine.started == []


async def test_one_more_session_than_there_are_places_is_refused_and_may_try_again(
    autojump_clock, open_stage, settings, store, release
):
    async with open_stage(replace(settings, max_attached=2)) as stage:
        client, body = stage.client(), {"release": release.id}
        stage.engine.script(fails_to_start("no"), args=("nope",))
        for _ in range(3):
            async with attach(client, JOBS, body | {"args": ["nope"]}) as failed:
                assert failed.head.status == 400, "a start that fails gives its place back"
        async with attach(client, JOBS, body) as first, attach(client, JOBS, body):
            async with attach(client, JOBS, body) as refused:
                answer = refused.head.json()
            assert (refused.head.status, answer["code"], answer["retry"]) == (503, "service_unavailable", True)
            assert answer["message"].startswith("cannot attach to one more job: 2 have a client attached")
            assert len(stage.engine.started) == 2
            assert (await client.post(JOBS, body)).status == 200, "a detached job needs no place"
            await first.send(signal(9))
            await first.rest()
            await trio.sleep(RECORD_S + LINGER_S)
            async with attach(client, JOBS, body) as next_one:
                assert next_one.head.status == 101


async def test_what_is_no_frame_counts_as_a_hang_up(stage, client, release):
    async with attach(client, JOBS, {"release": release.id}) as session:
        await session.send(b"\xff")
        assert await session.rest() == [("exit", 143)]


async def test_when_the_controller_leaves_the_session_ends_with_a_reason(open_stage, settings, store, release):
    async with open_stage(replace(settings, drain_s=5)) as stage:
        async with attach(stage.client(), JOBS, {"release": release.id}) as session:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.controller.drain)
                assert await session.rest() == [("error", "the appliance is shutting down, and the job with it")]
        assert await stage.engine.jobs() == []
