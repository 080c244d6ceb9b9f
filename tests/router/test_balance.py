"""The order in which backends are tried."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.model import Instance
from flynn_aio.router.balance import PLAIN_ATTEMPTS, by_load, shuffled


def instances(count: int) -> list[Instance]:
    return [Instance(id=str(n), addr=f"10.0.0.{n}:80") for n in range(count)]


@given(st.integers(0, 12), st.integers(), st.integers(0, 14))
def test_each_backend_is_tried_at_most_once_and_the_sticky_one_first(count: int, seed: int, sticky: int):
    addr = f"10.0.0.{sticky}:80"
    tried = [each.addr for each in by_load(instances(count), lambda _: 0, Random(seed), sticky=addr)]
    assert len(tried) == len(set(tried)) == min(count, PLAIN_ATTEMPTS)
    if sticky < count:
        assert tried[0] == addr


@given(st.integers(0, 12), st.integers(), st.integers(0, 14))
def test_an_upgrade_tries_all(count: int, seed: int, sticky: int):
    addr = f"10.0.0.{sticky}:80"
    tried = [each.addr for each in shuffled(instances(count), Random(seed), sticky=addr)]
    assert sorted(tried) == sorted(each.addr for each in instances(count))
    if sticky < count:
        assert tried[0] == addr


def test_of_two_the_less_busy_is_taken():
    loads = {"10.0.0.0:80": 3, "10.0.0.1:80": 1}
    for seed in range(20):
        assert next(by_load(instances(2), lambda each: loads[each.addr], Random(seed))).addr == "10.0.0.1:80"


def test_a_busy_backend_gets_less():
    random, load = Random(1), {each.addr: 0 for each in instances(4)} | {"10.0.0.0:80": 1000}
    first = Counter(next(by_load(instances(4), lambda each: load[each.addr], random)).addr for _ in range(1000))
    assert first["10.0.0.0:80"] == 0
    assert min(first[addr] for addr in list(load)[1:]) > 200
