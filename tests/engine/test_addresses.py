"""Addresses: round robin, quarantine, and a MAC made from the address."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.engine.addresses import Addresses, mac_of
from flynn_aio.errors import EngineError

SMALL = IPv4Network("10.0.0.0/29")  # .1 is the gateway, .7 the broadcast: five addresses for jobs


def test_the_round_begins_after_the_gateway_and_spares_the_broadcast_address():
    addresses = Addresses(SMALL)
    assert [addresses.take() for _ in range(5)] == [f"10.0.0.{i}" for i in (2, 3, 4, 5, 6)]
    with pytest.raises(EngineError, match="no free address"):
        addresses.take()


def test_an_address_given_back_waits_for_its_turn():
    addresses = Addresses(SMALL)
    addresses.give_back(addresses.take())
    assert addresses.take() == "10.0.0.3"


def test_a_quarantined_address_is_the_last_to_be_tried_again():
    addresses = Addresses(SMALL)
    addresses.quarantine(addresses.take())
    assert [addresses.take() for _ in range(5)] == [f"10.0.0.{i}" for i in (3, 4, 5, 6, 2)]


def test_addresses_found_in_use_are_not_handed_out():
    addresses = Addresses(SMALL)
    addresses.note_used(["10.0.0.2", "10.0.0.3"])
    assert addresses.take() == "10.0.0.4"
    addresses.keep_only(["10.0.0.5"])
    assert [addresses.take() for _ in range(4)] == [f"10.0.0.{i}" for i in (6, 2, 3, 4)]


def test_the_round_can_begin_anywhere():
    assert Addresses(SMALL, start=13).take() == "10.0.0.5"


def test_a_subnet_needs_room_for_one_job():
    with pytest.raises(EngineError, match="too small"):
        Addresses(IPv4Network("10.0.0.0/31"))


def test_a_mac_is_local_and_made_from_the_address():
    assert mac_of("100.100.1.254") == "02:42:64:64:01:fe"


@given(st.lists(st.sampled_from(["take", "give", "quarantine"]), max_size=60))
def test_no_address_is_ever_held_twice(steps):
    addresses, held = Addresses(SMALL), []
    for step in steps:
        if step == "take" and len(held) < 5:
            address = addresses.take()
            assert address not in held
            assert IPv4Address("10.0.0.2") <= IPv4Address(address) <= IPv4Address("10.0.0.6")
            held.append(address)
        elif held:
            address = held.pop(0)
            (addresses.give_back if step == "give" else addresses.quarantine)(address)
