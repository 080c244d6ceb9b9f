"""The assertion list of `discovery.md` §6, run over both transports and both cases."""

import ipaddress
import random

import pytest

from flynn_aio.discoverd import Snapshot, instances_named, is_ours
from flynn_aio.discoverd.dns_answer import Forward, failure, respond
from flynn_aio.discoverd.dns_wire import (
    CLASS_ANY,
    Address,
    Flag,
    Message,
    Opaque,
    Question,
    Rcode,
    Record,
    Soa,
    Srv,
    Type,
    decode,
    encode,
    to_name,
)
from flynn_aio.model import Instance, instance_id

SERIAL = 1_795_000_000
SOA = Record(
    to_name("discoverd"), Soa(to_name("ns.discoverd"), to_name("postmaster.discoverd"), SERIAL, 3600, 600, 86400, 0)
)


def instances(*addrs: str) -> tuple[Instance, ...]:
    """Return instances from texts like ``tcp 192.168.0.1:80``."""
    found = []
    for index, text in enumerate(addrs, 1):
        proto, addr = text.split()
        found.append(Instance(id=instance_id(proto, addr), addr=addr, proto=proto, index=index))
    return tuple(found)


SIMPLE = instances("tcp 192.168.0.1:80", "tcp 192.168.0.2:81", "tcp 192.168.0.3:82")
MIXED_PROTO = instances("udp 192.168.0.5:99", "tcp 192.168.0.2:81", "tcp 192.168.0.3:82")
MIXED_FAMILY = instances("tcp [fe80::bae8:56ff:fe46:243c]:22", "tcp 192.168.0.2:81", "tcp 192.168.0.3:82")
LONG = instances(*(f"tcp 192.168.0.{last}:80" for last in range(1, 6)))
SAME_IP = instances("tcp 192.168.0.1:80", "tcp 192.168.0.1:85", "tcp 192.168.0.3:82")


def ask(name, kind, snapshot, *, tcp=False, recursion=True, edns=None, cls=1, flags=Flag.RECURSION_DESIRED):
    """Return the decoded answer to one question."""
    additionals = (Record((), Opaque(Type.OPT, b""), cls=edns),) if edns else ()
    query = Message(id=77, flags=flags, questions=(Question(to_name(name), kind, cls),), additionals=additionals)
    found = respond(encode(query), snapshot, tcp=tcp, recursion=recursion, serial=SERIAL, rng=random.Random(1))
    assert isinstance(found, bytes)
    answer = decode(found)
    assert answer.id == 77
    assert answer.questions == query.questions
    assert Flag.RESPONSE in answer.flags
    return answer


def ip(instance: Instance) -> str:
    return instance.addr.rpartition(":")[0].strip("[]")


def v4(found):
    return [one for one in found if ":" not in ip(one)]


def v6(found):
    return [one for one in found if ":" in ip(one)]


TYPES = [Type.A, Type.AAAA, Type.ANY, Type.SRV, Type.SOA, Type.TXT]
FIRST, FIRST_V6 = SIMPLE[0], MIXED_FAMILY[0]

# number, name, the instances of service a (None: there is no such service), whom the name means (None: NXDOMAIN)
TABLE = [
    (1, "b.discoverd", (), None),
    (2, "_b._tcp.discoverd", (), None),
    (3, "foo.b._i.discoverd", (), None),
    (4, "foo.a._i.discoverd", SIMPLE, None),
    (5, "asdf.b.discoverd", (), None),
    (5, "asdf.a.discoverd", SIMPLE, None),
    (5, "a.b.c.d.discoverd", SIMPLE, None),
    (5, "_a.tcp.discoverd", SIMPLE, None),
    (5, "x.a._j.discoverd", SIMPLE, None),
    (6, "leader.b.discoverd", (), None),
    (6, "leader.a.discoverd", (), None),
    (7, "a.discoverd", (), ()),
    (8, "_a._tcp.discoverd", (), ()),
    (9, "_a._foo.discoverd", SIMPLE, ()),
    (10, "_a._tcp.discoverd", SIMPLE, SIMPLE),
    (11, "_a._udp.discoverd", MIXED_PROTO, MIXED_PROTO[:1]),
    (12, "a.discoverd", MIXED_PROTO, MIXED_PROTO),
    (13, "a.discoverd", MIXED_FAMILY, MIXED_FAMILY),
    (13, "_a._tcp.discoverd", MIXED_FAMILY, MIXED_FAMILY),
    (14, f"{FIRST.id}.a._i.discoverd", SIMPLE, SIMPLE[:1]),
    (15, f"{FIRST_V6.id}.a._i.discoverd", MIXED_FAMILY, MIXED_FAMILY[:1]),
    (16, "a.discoverd", LONG, LONG),
    (16, "_a._tcp.discoverd", LONG, LONG),
    (17, "a.discoverd", SAME_IP, SAME_IP),
    (17, "_a._tcp.discoverd", SAME_IP, SAME_IP),
    (18, "leader.a.discoverd", SIMPLE, SIMPLE[:1]),
    (19, "leader.a.discoverd", MIXED_FAMILY, MIXED_FAMILY[:1]),
]


