"""DNS messages: round trips, stock examples, and bytes that mean harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.discoverd.dns_wire import (
    Address,
    Flag,
    MalformedMessage,
    Message,
    Opaque,
    Question,
    Record,
    Soa,
    Srv,
    Type,
    decode,
    encode,
    to_name,
)

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
labels = st.binary(min_size=1, max_size=20)
# Few labels, so that names share their ends and compression has something to do.
names = st.lists(st.one_of(st.sampled_from([b"a", b"A", b"discoverd", b"x" * 63]), labels), max_size=3).map(tuple)
known = {Type.A, Type.AAAA, Type.SRV, Type.SOA, Type.OPT}
data = st.one_of(
    st.binary(min_size=4, max_size=4).map(Address),
    st.binary(min_size=16, max_size=16).map(Address),
    st.builds(Srv, u16, u16, u16, names),
    st.builds(Soa, names, names, u32, u32, u32, u32, u32),
    st.builds(Opaque, u16.filter(lambda kind: kind not in known), st.binary(max_size=40)),
)
records = st.lists(st.builds(Record, names, data, ttl=u32, cls=u16), max_size=4).map(tuple)
opt = st.builds(
    Record, st.just(()), st.builds(Opaque, st.just(int(Type.OPT)), st.binary(max_size=20)), ttl=u32, cls=u16
)
flags = st.lists(st.sampled_from([flag for flag in Flag if flag]), max_size=3).map(
    lambda some: Flag(sum(set(some), start=Flag.NONE))
)
messages = st.builds(
    Message,
    id=u16,
    flags=flags,
    opcode=st.integers(0, 15),
    rcode=st.integers(0, 15),
    questions=st.lists(st.builds(Question, names, u16, u16), max_size=2).map(tuple),
    answers=records,
    authorities=records,
    additionals=st.tuples(records, st.lists(opt, max_size=1).map(tuple)).map(lambda both: both[0] + both[1]),
)


@given(messages)
def test_what_is_written_is_read_back(message):
    assert decode(encode(message)) == message


@given(messages, st.integers(100, 600))
def test_a_limit_cuts_whole_records_from_the_end_and_says_so(message, limit):
    full, cut = decode(encode(message)), decode(encode(message, limit=limit))
    sections = [(getattr(cut, name), getattr(full, name)) for name in ("answers", "authorities")]
    for kept, all_of_them in sections:
        assert kept == all_of_them[: len(kept)]
    assert (Flag.TRUNCATED in cut.flags) == (
        Flag.TRUNCATED in full.flags or any(len(kept) < len(whole) for kept, whole in sections)
    )
    assert cut.edns == full.edns
    questions = len(encode(Message(id=0, questions=message.questions)))
    assert len(encode(message, limit=limit)) <= max(limit, questions + 60)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(noise):
    try:
        decode(noise)
    except MalformedMessage:
        return


@given(messages, st.data())
def test_a_message_with_one_byte_changed_is_a_message_or_malformed(message, draw):
    wire = bytearray(encode(message))
    wire[draw.draw(st.integers(0, len(wire) - 1))] = draw.draw(u8)
    try:
        decode(bytes(wire))
    except MalformedMessage:
        return


@given(messages, st.data())
def test_a_message_cut_short_is_malformed_or_ended_there(message, draw):
    wire = encode(message)
    cut = wire[: draw.draw(st.integers(0, len(wire) - 1))]
    with pytest.raises(MalformedMessage):
        decode(cut)


HEADER = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",  # points at itself
        b"\xc0\x0e\xc0\x0c",  # two that point at each other
        b"\x01a\xc0\x0c",  # a label, and again from the beginning: would never end
        b"\xc0\xff",  # beyond the end
        b"\xc0",  # half a pointer
        b"\x40abc",  # reserved label types
        b"\x80abc",
        b"\x05ab",  # longer than what is there
        b"\x3f" + b"a" * 63,  # no end
        (b"\x3f" + b"a" * 63) * 4 + b"\x00",  # 257 bytes
    ],
)
def test_names_that_mean_harm_are_malformed(name):
    with pytest.raises(MalformedMessage):
        decode(HEADER + name + b"\x00\x01\x00\x01" * (not name.startswith(b"\x3f")))


def test_a_chain_of_pointers_is_followed_and_the_name_stays_bounded():
    questions, ends = b"\x01a\x00\x00\x01\x00\x01", [12]
    for _ in range(126):  # each name is one label before the one in front of it
        ends.append(12 + len(questions))
        questions += b"\x01b" + (0xC000 | ends[-2]).to_bytes(2, "big") + b"\x00\x01\x00\x01"
    head = HEADER[:4] + len(ends).to_bytes(2, "big") + HEADER[6:]
    assert decode(head + questions).questions[-1].name == (b"b",) * 126 + (b"a",)
    questions += b"\x01b" + (0xC000 | ends[-1]).to_bytes(2, "big") + b"\x00\x01\x00\x01"
    with pytest.raises(MalformedMessage, match="longer"):
        decode(HEADER[:4] + (len(ends) + 1).to_bytes(2, "big") + HEADER[6:] + questions)


def test_the_longest_name_is_read():
    labels = (b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 61)
    wire = encode(Message(id=1, questions=(Question(labels, 1),)))
    assert decode(wire).questions[0].name == labels


@pytest.mark.parametrize("kind", [Type.A, Type.AAAA, Type.SRV, Type.SOA])
def test_record_data_of_a_wrong_length_is_malformed(kind):
    head = b"\x00\x00\x80\x00\x00\x00\x00\x01\x00\x00\x00\x00"
    record = b"\x00" + int(kind).to_bytes(2, "big") + b"\x00\x01\x00\x00\x00\x00\x00\x05" + b"\x00" * 5
    with pytest.raises(MalformedMessage):
        decode(head + record)


def test_names_are_compressed_in_the_case_they_were_written():
    question = Question(to_name("App-Web.Discoverd"), Type.A)
    answers = (Record(question.name, Address(bytes(4))), Record(to_name("discoverd"), Address(bytes(4))))
    wire = encode(Message(id=1, questions=(question,), answers=answers))
    assert wire.count(b"App-Web") == 1
    assert wire.count(b"discoverd") == 1  # another case is another text
    assert decode(wire).answers == answers


def test_a_stock_query_is_read():
    """What `dig +noedns a-web.discoverd SRV` sends."""
    wire = bytes.fromhex("abcd01200001000000000000") + b"\x05a-web\x09discoverd\x00\x00\x21\x00\x01"
    assert decode(wire) == Message(
        id=0xABCD,
        flags=Flag.RECURSION_DESIRED | Flag.AUTHENTIC,
        questions=(Question((b"a-web", b"discoverd"), Type.SRV),),
    )
