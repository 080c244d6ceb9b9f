"""Strategies: in which order a deployment exchanges the jobs of two releases. Pure.

A strategy is one question: both formations being as they are, what comes next? Nothing else is
remembered, so a deployment that was interrupted goes on from the counts it finds.

Source: `deploy.md` §3; Flynn `controller/worker/deployment`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from ..model import Strategy

Counts = Mapping[str, int]
"""Process type -> how many."""


@dataclass(frozen=True, slots=True)
class Balance:
    """How many jobs of each type the old and the new release are to have."""

    old: Counts
    new: Counts


Next = Callable[[Balance, Counts], Balance | None]
"""Both formations and the counts the new one is to reach, 0 for a type it lacks -> what comes next;
``None`` at the end. What is left of the old one then goes without anybody waiting for it."""


def next_balance(
    strategy: Strategy, *, batch_size: int | None, exclusive: Collection[str] = (), database: str = ""
) -> Next:
    """Return how `strategy` goes on.

    Args:
        batch_size: jobs per batch of `in-batches`; by default one per host, so one.
        exclusive: the types whose new jobs need what only an old one can give back. Whatever the strategy,
            they go one down, one up, and last: if the others fail, none of them was disturbed.
        database: the type `sirenia` is about.
    """
    if strategy is Strategy.SIRENIA:
        return partial(database_first, database=database)
    advance = _advance(strategy, batch_size)
    return partial(_exclusive_last, advance=advance, exclusive=exclusive) if exclusive else advance


def _advance(strategy: Strategy, batch_size: int | None) -> Next:
    match strategy:
        case Strategy.ALL_AT_ONCE:
            return all_at_once
        case Strategy.IN_BATCHES:
            return partial(in_batches, size=batch_size or 1)
        case Strategy.ONE_DOWN_ONE_UP:
            return one_down_one_up
    return partial(in_batches, size=1)


def _exclusive_last(now: Balance, goal: Counts, *, advance: Next, exclusive: Collection[str]) -> Balance | None:
    shared = {kind: count for kind, count in goal.items() if kind not in exclusive}
    following = advance(now, shared)
    return following or one_down_one_up(now, {kind: goal[kind] for kind in goal if kind in exclusive})


def all_at_once(now: Balance, goal: Counts) -> Balance | None:
    """Bring all of the new release up beside the old one."""
    missing = {kind: count for kind, count in goal.items() if now.new.get(kind, 0) < count}
    return Balance(now.old, {**now.new, **missing}) if missing else None


def in_batches(now: Balance, goal: Counts, *, size: int) -> Balance | None:
    """Type by type in the order of their names: a batch of new ones, then as many old ones less."""
    for kind in sorted(goal):
        wanted, old, new = goal[kind], now.old.get(kind, 0), now.new.get(kind, 0)
        if old and old + new > wanted:
            return Balance({**now.old, kind: max(wanted - new, old - size, 0)}, now.new)
        if new < wanted:
            return Balance(now.old, {**now.new, kind: min(new + size, wanted)})
    return None


def one_down_one_up(now: Balance, goal: Counts) -> Balance | None:
    """Type by type in the order of their names: an old one less, then a new one: never more than wanted."""
    for kind in sorted(goal):
        wanted, old, new = goal[kind], now.old.get(kind, 0), now.new.get(kind, 0)
        if old and old + new >= wanted:
            return Balance({**now.old, kind: old - 1}, now.new)
        if new < wanted:
            return Balance(now.old, {**now.new, kind: new + 1})
    return None


def database_first(now: Balance, goal: Counts, *, database: str) -> Balance | None:
    """A database one down, one up: two of them never share their data. Then the other types a job at a time."""
    first = {database: goal[database]} if database in goal else {}
    others = {kind: count for kind, count in goal.items() if kind != database}
    return one_down_one_up(now, first) or in_batches(now, others, size=1)