@pytest.mark.parametrize("upper", [False, True], ids=["lower", "upper"])
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[1]}")
def test_every_name_type_and_transport(row, kind, tcp, upper):
    number, name, data, meant = row
    name = name.upper() if upper else name
    answer = ask(name, kind, Snapshot(instances={"a": data}), tcp=tcp)
    assert Flag.AUTHORITATIVE in answer.flags
    assert Flag.RECURSION_AVAILABLE in answer.flags
    assert Flag.TRUNCATED not in answer.flags
    assert all(record.ttl == 0 for record in answer.answers + answer.authorities + answer.additionals)

    if meant is None:
        assert (answer.rcode, answer.answers, answer.authorities) == (Rcode.NXDOMAIN, (), (SOA,))
        assert answer.additionals == ()
        return
    assert answer.rcode == Rcode.NOERROR
    if kind == Type.SOA:  # 21
        assert (answer.answers, answer.authorities) == ((SOA,), ())
        return

    single = number in (14, 15, 18, 19)
    wanted = {Type.A: v4(meant), Type.AAAA: v6(meant), Type.TXT: ()}.get(kind, meant)
    ips = {ip(one) for one in wanted} if kind in (Type.A, Type.AAAA, Type.ANY) else set()
    srvs = {(one.id, int(one.addr.rpartition(":")[2])) for one in meant} if kind in (Type.SRV, Type.ANY) else set()
    got_ips = [record.data for record in answer.answers if isinstance(record.data, Address)]
    got_srvs = [record.data for record in answer.answers if isinstance(record.data, Srv)]
    most = 100 if tcp else 3  # 16
    assert len(got_ips) == min(len(ips), most)
    assert {str(ipaddress.ip_address(one.packed)) for one in got_ips} <= ips
    assert len(got_srvs) == min(len(srvs), most)
    assert len(answer.answers) == len(got_ips) + len(got_srvs)
    assert all(record.name == to_name(name) for record in answer.answers)
    assert answer.authorities == (() if answer.answers else (SOA,))  # 7, 22

    targets = {(to_name(name) if single else to_name(f"{ident}.a._i.discoverd"), port) for ident, port in srvs}
    assert {(one.target, one.port) for one in got_srvs} <= targets
    assert all((one.priority, one.weight) == (1, 1) for one in got_srvs)

    if kind == Type.SRV and tcp:  # 20
        extra = {(record.name, str(ipaddress.ip_address(record.data.packed))) for record in answer.additionals}
        assert extra == {(to_name(name) if single else to_name(f"{one.id}.a._i.discoverd"), ip(one)) for one in meant}
    else:
        assert answer.additionals == ()


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("a.discoverd", SIMPLE),
        ("A.Discoverd.", SIMPLE),
        ("leader.a.discoverd", SIMPLE[:1]),
        (f"{SIMPLE[1].id}.a._i.discoverd", SIMPLE[1:2]),
        ("b.discoverd", ()),
        ("x.y.z.discoverd", ()),
    ],
)
def test_a_part_of_ours_finds_the_same_without_asking(host, found):
    assert is_ours(host)
    assert tuple(instances_named(host, Snapshot(instances={"a": SIMPLE}))) == found


@pytest.mark.parametrize("host", ["discoverd", "a.discoverd.example.com", "adiscoverd", ""])
def test_names_of_others_are_told_from_ours(host):
    assert not is_ours(host)


def test_the_order_is_shuffled():
    snapshot = Snapshot(instances={"a": LONG})
    query = encode(Message(id=1, questions=(Question(to_name("a.discoverd"), Type.A),)))
    rng = random.Random(3)
    orders = {respond(query, snapshot, tcp=True, recursion=True, serial=1, rng=rng) for _ in range(50)}
    assert len(orders) > 10


