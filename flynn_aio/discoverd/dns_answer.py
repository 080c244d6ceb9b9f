"""Answers: a DNS question and a snapshot -> the answer. Pure.

| name                         | who is meant                |
|------------------------------|-----------------------------|
| ``SERVICE.discoverd``        | all instances               |
| ``_SERVICE._PROTO.discoverd``| those with that protocol    |
| ``ID.SERVICE._i.discoverd``  | one instance                |
| ``leader.SERVICE.discoverd`` | the oldest instance         |

Everything lives for 0 s: a client that asks again learns at once who left. Names under
``discoverd`` are never sent to a recursor, whatever they look like.

Source: `discovery.md` §5; Flynn `discoverd/server/dns.go`.
"""

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..model import Instance
from .dns_wire import (
    CLASS_ANY,
    CLASS_IN,
    Address,
    Flag,
    MalformedMessage,
    Message,
    Name,
    Opaque,
    Question,
    Rcode,
    Record,
    Soa,
    Srv,
    Type,
    decode,
    decode_header,
    encode,
    lower,
    to_name,
)
from .snapshot import Snapshot

ZONE = to_name("discoverd")
MAX_UDP_RECORDS = 3
"""Records per kind over UDP: what is left out is still found by asking again, in another order."""
MAX_QUERY = 4096
"""No question needs more; reading a larger one would only serve who sent it."""
PLAIN_UDP = 512
OUR_UDP = 1232
"""What we offer with EDNS: no path is known to break it (DNS flag day 2020)."""
ADDRESS_TYPES = frozenset({Type.A, Type.AAAA, Type.ANY})
SRV_TYPES = frozenset({Type.SRV, Type.ANY})
BAD_VERSION = 1 << 24
"""Extended rcode 16 in the TTL of an OPT record. RFC 6891 §6.1.3."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The question is about a name of somebody else: send `query` on as it is.

    Attributes:
        head: the question as a message, for a refusal if nobody answers.
    """

    query: bytes
    head: Message


def respond(
    data: bytes, snapshot: Snapshot, *, tcp: bool, recursion: bool, serial: int, rng: random.Random
) -> bytes | Forward | None:
    """Return what to send back for the bytes of one query.

    Args:
        recursion: whether there is a recursor for names that are not ours.
        serial: of the zone; Unix time.
        rng: decides on the order of records.

    Returns:
        The reply; or `Forward`; or ``None`` for what must not be answered, namely noise and
        responses, since answering those would let two servers talk for ever.
    """
    try:
        head, counts = decode_header(data)
    except MalformedMessage:
        return None
    if Flag.RESPONSE in head.flags:
        return None
    if head.opcode != 0:
        return encode(reply(head, Rcode.NOTIMP, recursion=recursion))
    try:
        if counts[0] != 1 or len(data) > MAX_QUERY:
            raise MalformedMessage("not one question")
        query = decode(data)
    except MalformedMessage:
        return encode(reply(head, Rcode.FORMERR, recursion=recursion))
    limit = _limit(query, tcp=tcp)
    if query.edns and query.edns.ttl >> 16 & 0xFF:
        return encode(_with_edns(reply(query, Rcode.NOERROR, recursion=recursion), extended=BAD_VERSION), limit=limit)
    question = query.questions[0]
    if lower(question.name[-1:]) != ZONE:
        if recursion:
            return Forward(data, query)
        return encode(_with_edns(reply(query, Rcode.REFUSED, recursion=False)), limit=limit)
    if question.cls not in (CLASS_IN, CLASS_ANY) or question.type in (Type.AXFR, Type.IXFR):
        return encode(_with_edns(reply(query, Rcode.REFUSED, recursion=recursion)), limit=limit)
    found = answer(query, snapshot, tcp=tcp, recursion=recursion, serial=serial, rng=rng)
    return encode(_with_edns(found), limit=limit)


def reply(query: Message, rcode: Rcode, *, recursion: bool) -> Message:
    """Return an answer without records. A query that asked with EDNS keeps its OPT, see `respond`."""
    flags = Flag.RESPONSE | query.flags & (Flag.RECURSION_DESIRED | Flag.CHECKING_DISABLED)
    if recursion:
        flags |= Flag.RECURSION_AVAILABLE
    edns = (query.edns,) if query.edns else ()
    return Message(
        id=query.id, flags=flags, opcode=query.opcode, rcode=rcode, questions=query.questions, additionals=edns
    )


def failure(forward: Forward) -> bytes:
    """Return the reply when no recursor answered."""
    return encode(_with_edns(reply(forward.head, Rcode.SERVFAIL, recursion=True)), limit=PLAIN_UDP)


