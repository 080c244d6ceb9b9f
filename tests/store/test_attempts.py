"""Wrong keys by address: who is slowed, how much, and what is remembered."""

import pytest

from flynn_aio.store.attempts import FORGET_S, FREE, MAX_ADDRESSES, MAX_WAIT_S, Attempts

ADDRESS = "203.0.113.9"


def failed(attempts, address=ADDRESS, now=0.0):
    return attempts.pause(attempts.note(address, now), now)


def test_a_few_slips_cost_nothing_and_then_the_answers_come_slower_and_slower():
    attempts, now, waited = Attempts(), 0.0, []
    for _ in range(FREE + 6):
        pause = failed(attempts, now=now)
        waited.append(pause)
        now += pause
    assert waited == [0.0] * FREE + [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_at_once_is_no_faster_than_one_by_one():
    attempts = Attempts()
    pauses = [failed(attempts) for _ in range(FREE + 100)]
    waiting = [pause for pause in pauses if pause]
    assert waiting == [0.25, 0.75, 1.75, 3.75, 5.75, 7.75, 9.75]  # the moments of their answers
    assert pauses.count(None) == 100 - len(waiting)
    assert failed(attempts, now=MAX_WAIT_S) == pytest.approx(2.0)


def test_others_do_not_wait_for_an_address_that_fails():
    attempts = Attempts()
    for _ in range(100):
        failed(attempts)
    assert failed(attempts, "203.0.113.10") == 0.0


def test_a_while_of_quiet_is_a_clean_slate():
    attempts = Attempts()
    for _ in range(100):
        failed(attempts)
    assert failed(attempts, now=FORGET_S) > 0.0
    assert failed(attempts, now=2 * FORGET_S + 1) == 0.0
    assert attempts.total == 102


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1%eth0", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
        ("no address", "no address", True),
    ],
)
def test_an_ipv6_customer_is_one_address(first, second, same):
    attempts = Attempts()
    attempts.note(first, 0.0)
    assert attempts.note(second, 0.0).count == (2 if same else 1)


def test_only_so_many_addresses_are_remembered_and_the_latest_stay():
    attempts = Attempts()
    for number in range(3 * MAX_ADDRESSES):
        attempts.note("stays", 0.0)
        attempts.note(f"10.0.{number // 256}.{number % 256}", 0.0)
    recent = attempts.recent(0.0)
    assert len(recent) == MAX_ADDRESSES
    assert recent[1].address == "stays"
    assert recent[1].count == 3 * MAX_ADDRESSES
    assert attempts.total == 6 * MAX_ADDRESSES


def test_what_is_forgotten_is_not_listed():
    attempts = Attempts()
    attempts.note("old", 0.0)
    attempts.note("new", FORGET_S)
    assert [record.address for record in attempts.recent(FORGET_S + 1)] == ["new"]
