import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.model import Strategy
from flynn_aio.scheduler.strategies import Balance, next_balance


def walk(strategy, old, goal, *, batch_size=None, new=None, exclusive=()):
    """Every balance a deployment goes through, as pairs of counts."""
    advance = next_balance(strategy, batch_size=batch_size, exclusive=exclusive)
    balance, seen = Balance(old, new or {}), []
    while (following := advance(balance, goal)) is not None:
        balance = following
        seen.append((dict(balance.old), dict(balance.new)))
    return seen


def p(old, new):
    return {"printer": old}, {"printer": new}


@pytest.mark.parametrize(
    ("strategy", "count", "batch_size", "seen"),
    [
        (Strategy.ALL_AT_ONCE, 2, None, [p(2, 2)]),
        (Strategy.ONE_BY_ONE, 2, None, [p(2, 1), p(1, 1), p(1, 2), p(0, 2)]),
        (Strategy.ONE_DOWN_ONE_UP, 2, None, [p(1, 0), p(1, 1), p(0, 1), p(0, 2)]),
        (Strategy.IN_BATCHES, 2, None, [p(2, 1), p(1, 1), p(1, 2), p(0, 2)]),
        (Strategy.IN_BATCHES, 8, 4, [p(8, 4), p(4, 4), p(4, 8), p(0, 8)]),
        (Strategy.IN_BATCHES, 3, 2, [p(3, 2), p(1, 2), p(1, 3), p(0, 3)]),
        (Strategy.IN_BATCHES, 1, 5, [p(1, 1), p(0, 1)]),
    ],
)
def test_each_strategy_has_its_order(strategy, count, batch_size, seen):
    steps = walk(strategy, {"printer": count}, {"printer": count}, batch_size=batch_size)
    assert [(old["printer"], new.get("printer", 0)) for old, new in steps] == [
        (old["printer"], new["printer"]) for old, new in seen
    ]


def test_types_go_one_after_the_other_by_name():
    assert walk(Strategy.ONE_BY_ONE, {"web": 1, "clock": 1}, {"web": 1, "clock": 1}) == [
        ({"web": 1, "clock": 1}, {"clock": 1}),
        ({"web": 1, "clock": 0}, {"clock": 1}),
        ({"web": 1, "clock": 0}, {"clock": 1, "web": 1}),
        ({"web": 0, "clock": 0}, {"clock": 1, "web": 1}),
    ]


@pytest.mark.parametrize(
    ("strategy", "batch_size", "seen"),
    [
        (Strategy.ALL_AT_ONCE, None, [(1, 3, 1)]),
        (Strategy.ONE_BY_ONE, None, [(1, 2, 0), (1, 1, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)]),
        (Strategy.IN_BATCHES, 2, [(1, 1, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)]),
        (Strategy.ONE_DOWN_ONE_UP, None, [(1, 2, 0), (1, 1, 0), (1, 0, 0), (0, 0, 0), (0, 0, 1)]),
    ],
)
def test_a_type_the_new_release_lacks_goes_in_its_turn_or_with_the_rest(strategy, batch_size, seen):
    steps = walk(strategy, {"web": 1, "gone": 3}, {"web": 1, "gone": 0}, batch_size=batch_size)
    assert [(old["web"], old["gone"], new.get("web", 0)) for old, new in steps] == seen
    assert all("gone" not in new for _, new in steps)


def test_what_was_scaled_up_meanwhile_goes_batch_by_batch_as_well():
    steps = walk(Strategy.IN_BATCHES, {"web": 5}, {"web": 2}, batch_size=2)
    assert [(old["web"], new.get("web", 0)) for old, new in steps] == [(3, 0), (2, 0), (2, 2), (0, 2)]


@pytest.mark.parametrize(
    ("strategy", "seen"),
    [
        (Strategy.ALL_AT_ONCE, [(22, 2), (12, 2), (12, 12), (2, 12), (2, 22)]),
        (Strategy.ONE_BY_ONE, [(22, 1), (21, 1), (21, 2), (20, 2), (10, 2), (10, 12), (0, 12), (0, 22)]),
    ],
)
def test_types_that_hand_something_over_go_last_and_one_down_one_up(strategy, seen):
    counts = {"web": 2, "db": 2}
    steps = walk(strategy, counts, counts, exclusive=["db", "gone"])
    assert [(10 * old["db"] + old["web"], 10 * new.get("db", 0) + new.get("web", 0)) for old, new in steps] == seen


def test_what_the_new_release_has_already_is_not_done_again():
    assert walk(Strategy.ALL_AT_ONCE, {"web": 2}, {"web": 2}, new={"web": 2}) == []


def test_a_database_goes_down_before_it_comes_up_and_before_all_others():
    advance = next_balance(Strategy.SIRENIA, batch_size=None, database="postgres")
    goal = {"postgres": 1, "api": 1}
    balance, seen = Balance(goal, {}), []
    while (following := advance(balance, goal)) is not None:
        balance = following
        seen.append(
            (balance.old["postgres"], balance.new.get("postgres", 0), balance.old["api"], balance.new.get("api", 0))
        )
    assert seen == [(0, 0, 1, 0), (0, 1, 1, 0), (0, 1, 1, 1), (0, 1, 0, 1)]


SIMPLE = [Strategy.ALL_AT_ONCE, Strategy.ONE_BY_ONE, Strategy.IN_BATCHES, Strategy.ONE_DOWN_ONE_UP]
COUNTS = st.dictionaries(st.sampled_from(["clock", "web", "worker"]), st.integers(1, 9))


@given(
    strategy=st.sampled_from(SIMPLE),
    goal=COUNTS,
    old=st.dictionaries(st.sampled_from(["clock", "gone", "web", "worker"]), st.integers(0, 12)),
    new=st.dictionaries(st.sampled_from(["clock", "web", "worker"]), st.integers(0, 9)),
    batch_size=st.none() | st.integers(1, 5),
    exclusive=st.sets(st.sampled_from(["clock", "gone", "web"])),
)
def test_from_any_counts_the_new_release_gets_there_and_nothing_of_it_is_taken_back(
    strategy, goal, old, new, batch_size, exclusive
):
    steps = walk(strategy, old, goal, new=new, batch_size=batch_size, exclusive=exclusive)
    before = (old, new)
    for step in steps:
        assert all(step[1].get(kind, 0) >= before[1].get(kind, 0) for kind in goal)
        assert all(step[0].get(kind, 0) <= before[0].get(kind, 0) for kind in before[0])
        before = step
    assert all(before[1].get(kind, 0) >= count for kind, count in goal.items())


@given(goal=COUNTS, batch_size=st.integers(1, 5))
def test_in_batches_never_has_less_than_wanted_nor_more_than_a_batch_too_many(goal, batch_size):
    for old, new in walk(Strategy.IN_BATCHES, goal, goal, batch_size=batch_size):
        for kind, count in goal.items():
            assert count <= old[kind] + new.get(kind, 0) <= count + batch_size


@given(goal=COUNTS)
def test_one_down_one_up_never_has_more_than_wanted_nor_less_than_one_short(goal):
    for old, new in walk(Strategy.ONE_DOWN_ONE_UP, goal, goal):
        for kind, count in goal.items():
            assert count - 1 <= old[kind] + new.get(kind, 0) <= count
