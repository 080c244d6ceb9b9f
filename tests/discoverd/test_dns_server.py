"""DNS over real sockets on loopback, with `dig` as the second end where it is installed."""

import shutil
import socket
import subprocess
from contextlib import asynccontextmanager

import pytest
import trio

from flynn_aio.clock import SystemClock
from flynn_aio.discoverd import Snapshot, dns_server
from flynn_aio.discoverd.dns_server import open_dns
from flynn_aio.discoverd.dns_wire import (
    Address,
    Flag,
    Message,
    Question,
    Rcode,
    Record,
    Type,
    decode,
    encode,
    to_name,
)
from flynn_aio.errors import FlynnError
from flynn_aio.model import Instance, instance_id
from flynn_aio.settings import DiscoverdSettings
from flynn_aio.watch import Watch

HOME = "127.0.0.1"
LONG_NAME = "long-compressed-response"
both_transports = pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
needs_dig = pytest.mark.skipif(shutil.which("dig") is None, reason="dig (dnsutils) is not installed")


def instance(addr: str, index: int) -> Instance:
    return Instance(id=instance_id("tcp", addr), addr=addr, index=index)


HELLO = Snapshot(
    instances={"hello-web": tuple(instance(f"100.100.0.{last}:8080", last) for last in range(2, 7)), "empty": ()}
)


@asynccontextmanager
async def serving(*recursors: str, snapshot=HELLO, timeout_s=0.5):
    """Yield the port of a DNS server on loopback."""
    settings = DiscoverdSettings(
        address=HOME, dns_port=0, recursors=recursors or ("127.0.0.1:1",), recursion_timeout_s=timeout_s
    )
    async with open_dns(settings, Watch(snapshot), SystemClock()) as port:
        yield port


async def exchange(port: int, query: bytes, *, tcp: bool) -> bytes:
    """Send one query as a client would, and return the bytes that come back."""
    with trio.fail_after(5):
        if tcp:
            async with await trio.open_tcp_stream(HOME, port) as stream:
                await stream.send_all(len(query).to_bytes(2, "big") + query)
                return await receive_message(stream)
        with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
            await sock.connect((HOME, port))
            await sock.send(query)
            return await sock.recv(65535)


async def receive_message(stream) -> bytes:
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        piece = await stream.receive_some(65536)
        assert piece, "closed in the middle of a message"
        data += piece
    return data[2:]


def question(name: str, kind: int = Type.A, ident: int = 4711) -> bytes:
    return encode(Message(id=ident, flags=Flag.RECURSION_DESIRED, questions=(Question(to_name(name), kind),)))


class Upstream:
    """A recursor of our own, on one port over both transports.

    Args:
        answer: turns a query into the reply to send; ``None`` keeps silent.
    """

    def __init__(self, answer) -> None:
        self._answer = answer
        self.asked: list[bytes] = []

    @asynccontextmanager
    async def open(self):
        udp, tcp = dns_server.bind(HOME, 0)
        with udp, tcp:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_udp, trio.socket.from_stdlib_socket(udp))
                listener = trio.SocketListener(trio.socket.from_stdlib_socket(tcp))
                nursery.start_soon(trio.serve_listeners, self._serve_tcp, [listener])
                yield f"{HOME}:{udp.getsockname()[1]}"
                nursery.cancel_scope.cancel()

    def _reply(self, query: bytes) -> bytes | None:
        self.asked.append(query)
        return self._answer(query)

    async def _serve_udp(self, sock) -> None:
        while True:
            query, peer = await sock.recvfrom(65535)
            if reply := self._reply(query):
                await sock.sendto(reply, peer)

    async def _serve_tcp(self, stream) -> None:
        async with stream:
            if reply := self._reply(await receive_message(stream)):
                await stream.send_all(len(reply).to_bytes(2, "big") + reply)


def long_answer(query: bytes) -> bytes:
    """Return 25 addresses, which fit into 512 bytes only when compressed."""
    asked = decode(query)
    answers = tuple(Record(asked.questions[0].name, Address(bytes([192, 168, 0, last]))) for last in range(25))
    flags = Flag.RESPONSE | Flag.RECURSION_AVAILABLE
    reply = encode(Message(id=asked.id, flags=flags, questions=asked.questions, answers=answers))
    assert len(reply) <= 512
    return reply


def with_rcode(rcode: Rcode):
    def answer(query: bytes) -> bytes:
        asked = decode(query)
        return encode(Message(id=asked.id, flags=Flag.RESPONSE, rcode=rcode, questions=asked.questions))

    return answer


def silence(_query: bytes) -> None:
    return None


