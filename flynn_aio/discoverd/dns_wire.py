"""DNS messages: bytes <-> values. Pure, and safe against hostile bytes.

A name is a tuple of labels as they came, case included. Pointers in names may only lead
backwards (RFC 9267 §2), so every read ends. Records of types we do not speak keep their bytes.

Source: RFC 1035 §4, RFC 2782 (SRV), RFC 6891 (EDNS).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct

Name = tuple[bytes, ...]

HEADER = Struct("!HHHHHH")
QUESTION_TAIL = Struct("!HH")
RECORD_TAIL = Struct("!HHIH")
SRV_HEAD = Struct("!HHH")
SOA_TAIL = Struct("!IIIII")
MAX_MESSAGE = 65535
MAX_NAME = 255
MAX_LABEL = 63
MAX_POINTER = 0x3FFF
CLASS_IN = 1
CLASS_ANY = 255


class Type(IntEnum):
    A = 1
    SOA = 6
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252
    ANY = 255


class Rcode(IntEnum):
    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5


class Flag(IntFlag):
    """The single bits of the header's second word; opcode and rcode lie between them."""

    NONE = 0
    RESPONSE = 0x8000
    AUTHORITATIVE = 0x0400
    TRUNCATED = 0x0200
    RECURSION_DESIRED = 0x0100
    RECURSION_AVAILABLE = 0x0080
    AUTHENTIC = 0x0020
    CHECKING_DISABLED = 0x0010


_FLAG_BITS = 0x87B0


class MalformedMessage(ValueError):
    """The bytes are no DNS message."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; `type` and `cls` are numbers, since anything may be asked."""

    name: Name
    type: int
    cls: int = CLASS_IN


@dataclass(frozen=True, slots=True)
class Address:
    """An A record with 4 bytes, or an AAAA record with 16."""

    packed: bytes

    @property
    def type(self) -> int:
        return Type.A if len(self.packed) == 4 else Type.AAAA


@dataclass(frozen=True, slots=True)
class Srv:
    """Where a service listens."""

    priority: int
    weight: int
    port: int
    target: Name

    @property
    def type(self) -> int:
        return Type.SRV


@dataclass(frozen=True, slots=True)
class Soa:
    """Who is responsible for a zone, and how long to believe that a name is missing. Seconds."""

    mname: Name
    rname: Name
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int

    @property
    def type(self) -> int:
        return Type.SOA


@dataclass(frozen=True, slots=True)
class Opaque:
    """The data of any other type, as it came."""

    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record. In an OPT record `cls` is the UDP size and `ttl` holds version and flags."""

    name: Name
    data: Address | Srv | Soa | Opaque
    ttl: int = 0
    cls: int = CLASS_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A whole message. `rcode` holds the four bits of the header only."""

    id: int
    flags: Flag = Flag.NONE
    opcode: int = 0
    rcode: int = Rcode.NOERROR
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    authorities: tuple[Record, ...] = ()
    additionals: tuple[Record, ...] = ()

    @property
    def edns(self) -> Record | None:
        """The OPT record, when the sender speaks EDNS."""
        return next((record for record in self.additionals if record.data.type == Type.OPT), None)


def to_name(text: str) -> Name:
    """Return the labels of ``a.b.`` or ``a.b``; empty for the root."""
    return tuple(label for label in text.encode().split(b".") if label)


def lower(name: Name) -> Name:
    """Return the name as names are compared."""
    return tuple(label.lower() for label in name)


def decode_header(data: bytes) -> tuple[Message, tuple[int, int, int, int]]:
    """Return a message without its sections, and how many entries each section claims to have.

    Raises:
        MalformedMessage: fewer than twelve bytes.
    """
    if len(data) < HEADER.size:
        raise MalformedMessage("shorter than a header")
    ident, word, *counts = HEADER.unpack_from(data)
    head = Message(id=ident, flags=Flag(word & _FLAG_BITS), opcode=word >> 11 & 0xF, rcode=word & 0xF)
    return head, (counts[0], counts[1], counts[2], counts[3])


def decode_question(data: bytes, offset: int = HEADER.size) -> tuple[Question, int]:
    """Return the question at `offset`, and where the next entry begins.

    Raises:
        MalformedMessage: none there.
    """
    name, offset = _read_name(data, offset)
    if offset + QUESTION_TAIL.size > len(data):
        raise MalformedMessage("question cut short")
    kind, cls = QUESTION_TAIL.unpack_from(data, offset)
    return Question(name, kind, cls), offset + QUESTION_TAIL.size


def decode(data: bytes) -> Message:
    """Read a whole message. Bytes behind it are ignored, as resolvers do.

    Raises:
        MalformedMessage: cut short, a name that is too long or points forward, wrong lengths.
    """
    head, counts = decode_header(data)
    offset = HEADER.size
    questions = []
    for _ in range(counts[0]):
        question, offset = decode_question(data, offset)
        questions.append(question)
    sections: list[tuple[Record, ...]] = []
    for count in counts[1:]:
        records = []
        for _ in range(count):
            record, offset = _read_record(data, offset)
            records.append(record)
        sections.append(tuple(records))
    return Message(
        id=head.id,
        flags=head.flags,
        opcode=head.opcode,
        rcode=head.rcode,
        questions=tuple(questions),
        answers=sections[0],
        authorities=sections[1],
        additionals=sections[2],
    )


