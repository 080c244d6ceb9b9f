"""Stories with the real store: jobs come, answer, fail and leave."""

import logging
import socket
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from flynn_aio.discoverd import Snapshot, open_discoverd, open_monitor
from flynn_aio.discoverd.services import RESYNC_S
from flynn_aio.errors import EngineError
from flynn_aio.model import HealthCheck, Job, JobID, JobState, Port, PortService, ProcessType
from flynn_aio.settings import DiscoverdSettings
from flynn_aio.store import changes, queries
from flynn_aio.watch import Watch

from ..support.build import make_app, make_release

HOME = "127.0.0.1"
SETTINGS = DiscoverdSettings(address=HOME, dns_port=0, recursors=("127.0.0.1:1",))
MS = 1_000_000


@pytest.fixture
def port():
    """A port nobody else can take, closed until `listening`."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOME, 0))
        yield sock


@asynccontextmanager
async def listening(bound: socket.socket):
    """Answer on a bound port, through a copy that is gone afterwards."""
    address = bound.getsockname()
    bound.close()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen()
        yield sock


async def put(store, number: int, release, state: JobState, *, address: str = HOME) -> JobID:
    """Write job `number` of the release's `web` type."""
    job = JobID(f"00000000-0000-4000-8000-{number:012}")
    row = Job(uuid=job, app=release.app_id, release=release.id, type="web", state=state)
    await store.transact(lambda tx: changes.put_job(tx, row, address=address, started_at=tx.now, formation=True))
    return job


async def release_on(store, *ports: int, check: HealthCheck | None = None, name: str = "hello"):
    app = await make_app(store, name)
    service = PortService(name=f"{name}-web", create=True, check=check)
    process = ProcessType(args=["serve"], ports=[Port(port=one, proto="tcp", service=service) for one in ports])
    return await make_release(store, app, {"web": process})


async def until(services, condition):
    """Wait until the snapshot is as wanted, and return it."""
    with trio.fail_after(5):
        while True:
            seen, snapshot = services.snapshot.version, services.snapshot.value
            if condition(snapshot):
                return snapshot
            await services.snapshot.moved_past(seen)


TCP = HealthCheck(type="tcp", interval=50 * MS)


async def test_a_job_comes_answers_stops_and_is_gone(store, clock, port):
    number = port.getsockname()[1]
    release = await release_on(store, number, check=TCP)
    async with open_discoverd(SETTINGS, store, clock) as services:
        assert services.dns_port > 0
        job = await put(store, 1, release, JobState.STARTING)
        snapshot = await until(services, lambda now: job in now.waiting and "refused" in now.waiting[job])
        assert snapshot.waiting[job].startswith(f"connection refused on 127.0.0.1:{number}, 1 probe in 0.")
        assert snapshot.instances == {"hello-web": ()}

        async with listening(port):
            snapshot = await until(services, lambda now: job in now.up)
            assert snapshot.leader("hello-web").addr == f"127.0.0.1:{number}"
            await put(store, 1, release, JobState.STOPPING)
            snapshot = await until(services, lambda now: not now.up)
            assert snapshot.instances == {"hello-web": ()}


async def test_a_job_without_a_check_is_there_at_once(store, clock):
    release = await release_on(store, 9, check=None)
    async with open_discoverd(SETTINGS, store, clock) as services:
        job = await put(store, 1, release, JobState.STARTING)
        snapshot = await until(services, lambda now: job in now.up)
    assert [one.addr for one in snapshot.instances["hello-web"]] == ["127.0.0.1:9"]


async def test_a_job_without_an_address_is_not_asked(store, clock):
    release = await release_on(store, 9, check=None)
    async with open_discoverd(SETTINGS, store, clock) as services:
        await put(store, 1, release, JobState.PENDING, address="")
        other = await put(store, 2, release, JobState.STARTING)
        assert (await until(services, lambda now: now.up)).up == {other}


async def test_adopted_jobs_are_registered_when_the_door_opens(store, clock, port):
    """The router finds its backends, and who started first leads again."""
    release = await release_on(store, port.getsockname()[1], check=TCP)
    async with listening(port):
        jobs = [await put(store, number, release, JobState.UP, address=f"127.0.0.{number}") for number in (1,)]
        async with open_discoverd(SETTINGS, store, clock) as services:
            snapshot = services.snapshot.value
            assert snapshot.up == set(jobs)
            assert [one.index for one in snapshot.instances["hello-web"]] == [1]


