"""Keys: several at once, compared and counted; what changes about them, and what may not."""

import hmac
import logging

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flynn_aio.errors import Conflict, NotFound, ObjectExists, RateLimited, Unauthorized, ValidationError
from flynn_aio.model import encode
from flynn_aio.store import EventFilter, Failures, Keyring, changes, key_hash, keys, last_hop, queries

ADDRESS = "203.0.113.9"


@pytest.fixture
def keyring(store, clock):
    return Keyring(store, clock)


async def add(store, name, key=None):
    return await store.transact(lambda tx: changes.add_key(tx, name, key_hash(key or name)))


async def remove(store, name, operators="the operator's"):
    return await store.transact(lambda tx: changes.remove_key(tx, name, operators=key_hash(operators)))


async def test_every_key_opens_and_is_known_by_its_name(store, keyring):
    await add(store, "one")
    assert await keyring.authenticate("one", address=ADDRESS) == "one"
    await add(store, "two", "secret")  # while the first is in use
    for _ in range(2):
        assert await keyring.authenticate("secret", address=ADDRESS) == "two"
        assert await keyring.authenticate("one", address="") == "one"


@pytest.mark.parametrize("key", ["", "Secret", "secret ", "two", "\udcff", "secret\0", "s" * 100_000])
async def test_another_key_does_not_open(store, keyring, key):
    await add(store, "two", "secret")
    with pytest.raises(Unauthorized):
        await keyring.authenticate(key, address=ADDRESS)


async def test_without_any_key_nothing_opens(keyring):
    for key in ("", "x"):
        with pytest.raises(Unauthorized):
            await keyring.authenticate(key, address=ADDRESS)


async def test_a_removed_key_stops_working_at_once(store, keyring):
    await add(store, "one")
    await add(store, "two")
    await keyring.authenticate("one", address=ADDRESS)
    await remove(store, "one")
    with pytest.raises(Unauthorized):
        await keyring.authenticate("one", address=ADDRESS)
    assert await keyring.authenticate("two", address=ADDRESS) == "two"


async def test_how_long_a_comparison_takes_does_not_tell_which_key_matched(store, keyring, monkeypatch):
    for name in ("one", "two", "three"):
        await add(store, name)
    compared, compare_digest = [], hmac.compare_digest

    def compare(stored, given):
        compared.append(stored)
        return compare_digest(stored, given)

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    counts = []
    for key in ("one", "two", "three", "none"):
        compared.clear()
        try:
            await keyring.authenticate(key, address="")
        except Unauthorized:
            assert key == "none"
        counts.append(len(compared))
    assert counts == [3, 3, 3, 3]


async def test_no_key_is_in_the_database_or_in_an_event(store, tmp_path):
    key = await add(store, "one", "a-secret-of-the-operator")
    await add(store, "two")
    await remove(store, "one")
    events = await store.read(lambda db: queries.events(db, EventFilter()))
    assert [(event.object_type, event.object_id) for event in events] == [
        ("key_deletion", "one"),
        ("key", "two"),
        ("key", "one"),
    ]
    assert bytes(events[2].data) == encode({"name": "one", "created_at": key.created_at})
    for file in tmp_path.glob("flynn.db*"):
        assert b"a-secret-of-the-operator" not in file.read_bytes()
        assert key_hash("a-secret-of-the-operator").hex().encode() not in file.read_bytes()


async def test_a_key_gets_a_name_when_nobody_gave_one(store):
    names = {(await add(store, "", key)).name for key in ("x", "y")}
    assert len(names) == 2
    assert all(name.startswith("key-") for name in names)
    assert {key.name for key in await store.read(queries.keys)} == names


@pytest.mark.parametrize("name", ["A", "-a", "a-", "a b", "a/b", ".", "..", "ä", "a\n", "a" * 101, "a\0"])
async def test_a_name_is_one_that_a_log_and_a_url_can_carry(store, name):
    with pytest.raises(ValidationError, match="name"):
        await add(store, name)
    assert await store.read(queries.keys) == []


@pytest.mark.parametrize("size", [0, 31, 33])
async def test_a_hash_is_one(store, size):
    with pytest.raises(ValidationError, match="64 hexadecimal digits"):
        await store.transact(lambda tx: changes.add_key(tx, "one", bytes(size)))


async def test_a_name_or_a_key_is_there_once(store):
    await add(store, "one", "secret")
    with pytest.raises(ObjectExists, match='key "one" already exists'):
        await add(store, "one", "other")
    with pytest.raises(ObjectExists, match='this key already exists, as "one"'):
        await add(store, "two", "secret")


async def test_the_operators_own_key_the_last_one_and_an_unknown_one_are_not_removed(store):
    await add(store, "own")
    with pytest.raises(Conflict, match="the operator's own.*flynn-aio key rotate"):
        await remove(store, "own", operators="own")
    with pytest.raises(Conflict, match="the last one.*flynn-aio key add"):
        await remove(store, "own")
    with pytest.raises(NotFound, match="'ghost'"):
        await remove(store, "ghost")
    assert [key.name for key in await store.read(queries.keys)] == ["own"]


