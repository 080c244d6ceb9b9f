"""The store as its readers and writers see it."""

import sqlite3
import threading
from contextlib import closing

import pytest
import trio

from flynn_aio.clock import SystemClock
from flynn_aio.errors import NotFound, Unavailable, ValidationError
from flynn_aio.model import App, EventID
from flynn_aio.settings import StoreSettings
from flynn_aio.store import DatabaseBroken, EventFilter, Overflow, changes, open_store, queries

from ..support.build import DOMAIN, make_app


async def take(subscription, count):
    return [await subscription.receive() for _ in range(count)]


async def test_a_change_and_its_events_become_visible_together(store):
    async with store.subscribe(EventFilter()) as events:
        app = await make_app(store)
        assert [event.object_type for event in await take(events, 2)] == ["app", "route"]
    assert await store.read(lambda db: queries.app(db, "hello")) == app


async def test_a_change_that_raises_leaves_nothing(store):
    seen = store.changes.version

    def change(tx):
        changes.create_app(tx, App(name="hello", meta={}), route_domain=DOMAIN)
        raise ValidationError("on second thoughts")

    with pytest.raises(ValidationError):
        await store.transact(change)
    assert await store.read(queries.apps) == []
    assert await store.read(lambda db: queries.events(db, EventFilter())) == []
    assert store.changes.version == seen


async def test_a_replay_goes_over_into_live_without_gap_or_overlap(store):
    await make_app(store, "one")
    async with store.subscribe(EventFilter(object_types=frozenset({"app"})), past=True) as events:
        await make_app(store, "two")
        first, second = await take(events, 2)
        assert first.id < second.id
        await make_app(store, "three")
        third = await events.receive()
        assert third.id > second.id


async def test_a_subscription_resumes_after_the_last_id_it_got(store):
    await make_app(store, "one")
    async with store.subscribe(EventFilter(), since=EventID(1)) as events:
        assert (await events.receive()).id == 2


async def test_count_limits_a_replay_to_the_newest_events_in_order(store):
    for name in ("one", "two", "three"):
        await make_app(store, name)
    wanted = EventFilter(object_types=frozenset({"app"}))
    async with store.subscribe(wanted, past=True, count=2) as events:
        names = [
            (await store.read(lambda db, e=event: queries.app(db, e.object_id))).name for event in await take(events, 2)
        ]
    assert names == ["two", "three"]


async def test_a_reader_a_whole_buffer_behind_is_told_where_to_resume(tmp_path, clock):
    async with open_store(StoreSettings(path=tmp_path / "small.db", event_buffer=3), clock) as store:
        async with store.subscribe(EventFilter()) as events:
            for name in ("one", "two", "three"):  # two events each
                await make_app(store, name)
            assert [event.id for event in await take(events, 3)] == [1, 2, 3]
            with pytest.raises(Overflow) as overflow:
                await events.receive()
        assert overflow.value.last_id == 3
        async with store.subscribe(EventFilter(), since=overflow.value.last_id) as events:
            assert [event.id for event in await take(events, 3)] == [4, 5, 6]


async def test_cancelling_a_write_still_publishes_what_it_committed(tmp_path):
    async with open_store(StoreSettings(path=tmp_path / "flynn.db"), SystemClock()) as store:
        async with store.subscribe(EventFilter()) as events:
            with trio.CancelScope() as scope:

                def change(tx):
                    trio.from_thread.run_sync(scope.cancel)
                    return changes.create_app(tx, App(name="hello", meta={}), route_domain=None)

                await store.transact(change)
            assert (await events.receive()).object_type == "app"
            assert (await store.read(queries.apps))[0].name == "hello"


async def test_what_was_acknowledged_is_there_after_the_process_is_gone(tmp_path, clock):
    settings = StoreSettings(path=tmp_path / "flynn.db")
    async with open_store(settings, clock) as store:
        await make_app(store)
        copy = tmp_path / "crashed.db"  # what a kill -9 would leave: no checkpoint, no close
        for suffix in ("", "-wal"):
            (tmp_path / f"crashed.db{suffix}").write_bytes((tmp_path / f"flynn.db{suffix}").read_bytes())
    async with open_store(StoreSettings(path=copy), clock) as store:
        assert [app.name for app in await store.read(queries.apps)] == ["hello"]


@pytest.mark.parametrize(
    "content", [b"this is not a database, it is a poem " * 200, b"SQLite format 3\0" + b"\xff" * 5000]
)
async def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path, clock, content):
    path = tmp_path / "flynn.db"
    path.write_bytes(content)
    with pytest.raises(DatabaseBroken, match=r"flynn\.db|database"):
        async with open_store(StoreSettings(path=path), clock):
            pass
    assert path.read_bytes() == content


async def test_nobody_else_may_read_the_database_also_one_that_was_open_to_all(tmp_path, clock):
    """It holds the apps' variables and TLS keys."""
    settings = StoreSettings(path=tmp_path / "flynn.db")
    for _ in range(2):
        async with open_store(settings, clock) as store:
            await store.transact(lambda tx: changes.set_cluster_value(tx, "a", "b"))
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("flynn.db*")}
            assert modes == dict.fromkeys(("flynn.db", "flynn.db-wal", "flynn.db-shm"), 0o600)
        settings.path.chmod(0o644)


async def test_a_database_of_a_newer_version_is_refused(tmp_path, clock):
    settings = StoreSettings(path=tmp_path / "flynn.db")
    async with open_store(settings, clock):
        pass
    conn = sqlite3.connect(settings.path)
    conn.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('flynn-aio', 'from_2030', '')"
    )
    conn.commit()
    conn.close()
    with pytest.raises(DatabaseBroken, match="from_2030"):
        async with open_store(settings, clock):
            pass


async def test_two_may_read_at_once_and_others_wait_for_them(tmp_path):
    together = threading.Barrier(2, timeout=5)  # who reads alone waits here in vain

    async with open_store(StoreSettings(path=tmp_path / "flynn.db"), SystemClock()) as store:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(store.read, lambda _: together.wait())


async def test_a_locked_database_is_waited_for_by_all_at_once_and_not_by_one_after_the_other(tmp_path, clock):
    settings = StoreSettings(path=tmp_path / "flynn.db", busy_timeout_s=0.5)
    refused, written = [], []

    async def write(name):
        try:
            written.append((await make_app(store, name)).name)
        except Unavailable as exc:
            refused.append(exc.message)

    async with open_store(settings, clock) as store:
        with closing(sqlite3.connect(settings.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(write, f"early-{number}")
            assert trio.current_time() - began < 1.5
            assert len(refused) == 6
            assert all("end that one" in why and "nothing was changed" in why for why in refused), refused
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, "late")
                await trio.sleep(0.1)
                other.execute("ROLLBACK")
        assert written == ["late"]
        assert [app.name for app in await store.read(queries.apps)] == ["late"]


async def test_a_mistake_of_ours_is_not_blamed_on_the_database(store):
    with pytest.raises(sqlite3.ProgrammingError):
        await store.read(lambda db: db.conn.execute("SELECT ?", ()))
    assert await store.read(queries.apps) == []


async def test_a_query_that_finds_nothing_says_what_it_looked_for(store):
    with pytest.raises(NotFound, match="'ghost'"):
        await store.read(lambda db: queries.app(db, "ghost"))