async def test_rows_of_jobs_that_are_gone_are_not_believed_at_the_start(store, clock, port, caplog):
    """After a `down` somebody else may answer at their addresses: a transparent proxy, say."""
    release = await release_on(store, port.getsockname()[1], check=TCP)
    gone, moved = [await put(store, number, release, JobState.UP) for number in (1, 2)]
    with caplog.at_level(logging.INFO):
        async with listening(port), open_discoverd(SETTINGS, store, clock, running={moved: "127.0.0.9"}) as services:
            assert services.snapshot.value == Snapshot()
            await put(store, 1, release, JobState.DOWN)
            new = await put(store, 3, release, JobState.STARTING)
            assert (await until(services, lambda now: now.up)).up == {new}
    assert [record.job for record in caplog.records if record.message == "instance up"] == [new]
    assert gone != new


async def test_a_job_that_stops_answering_leaves_and_comes_back(store, clock, port):
    release = await release_on(store, port.getsockname()[1], check=TCP)
    async with open_discoverd(SETTINGS, store, clock) as services:
        async with listening(port) as sock:
            job = await put(store, 1, release, JobState.UP)
            await until(services, lambda now: job in now.up)
            again = sock.getsockname()
        snapshot = await until(services, lambda now: job in now.waiting)
        assert "connection refused" in snapshot.waiting[job]
        assert snapshot.instances == {"hello-web": ()}
        with socket.socket() as back:
            back.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            back.bind(again)
            back.listen()
            snapshot = await until(services, lambda now: job in now.up)
            assert snapshot.leader("hello-web").index == 2


async def test_kill_down_is_a_verdict_with_a_reason(store, clock, port):
    number = port.getsockname()[1]
    check = HealthCheck(type="tcp", kill_down=True, start_timeout=250 * MS)
    release = await release_on(store, number, check=check)
    async with open_discoverd(SETTINGS, store, clock) as services:
        job = await put(store, 1, release, JobState.STARTING)
        snapshot = await until(services, lambda now: now.dead)
        assert snapshot.dead[job].startswith(f"connection refused on 127.0.0.1:{number}, ")
        assert snapshot.waiting == {}
        await put(store, 1, release, JobState.STOPPING)
        assert (await until(services, lambda now: not now.dead)).up == frozenset()


async def test_what_was_seen_of_a_job_that_is_given_up_is_told_with_the_verdict(store, clock, port):
    number = port.getsockname()[1]
    release = await release_on(store, number, check=HealthCheck(type="tcp", kill_down=True, start_timeout=250 * MS))

    async def listening(job):
        return ("127.0.0.1:3000",)

    async with open_discoverd(SETTINGS, store, clock, listening=listening) as services:
        job = await put(store, 1, release, JobState.STARTING)
        snapshot = await until(services, lambda now: now.dead)
    seen = snapshot.evidence[job]
    assert (seen.given_up, seen.opened) == (True, ["127.0.0.1:3000"])
    [run] = seen.probes
    assert run.error == f"connection refused on 127.0.0.1:{number}"
    assert run.count >= 2


async def test_an_engine_that_cannot_say_where_a_job_listens_holds_up_no_verdict(store, clock, port):
    release = await release_on(
        store, port.getsockname()[1], check=HealthCheck(type="tcp", kill_down=True, start_timeout=50 * MS)
    )

    async def listening(job):
        raise EngineError("Podman does not answer")

    async with open_discoverd(SETTINGS, store, clock, listening=listening) as services:
        job = await put(store, 1, release, JobState.STARTING)
        assert (await until(services, lambda now: now.dead)).evidence[job].opened is None


async def test_a_port_that_swallows_everything_is_given_up_in_time(store, clock, port):
    """A full accept queue answers nothing: the probe's own deadline ends it."""
    settings = DiscoverdSettings(address=HOME, dns_port=0, recursors=("127.0.0.1:1",), probe_timeout_s=0.1)
    check = HealthCheck(type="http", interval=50 * MS)
    release = await release_on(store, port.getsockname()[1], check=check)
    async with listening(port), open_discoverd(settings, store, clock) as services:
        job = await put(store, 1, release, JobState.STARTING)
        snapshot = await until(services, lambda now: "within" in now.waiting.get(job, ""))
    assert "no answer from 127.0.0.1" in snapshot.waiting[job]
    assert "within 0.1 s" in snapshot.waiting[job]