def encode(message: Message, *, limit: int = MAX_MESSAGE) -> bytes:
    """Return the bytes of a message, with compressed names.

    What does not fit into `limit` bytes is left out, from the end and in whole records; when
    that is an answer or an authority, the message says that it was truncated (RFC 2181 §9). The
    OPT record always stays.
    """
    out = bytearray(HEADER.size)
    seen: dict[Name, int] = {}
    for question in message.questions:
        _write_name(out, question.name, seen)
        out += QUESTION_TAIL.pack(question.type, question.cls)

    edns = message.edns
    room = limit - (len(_opt(edns)) if edns else 0)
    additionals = tuple(record for record in message.additionals if record is not edns)
    sections = (message.answers, message.authorities, additionals)
    counts = [_write_records(out, records, seen, room) for records in sections]
    is_cut = counts[0] < len(message.answers) or counts[1] < len(message.authorities)
    if edns:
        out += _opt(edns)
        counts[2] += 1
    flags = message.flags | Flag.TRUNCATED if is_cut else message.flags
    word = flags | (message.opcode & 0xF) << 11 | message.rcode & 0xF
    HEADER.pack_into(out, 0, message.id, word, len(message.questions), *counts)
    return bytes(out)


def _read_name(data: bytes, offset: int) -> tuple[Name, int]:
    labels: list[bytes] = []
    length = 1
    after = -1  # behind the first pointer, where reading goes on
    bound = offset
    while True:
        if offset >= len(data):
            raise MalformedMessage("name cut short")
        size = data[offset]
        if size == 0:
            return tuple(labels), offset + 1 if after < 0 else after
        if size & 0xC0 == 0xC0:
            if offset + 2 > len(data):
                raise MalformedMessage("pointer cut short")
            target = (size & 0x3F) << 8 | data[offset + 1]
            if target >= bound:
                raise MalformedMessage("pointer does not lead backwards")
            if after < 0:
                after = offset + 2
            offset = bound = target
            continue
        if size > MAX_LABEL:
            raise MalformedMessage("reserved label type")
        label = data[offset + 1 : offset + 1 + size]
        length += size + 1
        if len(label) < size:
            raise MalformedMessage("label cut short")
        if length > MAX_NAME:
            raise MalformedMessage("name longer than 255 bytes")
        labels.append(label)
        offset += size + 1


def _read_record(data: bytes, offset: int) -> tuple[Record, int]:
    name, offset = _read_name(data, offset)
    begin = offset + RECORD_TAIL.size
    if begin > len(data):
        raise MalformedMessage("record cut short")
    kind, cls, ttl, size = RECORD_TAIL.unpack_from(data, offset)
    end = begin + size
    if end > len(data):
        raise MalformedMessage("record data cut short")
    return Record(name, _read_data(data, kind, begin, end), ttl, cls), end


def _read_data(data: bytes, kind: int, begin: int, end: int) -> Address | Srv | Soa | Opaque:
    size = end - begin
    if kind in (Type.A, Type.AAAA):
        if size != (4 if kind == Type.A else 16):
            raise MalformedMessage("address of a wrong length")
        return Address(data[begin:end])
    if kind == Type.SRV:
        if size <= SRV_HEAD.size:
            raise MalformedMessage("SRV data cut short")
        target, after = _read_name(data, begin + SRV_HEAD.size)
        _must_end(after, end)
        priority, weight, port = SRV_HEAD.unpack_from(data, begin)
        return Srv(priority, weight, port, target)
    if kind == Type.SOA:
        mname, after = _read_name(data, begin)
        rname, after = _read_name(data, after)
        _must_end(after + SOA_TAIL.size, end)
        return Soa(mname, rname, *SOA_TAIL.unpack_from(data, after))
    return Opaque(kind, data[begin:end])


def _must_end(offset: int, end: int) -> None:
    if offset != end:
        raise MalformedMessage("record data of a wrong length")


def _write_records(out: bytearray, records: tuple[Record, ...], seen: dict[Name, int], room: int) -> int:
    """Append records while they fit; return how many did. A name of one that did not is never pointed to."""
    for count, record in enumerate(records):
        begin = len(out)
        _write_name(out, record.name, seen)
        out += RECORD_TAIL.pack(record.data.type, record.cls, record.ttl, 0)
        body = len(out)
        _write_data(out, record.data, seen)
        out[body - 2 : body] = (len(out) - body).to_bytes(2, "big")
        if len(out) > room:
            del out[begin:]
            for name in [name for name, offset in seen.items() if offset >= begin]:
                del seen[name]
            return count
    return len(records)


def _write_data(out: bytearray, data: Address | Srv | Soa | Opaque, seen: dict[Name, int]) -> None:
    match data:
        case Address(packed=packed):
            out += packed
        case Srv():
            out += SRV_HEAD.pack(data.priority, data.weight, data.port)
            _write_name(out, data.target, None)  # RFC 2782: the target is not compressed
        case Soa():
            _write_name(out, data.mname, seen)
            _write_name(out, data.rname, seen)
            out += SOA_TAIL.pack(data.serial, data.refresh, data.retry, data.expire, data.minimum)
        case Opaque(data=raw):
            out += raw


def _write_name(out: bytearray, name: Name, seen: dict[Name, int] | None) -> None:
    """Append a name, ending in a pointer when its end was written before in the same case."""
    for rest in _suffixes(name):
        if seen is not None:
            if (offset := seen.get(rest)) is not None:
                out += (0xC000 | offset).to_bytes(2, "big")
                return
            if len(out) <= MAX_POINTER:
                seen[rest] = len(out)
        out.append(len(rest[0]))
        out += rest[0]
    out.append(0)


def _suffixes(name: Name) -> Iterator[Name]:
    return (name[first:] for first in range(len(name)))


def _opt(record: Record) -> bytes:
    out = bytearray(1)  # its name is the root
    assert isinstance(record.data, Opaque)
    out += RECORD_TAIL.pack(Type.OPT, record.cls, record.ttl, len(record.data.data))
    return bytes(out + record.data.data)