async def refuse(keyring, times, *, address=ADDRESS):
    for _ in range(times):
        with pytest.raises(Unauthorized):
            await keyring.authenticate("wrong", address=address)


async def test_wrong_keys_are_slowed_and_a_right_one_of_the_same_address_is_not(autojump_clock, store, keyring):
    await add(store, "one")
    started = trio.current_time()
    await refuse(keyring, 5)
    assert trio.current_time() == started
    await refuse(keyring, 10)
    assert trio.current_time() - started == pytest.approx(0.25 + 0.5 + 1 + 7 * 2)
    started = trio.current_time()
    assert await keyring.authenticate("one", address=ADDRESS) == "one"
    await refuse(keyring, 5, address="203.0.113.10")
    assert trio.current_time() == started


async def test_a_crowd_of_wrong_keys_is_refused_at_once_and_a_right_one_still_is_not(autojump_clock, store, keyring):
    await add(store, "one")
    outcomes = []

    async def try_one():
        try:
            await keyring.authenticate("wrong", address=ADDRESS)
        except (Unauthorized, RateLimited) as exc:
            outcomes.append(type(exc))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(try_one)
        await wait_all_tasks_blocked()
        assert outcomes.count(RateLimited) == 88
        assert await keyring.authenticate("one", address=ADDRESS) == "one"
    assert outcomes.count(Unauthorized) == 12
    assert trio.current_time() < 10
    assert keyring.failed == 100


async def test_what_does_not_come_through_the_router_is_counted_but_not_slowed(autojump_clock, keyring):
    started = trio.current_time()
    await refuse(keyring, 50, address="")
    assert trio.current_time() == started
    assert [(failure.address, failure.count) for failure in keyring.failures()] == [("inside", 50)]


async def test_no_key_at_all_is_no_attempt(keyring):
    """Git asks without one first, and browsers do."""
    for _ in range(10):
        with pytest.raises(Unauthorized):
            await keyring.authenticate("", address=ADDRESS)
    assert (keyring.failed, keyring.failures()) == (0, [])


async def test_it_is_known_who_failed_and_when_and_the_log_is_not_flooded(autojump_clock, keyring, clock, caplog):
    caplog.set_level(logging.WARNING)
    first = clock.now()
    await refuse(keyring, 1)
    await trio.sleep(60)
    await refuse(keyring, 12, address="2001:db8::7")
    latest, earlier = keyring.failures()
    assert (latest.address, latest.count) == ("2001:db8::/64", 12)
    assert earlier == Failures(address=ADDRESS, count=1, last_at=first)
    assert [(record.message, record.address, record.so_far) for record in caplog.records] == [
        ("a wrong key", ADDRESS, 1),
        ("a wrong key", "2001:db8::/64", 1),
        ("a wrong key", "2001:db8::/64", 10),
    ]
    assert "wrong" not in {value for record in caplog.records for value in vars(record).values()}


async def test_it_is_known_when_a_key_was_used(autojump_clock, store, keyring, clock):
    await add(store, "one")
    assert keyring.last_used("one") is None
    await trio.sleep(5)
    await keyring.authenticate("one", address=ADDRESS)
    assert keyring.last_used("one") == clock.now()


async def test_what_goes_on_with_a_key_ends_when_it_is_removed(keyring):
    ended = []

    async def follow(name):
        with trio.CancelScope() as scope, keyring.session(name, scope):
            await trio.sleep_forever()
        assert scope.cancelled_caught
        ended.append(name)

    async with trio.open_nursery() as nursery:
        for name in ("one", "one", "two"):
            nursery.start_soon(follow, name)
        await wait_all_tasks_blocked()
        keyring.end_sessions("one")
        keyring.end_sessions("nobody")
        await wait_all_tasks_blocked()
        assert ended == ["one", "one"]
        keyring.end_sessions("two")


async def test_what_begins_with_a_key_just_after_it_was_removed_ends_at_once(store, keyring):
    """Between the look at the key and the first byte of a stream something may be read, or a database copied."""
    await add(store, "one")
    await add(store, "two")
    name = await keyring.authenticate("one", address=ADDRESS)
    await remove(store, "one")
    keyring.end_sessions("one")
    with trio.CancelScope() as scope, keyring.session(name, scope):
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    await add(store, "one", "another")
    name = await keyring.authenticate("another", address=ADDRESS)
    with trio.CancelScope() as scope, keyring.session(name, scope):
        await trio.lowlevel.checkpoint()
    assert not scope.cancelled_caught


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("1.2.3.4,,x,203.0.113.9", "203.0.113.9"),
        ("", ""),
    ],
)
def test_only_what_the_router_put_last_counts(header, address):
    assert last_hop(header) == address