def test_the_zone_itself_exists():
    assert ask("discoverd", Type.SOA, Snapshot()).answers == (SOA,)
    answer = ask("discoverd", Type.A, Snapshot())
    assert (answer.rcode, answer.authorities) == (Rcode.NOERROR, (SOA,))


def test_without_recursors_others_are_refused_and_nothing_is_promised():
    answer = ask("example.com", Type.A, Snapshot(), recursion=False)
    assert answer.rcode == Rcode.REFUSED
    assert Flag.RECURSION_AVAILABLE not in answer.flags | ask("a.discoverd", Type.A, Snapshot(), recursion=False).flags


@pytest.mark.parametrize("name", ["example.com", "discoverd.example.com", "xdiscoverd", ""])
def test_names_of_others_are_forwarded_as_they_are(name):
    query = encode(Message(id=9, questions=(Question(to_name(name), Type.TXT),)))
    found = respond(query, Snapshot(), tcp=False, recursion=True, serial=1, rng=random.Random())
    assert isinstance(found, Forward)
    assert found.query == query
    answer = decode(failure(found))
    assert (answer.id, answer.rcode, answer.questions) == (9, Rcode.SERVFAIL, (Question(to_name(name), Type.TXT),))


@pytest.mark.parametrize("label", [b"\xff\xfe", b"a.b", b"\x00", b"_", b""])
def test_odd_labels_are_names_nobody_has(label):
    name = (label, b"discoverd") if label else (b"_", b"_", b"discoverd")
    query = encode(Message(id=1, questions=(Question(name, Type.A),)))
    found = respond(query, Snapshot(instances={"a": SIMPLE}), tcp=False, recursion=True, serial=1, rng=random.Random())
    assert decode(found).rcode == Rcode.NXDOMAIN


def respond_to(data: bytes):
    return respond(data, Snapshot(), tcp=False, recursion=True, serial=1, rng=random.Random())


def test_noise_and_responses_are_not_answered():
    assert respond_to(b"") is None
    assert respond_to(b"\x00" * 11) is None
    assert respond_to(encode(Message(id=1, flags=Flag.RESPONSE))) is None


def test_what_cannot_be_read_is_a_format_error():
    two = (Question(to_name("a.discoverd"), Type.A),) * 2
    for data in (encode(Message(id=5)), encode(Message(id=5, questions=two)), b"\x00\x05\x01\x00\x00\x01" + bytes(6)):
        answer = decode(respond_to(data))
        assert (answer.id, answer.rcode) == (5, Rcode.FORMERR)
    padded = encode(Message(id=5, questions=two[:1])) + bytes(5000)
    assert decode(respond_to(padded)).rcode == Rcode.FORMERR


def test_other_opcodes_classes_and_transfers_are_turned_away():
    update = encode(Message(id=5, opcode=5, questions=(Question(to_name("a.discoverd"), Type.SOA),)))
    assert decode(respond_to(update)).rcode == Rcode.NOTIMP
    assert ask("a.discoverd", Type.A, Snapshot(), cls=3).rcode == Rcode.REFUSED
    assert ask("a.discoverd", Type.AXFR, Snapshot(), tcp=True).rcode == Rcode.REFUSED
    assert len(ask("a.discoverd", Type.A, Snapshot(instances={"a": SIMPLE}), cls=CLASS_ANY).answers) == 3


def test_edns_is_answered_in_kind():
    answer = ask("a.discoverd", Type.A, Snapshot(instances={"a": SIMPLE}), edns=4096)
    assert answer.edns == Record((), Opaque(Type.OPT, b""), cls=1232)
    newer = Record((), Opaque(Type.OPT, b""), ttl=1 << 16, cls=1232)
    query = Message(id=5, questions=(Question(to_name("a.discoverd"), Type.A),), additionals=(newer,))
    answer = decode(respond_to(encode(query)))
    assert answer.edns.ttl == 1 << 24  # BADVERS


def test_what_does_not_fit_a_datagram_is_cut_and_marked():
    service = "s" * 63
    found = instances(*(f"tcp 192.168.0.{last}:80" for last in range(1, 4)))
    snapshot = Snapshot(instances={service: found})
    answer = ask(f"{service}.discoverd", Type.ANY, snapshot)
    assert Flag.TRUNCATED in answer.flags
    assert len(answer.answers) < 6
    assert len(ask(f"{service}.discoverd", Type.ANY, snapshot, edns=1232).answers) == 6