async def test_waiting_readers_are_not_woken_for_every_probe(store, clock, port):
    release = await release_on(store, port.getsockname()[1], check=TCP)
    async with open_discoverd(SETTINGS, store, clock) as services:
        job = await put(store, 1, release, JobState.STARTING)
        await until(services, lambda now: "refused" in now.waiting.get(job, ""))
        before = services.snapshot.version
        await trio.sleep(0.5)
        assert services.snapshot.version - before <= 1


async def test_what_changes_elsewhere_wakes_nobody(store, clock):
    release = await release_on(store, 9, check=None)
    async with open_discoverd(SETTINGS, store, clock) as services:
        await put(store, 1, release, JobState.UP)
        await until(services, lambda now: now.up)
        before = services.snapshot.version
        await make_app(store, "other")
        await trio.testing.wait_all_tasks_blocked()
        assert services.snapshot.version == before


async def test_hundreds_of_jobs_are_not_probed_at_once_for_ever(autojump_clock, store, clock):
    """All are asked when we start, so that the router finds them; then their probes spread over the interval."""
    release = await release_on(store, 9, check=HealthCheck(type="tcp"))
    for number in range(1, 501):
        await put(store, number, release, JobState.UP, address=f"10.0.{number // 250}.{number % 250 + 1}")
    asked: list[float] = []

    async def probe(check, addr):
        asked.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return ""

    began = trio.current_time()
    async with open_monitor(store, Watch(Snapshot()), probe_timeout_s=2.0, probe=probe):
        await trio.sleep(6.5)
    later = [at - began for at in asked if at > began]
    assert len(asked) - len(later) == 500
    busiest = max(sum(at <= one < at + 0.1 for one in later) for at in later)
    assert busiest < 3 * 500 * 0.1 / 2  # evenly, it would be 25 in a tenth of a second


async def test_a_change_reads_the_jobs_of_its_app_alone(store, clock, monkeypatch):
    read: list[set[str] | None] = []
    original = queries.placed_jobs

    def noting(db, apps=None):
        read.append(apps if apps is None else {*apps})
        return original(db, apps)

    monkeypatch.setattr(queries, "placed_jobs", noting)
    mine, other = await release_on(store, 8080), await release_on(store, 8081, name="other")
    theirs = await put(store, 1, other, JobState.UP)
    async with open_discoverd(SETTINGS, store, clock) as services:
        assert services.snapshot.value.up == {theirs}
        job = await put(store, 2, mine, JobState.UP)
        await until(services, lambda now: now.up == {theirs, job})
        seen = services.snapshot.version
        await store.transact(lambda tx: changes.set_cluster_value(tx, "of", "no app"))
        await put(store, 2, mine, JobState.STOPPING)
        await until(services, lambda now: now.up == {theirs})
        assert services.snapshot.version == seen + 1
    assert read == [None, {mine.app_id}, {mine.app_id}]


async def test_followed_says_up_to_which_change_the_snapshot_is(store, clock):
    release = await release_on(store, 8080)
    async with open_discoverd(SETTINGS, store, clock) as services:
        await put(store, 1, release, JobState.UP)
        changed = store.changes.version
        assert services.followed.value < changed
        assert not services.snapshot.value.up
        with trio.fail_after(3):
            await services.followed.moved_past(services.followed.version)
        assert services.followed.value == changed
        assert services.snapshot.value.up


async def test_what_was_not_heard_of_is_read_in_time(autojump_clock, store, clock, monkeypatch):
    release = await release_on(store, 8080)
    snapshot = Watch(Snapshot())
    async with open_monitor(store, snapshot, probe_timeout_s=1.0):
        monkeypatch.setattr(store, "touched_since", lambda version: {})
        job = await put(store, 1, release, JobState.UP)
        await trio.sleep(RESYNC_S - 1)
        assert snapshot.value.up == frozenset()
        await trio.sleep(2)
        assert snapshot.value.up == {job}