@both_transports
async def test_our_names_are_answered(tcp):
    async with serving() as port:
        answer = decode(await exchange(port, question("Hello-Web.discoverd"), tcp=tcp))
    assert len(answer.answers) == (5 if tcp else 3)
    assert answer.questions[0].name == to_name("Hello-Web.discoverd")


@both_transports
async def test_others_are_asked_of_the_recursor_and_its_reply_arrives_untouched(tcp):
    upstream = Upstream(long_answer)
    async with upstream.open() as addr, serving(addr) as port:
        query = question(LONG_NAME)
        reply = await exchange(port, query, tcp=tcp)
    assert reply == long_answer(query)
    (asked,) = upstream.asked
    assert asked[2:] == query[2:]


@both_transports
async def test_a_dead_recursor_is_passed_over(tcp):
    async with Upstream(long_answer).open() as addr, serving("127.1.1.1:55", addr) as port:
        assert len(decode(await exchange(port, question(LONG_NAME), tcp=tcp)).answers) == 25


@both_transports
async def test_a_silent_recursor_costs_one_wait_and_is_asked_last_from_then_on(tcp):
    quiet = Upstream(silence)
    async with (
        quiet.open() as first,
        Upstream(long_answer).open() as second,
        serving(first, second, timeout_s=0.1) as port,
    ):
        for _ in range(3):
            assert len(decode(await exchange(port, question(LONG_NAME), tcp=tcp)).answers) == 25
    assert len(quiet.asked) == 1


@both_transports
async def test_all_dead_is_a_server_failure(tcp):
    async with serving("127.1.1.1:55") as port:
        answer = decode(await exchange(port, question("example.com"), tcp=tcp))
    assert answer.rcode == Rcode.SERVFAIL
    assert Flag.RECURSION_AVAILABLE in answer.flags


@both_transports
async def test_a_refusing_recursor_is_passed_over_and_its_word_is_the_last_resort(tcp):
    async with Upstream(with_rcode(Rcode.REFUSED)).open() as bad, Upstream(long_answer).open() as good:
        async with serving(bad, good) as port:
            assert len(decode(await exchange(port, question(LONG_NAME), tcp=tcp)).answers) == 25
        async with serving(bad) as port:
            assert decode(await exchange(port, question(LONG_NAME), tcp=tcp)).rcode == Rcode.REFUSED


@both_transports
async def test_a_missing_name_is_an_answer(tcp):
    async with Upstream(with_rcode(Rcode.NXDOMAIN)).open() as first, Upstream(long_answer).open() as second:
        async with serving(first, second) as port:
            assert decode(await exchange(port, question("nowhere.example"), tcp=tcp)).rcode == Rcode.NXDOMAIN


async def test_forged_replies_are_ignored():
    """Another id, another question, a mere query: waiting goes on until the real one comes."""

    def forge(query: bytes) -> bytes:
        return next(forged)(query)

    forged = iter(
        [
            lambda query: bytes([query[0] ^ 1]) + long_answer(query)[1:],
            lambda query: query[:2] + long_answer(question("evil.example"))[2:],
            lambda query: query,
        ]
    )
    upstream = Upstream(forge)
    async with upstream.open() as addr, serving(addr, timeout_s=0.05) as port:
        for _ in range(3):
            assert decode(await exchange(port, question("bank.example"), tcp=False)).rcode == Rcode.SERVFAIL
    assert len({query[:2] for query in upstream.asked}) > 1  # and each time with another id


async def test_too_many_questions_at_once_are_told_so(monkeypatch):
    monkeypatch.setattr(dns_server, "MAX_FORWARDS", 2)
    async with Upstream(silence).open() as addr, serving(addr, timeout_s=5) as port:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
            await sock.connect((HOME, port))
            for ident in range(3):
                await sock.send(question("slow.example", ident=ident))
            with trio.fail_after(2):
                answer = decode(await sock.recv(65535))
            assert (answer.id, answer.rcode) == (2, Rcode.SERVFAIL)
            await sock.send(question("hello-web.discoverd", ident=9))  # ours are answered all the same
            with trio.fail_after(2):
                assert decode(await sock.recv(65535)).rcode == Rcode.NOERROR


async def test_a_connection_takes_several_questions():
    async with serving() as port, await trio.open_tcp_stream(HOME, port) as stream:
        queries = [question("hello-web.discoverd", ident=ident) for ident in (1, 2, 3)]
        await stream.send_all(b"".join(len(query).to_bytes(2, "big") + query for query in queries))
        data = b""
        with trio.fail_after(2):
            while len(data) < 3 * (2 + len(await exchange(port, queries[0], tcp=True))):
                data += await stream.receive_some(65536)
    size = int.from_bytes(data[:2], "big")
    assert [int.from_bytes(data[at + 2 : at + 4], "big") for at in range(0, len(data), size + 2)] == [1, 2, 3]


