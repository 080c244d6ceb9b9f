"""Recursors: who is asked, in which order, and which replies count."""

import pytest

from flynn_aio.discoverd.dns_wire import Message, Question, Type, encode, to_name
from flynn_aio.discoverd.recursors import BENCH_S, Recursor, Recursors, order, parse_recursor, parse_resolv_conf

A, B, C = Recursor("10.0.0.1"), Recursor("10.0.0.2"), Recursor("10.0.0.3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2001:4860:4860::8844", Recursor("2001:4860:4860::8844", 53)),
        ("[2001:4860:4860::8844]", Recursor("2001:4860:4860::8844", 53)),
        ("[2001:4860:4860::8888]:553", Recursor("2001:4860:4860::8888", 553)),
        ("8.8.8.8", Recursor("8.8.8.8", 53)),
        ("8.8.4.4:5553", Recursor("8.8.4.4", 5553)),
        ("dns-a.example.com", Recursor("dns-a.example.com", 53)),
        (" dns-b.example.com:55553 ", Recursor("dns-b.example.com", 55553)),
    ],
)
def test_addresses_are_read(text, expected):
    assert parse_recursor(text) == expected


@pytest.mark.parametrize(
    "text", ["", ":53", "8.8.8.8:", "8.8.8.8:x", "8.8.8.8:0", "8.8.8.8:65536", "[::1", "[::1]x", "a b"]
)
def test_what_makes_no_sense_is_refused(text):
    with pytest.raises(ValueError, match="is no address"):
        parse_recursor(text)


def test_resolv_conf_is_read_leniently():
    text = "# nameserver 1.1.1.1\nsearch lan\nnameserver 10.0.0.1\nnameserver\tfe80::1%eth0 extra\nnameserver\nname x\n"
    assert parse_resolv_conf(text) == [A, Recursor("fe80::1")]
    assert parse_resolv_conf("nameserver \ufffd\nnameserver dns..lan\nnameserver 10.0.0.1\n") == [A]
    assert parse_resolv_conf("") == []


def test_the_silent_are_asked_last_for_a_while():
    assert order([A, B, C], {}, now=100.0) == [A, B, C]
    assert order([A, B, C], {A: 90.0}, now=100.0) == [B, C, A]
    assert order([A, B, C], {A: 90.0, B: 95.0}, now=100.0) == [C, A, B]
    assert order([A, B, C], {A: 90.0}, now=90.0 + BENCH_S) == [A, B, C]


async def test_a_configured_name_that_no_host_can_have_is_a_silent_recursor():
    query = encode(Message(id=7, questions=(Question(to_name("example.com"), Type.A),)))
    recursors = Recursors(("dns..lan", "\ufffd"), own_address="100.100.0.1", timeout_s=1)
    assert await recursors.ask(query, tcp=False) is None
    assert await recursors.ask(query, tcp=True) is None


async def test_our_own_address_is_never_asked(tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 100.100.0.1\nnameserver 10.0.0.1\n")
    assert Recursors((), own_address="100.100.0.1", timeout_s=1, resolv_conf=conf).current() == [A]


async def test_a_new_resolv_conf_is_noticed_and_a_missing_one_means_nobody(tmp_path, autojump_clock):
    conf = tmp_path / "resolv.conf"
    recursors = Recursors((), own_address="100.100.0.1", timeout_s=1, resolv_conf=conf)
    assert recursors.current() == []
    conf.write_text("nameserver 10.0.0.2\n")
    autojump_clock.jump(10)
    assert recursors.current() == [B]


async def test_configured_ones_go_before_the_hosts_own():
    assert Recursors(("10.0.0.3",), own_address="100.100.0.1", timeout_s=1).current() == [C]
