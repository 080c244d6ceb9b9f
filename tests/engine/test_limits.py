"""Limits: what a process gets, and what nothing could run with."""

import pytest

from flynn_aio.engine.limits import limits_of, limits_refusal, open_files_at_most
from flynn_aio.model import ResourceSpec
from flynn_aio.settings import MIB


@pytest.mark.parametrize(
    ("milli", "shares"), [(1000, 1024), (750, 768), (1, 2), (0, 2), (4000, 4096), (10**15, 262144)]
)
def test_cpu_shares(milli, shares):
    assert limits_of({"cpu": ResourceSpec(limit=milli)}).cpu_shares == shares


def test_the_request_is_the_soft_limit_on_open_files():
    limits = limits_of({"max_fd": ResourceSpec(request=100, limit=200)})
    assert (limits.soft_fd, limits.max_fd) == (100, 200)
    assert (limits_of({}).soft_fd, limits_of({}).max_fd) == (10000, 10000)


@pytest.mark.parametrize(
    ("kind", "amount", "why"),
    [
        ("memory", 4, "must be at least 6291456 (6MB): with less no process can start"),
        ("memory", 6 * MIB - 1, "must be at least 6291456 (6MB): with less no process can start"),
        ("memory", 2**63, "must be at most 9223372036854775807"),
        ("max_fd", 15, "must be at least 16: with less no process can start"),
        ("max_fd", 1001, "must be at most 1000, as many as this machine lets a process open"),
        ("max_procs", 4194305, "must be at most 4194304"),
        ("temp_disk", -1, "must not be negative"),
        ("zebras", -1, "must not be negative"),
    ],
)
def test_what_cannot_be_a_limit_says_what_can(kind, amount, why):
    for half in ("request", "limit"):
        refused = limits_refusal({kind: ResourceSpec(**{half: amount})}, nr_open=1000)
        assert refused is not None
        assert (refused.field, refused.text) == (f"resources.{kind}.{half}", why)


def test_what_is_enough_and_what_is_more_than_the_machine_has_is_allowed():
    amounts = {"memory": 6 * MIB, "max_fd": 16, "max_procs": 1, "temp_disk": 1, "cpu": 1, "zebras": 3}
    for resources in (amounts, dict.fromkeys(amounts, 0), {"memory": 2**60, "cpu": 2**60, "temp_disk": 2**60}):
        assert limits_refusal({kind: ResourceSpec(limit=amount) for kind, amount in resources.items()}) is None
    assert limits_refusal({"memory": ResourceSpec()}) is None
    assert open_files_at_most() >= 1024
