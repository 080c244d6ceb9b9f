"""Pool: backends are forgotten when their instances leave, and only they."""

import pytest

from flynn_aio.model import JOB_META, Instance
from flynn_aio.router.pool import Pool, departed
from flynn_aio.router.wire import Watchman


@pytest.fixture
def pool(settings):
    watchman = Watchman()
    yield Pool(settings, watchman)
    watchman.close()


def at(number: int, *, job: str = "", index: int = 1) -> Instance:
    return Instance(
        id=str(number), addr=f"100.100.0.{number}:8080", index=index, meta={JOB_META: job or f"job-{number}"}
    )


def test_whoever_left_a_service_departed_and_nobody_else():
    other = (at(9),)
    before = {"web": (at(1), at(2)), "other": other, "gone": (at(3),)}
    now = {"web": (at(2, index=7), at(4)), "other": other, "new": (at(5),)}
    assert list(departed(before, now)) == [at(1), at(3)]
    assert list(departed({}, before)) == []


def test_an_address_that_went_to_another_job_departed():
    assert list(departed({"web": (at(1, job="old"),)}, {"web": (at(1, job="new"),)})) == [at(1, job="old")]


async def test_a_backend_in_use_is_forgotten_only_when_its_exchanges_have_ended(pool):
    busy, idle = pool.backend(at(1)), pool.backend(at(2))
    pool.begin(busy, drains=True)
    pool.retire([at(1), at(2)])
    assert (busy.retired, idle.retired) == (True, True)
    assert pool.is_busy(busy.job)
    assert pool.backend(at(2)) is not idle
    pool.end(busy, drains=True)
    pool.retain([at(2)])
    assert pool.backend(at(1)) is not busy


async def test_what_a_late_exchange_made_of_an_instance_that_left_is_forgotten_too(pool):
    staying, late = pool.backend(at(1)), pool.backend(at(2))
    pool.retain([at(1)])
    assert late.retired
    assert pool.backend(at(1)) is staying