async def test_an_idle_connection_is_closed(monkeypatch):
    monkeypatch.setattr(dns_server, "TCP_IDLE_S", 0.05)
    async with serving() as port, await trio.open_tcp_stream(HOME, port) as stream:
        await stream.send_all(b"\x00")
        with trio.fail_after(2):
            assert await stream.receive_some() == b""


async def test_one_connection_too_many_is_closed(monkeypatch):
    monkeypatch.setattr(dns_server, "MAX_CONNECTIONS", 1)
    async with serving() as port, await trio.open_tcp_stream(HOME, port) as first:
        await first.send_all(b"\x00")
        async with await trio.open_tcp_stream(HOME, port) as second:
            with trio.fail_after(2):
                assert await second.receive_some() == b""


async def test_noise_hurts_nobody():
    async with serving() as port:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
            await sock.connect((HOME, port))
            for noise in (b"", b"\x00" * 5, b"\xff" * 500, b"\x00" * 12):
                await sock.send(noise)
        answer = await exchange(port, question("hello-web.discoverd"), tcp=False)
    assert decode(answer).rcode == Rcode.NOERROR


async def test_a_busy_port_says_which_and_what_to_do():
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind((HOME, 0))
        port = taken.getsockname()[1]
        settings = DiscoverdSettings(address=HOME, dns_port=port)
        with pytest.raises(FlynnError) as caught:
            async with open_dns(settings, Watch(HELLO), SystemClock()):
                pass
    assert f"cannot answer DNS on 127.0.0.1 port {port}: another program listens there" in caught.value.message
    assert "ss -lntup" in caught.value.message


async def test_an_address_that_is_not_there_yet_can_be_listened_on():
    """The bridge of the jobs' network comes with the first container."""
    settings = DiscoverdSettings(address="198.51.100.77", dns_port=0)
    async with open_dns(settings, Watch(HELLO), SystemClock()) as port:
        assert port > 0


async def test_a_recursor_that_makes_no_sense_is_named():
    settings = DiscoverdSettings(address=HOME, dns_port=0, recursors=("what ever",))
    with pytest.raises(FlynnError, match="'what ever'"):
        async with open_dns(settings, Watch(HELLO), SystemClock()):
            pass


async def dig(port: int, *args: str) -> str:
    """Ask with BIND's own client, which also complains about anything odd in an answer."""
    command = ["dig", f"@{HOME}", "-p", str(port), "+tries=1", "+time=3", *args]
    done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode()


@needs_dig
async def test_dig_reads_addresses():
    async with serving() as port:
        assert sorted((await dig(port, "+short", "+tcp", "hello-web.discoverd")).split()) == [
            f"100.100.0.{last}" for last in range(2, 7)
        ]
        answer = await dig(port, "HELLO-web.discoverd")
    assert "status: NOERROR" in answer
    assert "flags: qr aa rd ra;" in answer
    assert "ANSWER: 3" in answer
    assert "HELLO-web.discoverd.\t0\tIN\tA\t100.100.0." in answer
    assert "WARNING" not in answer


@needs_dig
async def test_dig_reads_srv_with_additional_records():
    async with serving() as port:
        answer = " ".join((await dig(port, "+tcp", "_hello-web._tcp.discoverd", "SRV")).split())
        target = instance("100.100.0.2:8080", 2).id + ".hello-web._i.discoverd"
        assert f"_hello-web._tcp.discoverd. 0 IN SRV 1 1 8080 {target}." in answer
        assert f"{target}. 0 IN A 100.100.0.2" in answer
        assert (await dig(port, "+short", target)).strip() == "100.100.0.2"
        assert (await dig(port, "+short", "leader.hello-web.discoverd")).strip() == "100.100.0.2"


@needs_dig
async def test_dig_reads_empty_and_missing():
    async with serving() as port:
        empty = await dig(port, "empty.discoverd")
        missing = await dig(port, "missing.discoverd")
        nothing = await dig(port, "+short", "hello-web.discoverd", "AAAA")
    soa = "discoverd.\t\t0\tIN\tSOA\tns.discoverd. postmaster.discoverd. "
    assert "status: NOERROR" in empty
    assert soa in empty
    assert "status: NXDOMAIN" in missing
    assert soa in missing
    assert nothing == ""


@needs_dig
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_dig_gets_names_of_others(transport):
    async with Upstream(long_answer).open() as addr, serving(addr) as port:
        answer = await dig(port, transport, LONG_NAME)
    assert "ANSWER: 25" in answer
    assert "Message parser reports malformed message packet" not in answer