def answer(
    query: Message, snapshot: Snapshot, *, tcp: bool, recursion: bool, serial: int, rng: random.Random
) -> Message:
    """Answer a question about a name under ``discoverd``."""
    question = query.questions[0]
    base = reply(query, Rcode.NOERROR, recursion=recursion)
    base = replace(base, flags=base.flags | Flag.AUTHORITATIVE)
    soa = _soa(serial)
    found = _look_up(question.name, snapshot)
    if found is None:
        return replace(base, rcode=Rcode.NXDOMAIN, authorities=(soa,))
    if question.type == Type.SOA:
        return replace(base, answers=(soa,))
    answers, extra = _records(question, found, tcp=tcp, rng=rng)
    if not answers:
        return replace(base, authorities=(soa,))
    return replace(base, answers=tuple(answers), additionals=(*extra, *base.additionals))


def instances_named(host: str, snapshot: Snapshot) -> Sequence[Instance]:
    """Return whom a host name under ``discoverd`` means, for parts of ours that dial: no packet is needed for that."""
    found = _look_up(to_name(host), snapshot)
    return found.instances if found else ()


def is_ours(host: str) -> bool:
    """Tell whether a host name is under ``discoverd``."""
    return host.lower().rstrip(".").endswith(".discoverd")


@dataclass(frozen=True, slots=True)
class _Found:
    """Whom a name means. `is_single`: it names one instance, and so is its own SRV target."""

    service: str
    instances: Sequence[Instance]
    is_single: bool = False


@dataclass(frozen=True, slots=True)
class _Endpoint:
    packed: bytes
    port: int
    target: Name


def _look_up(name: Name, snapshot: Snapshot) -> _Found | None:
    """Return whom the name means, or ``None`` when it means nobody."""
    labels = [label.decode("ascii", "replace") for label in lower(name[:-1])]
    match labels:
        case []:
            return _Found("", ())  # the zone itself
        case [service]:
            instances = snapshot.instances.get(service)
            return None if instances is None else _Found(service, instances)
        case [service, proto] if service.startswith("_") and proto.startswith("_"):
            instances = snapshot.instances.get(service[1:])
            if instances is None:
                return None
            return _Found(service[1:], [instance for instance in instances if instance.proto == proto[1:]])
        case ["leader", service]:
            leader = snapshot.leader(service)
            return _Found(service, (leader,), is_single=True) if leader else None
        case [ident, service, "_i"]:
            one = [instance for instance in snapshot.instances.get(service, ()) if instance.id == ident]
            return _Found(service, one[:1], is_single=True) if one else None
        case _:
            return None


def _records(question: Question, found: _Found, *, tcp: bool, rng: random.Random) -> tuple[list[Record], list[Record]]:
    """Return the answer and the additional records for a type we have."""
    name, kind = question.name, question.type
    endpoints = [_endpoint(name, found, instance) for instance in found.instances]
    rng.shuffle(endpoints)
    most = len(endpoints) if tcp else MAX_UDP_RECORDS
    answers: list[Record] = []
    extra: list[Record] = []
    if kind in ADDRESS_TYPES:
        packed = dict.fromkeys(one.packed for one in endpoints)  # each address once, in order
        addresses = [address for address in map(Address, packed) if kind in (Type.ANY, address.type)]
        answers += [Record(name, address) for address in addresses[:most]]
    if kind in SRV_TYPES:
        answers += [Record(name, Srv(1, 1, one.port, one.target)) for one in endpoints[:most]]
    if kind == Type.SRV and tcp:
        extra = [Record(one.target, Address(one.packed)) for one in endpoints]
    return answers, extra


def _endpoint(name: Name, found: _Found, instance: Instance) -> _Endpoint:
    host, _, port = instance.addr.rpartition(":")
    packed = ipaddress.ip_address(host.strip("[]")).packed
    target = name if found.is_single else (instance.id.encode(), found.service.encode(), b"_i", *ZONE)
    return _Endpoint(packed, int(port), target)


def _soa(serial: int) -> Record:
    ns, postmaster = (b"ns", *ZONE), (b"postmaster", *ZONE)
    return Record(ZONE, Soa(ns, postmaster, serial, refresh=3600, retry=600, expire=86400, minimum=0))


def _limit(query: Message, *, tcp: bool) -> int:
    """Return how many bytes the asker takes. RFC 6891 §6.2.3: less than 512 counts as 512."""
    if tcp:
        return 65535
    return min(max(query.edns.cls, PLAIN_UDP), OUR_UDP) if query.edns else PLAIN_UDP


def _with_edns(message: Message, *, extended: int = 0) -> Message:
    """Put our own OPT record in the place of the asker's, if there is one."""
    others = tuple(record for record in message.additionals if record.data.type != Type.OPT)
    if len(others) == len(message.additionals):
        return message
    opt = Record((), Opaque(Type.OPT, b""), ttl=extended, cls=OUR_UDP)
    return replace(message, additionals=(*others, opt))
