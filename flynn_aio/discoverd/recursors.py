"""Recursors: the host's resolvers, to which names of others are sent on.

They are asked in the listed order, each with a fresh id from a fresh port, and a reply counts
only if it comes from whom we asked, with that id and that question. One that did not answer is
asked last for a while, so that a dead first resolver costs one wait and not one per question.

Source: `discovery.md` §5; RFC 5452 (what makes a reply hard to forge).
"""

import ipaddress
import logging
import math
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from .dns_wire import (
    HEADER,
    Flag,
    MalformedMessage,
    Question,
    Rcode,
    decode_header,
    decode_question,
    lower,
)

logger = logging.getLogger(__name__)

DNS_PORT = 53
RESOLV_CONF = Path("/etc/resolv.conf")
RESOLV_CONF_BYTES = 64 * 1024
LOOK_EVERY_S = 5.0
"""How old our reading of `resolv.conf` may be: laptops change networks."""
BENCH_S = 30.0
"""How long a silent recursor is asked last."""
UNUSABLE = frozenset({Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NOTIMP, Rcode.FORMERR})
"""Replies that say something about the recursor and not about the name: the next one is asked."""

_RECURSOR = re.compile(
    r"""\[(?P<bracketed>[0-9a-f:.]+)\](:(?P<port>\d+))? | (?P<bare>[0-9a-f]*:[0-9a-f.]*:[0-9a-f:.]*)
      | (?P<plain>[^][:/\s]+)(:(?P<plain_port>\d+))?""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Recursor:
    """Where a resolver listens; `host` is an address or a name."""

    host: str
    port: int = DNS_PORT


def parse_recursor(text: str) -> Recursor:
    """Read ``1.2.3.4``, ``1.2.3.4:5353``, ``2001:db8::1``, ``[2001:db8::1]:5353``, ``ns.example:5353``.

    Raises:
        ValueError: none of these.
    """
    found = _RECURSOR.fullmatch(text.strip())
    port = int(found["port"] or found["plain_port"] or DNS_PORT) if found else 0
    if found is None or not 0 < port < 65536:
        raise ValueError(f"recursor {text!r} is no address, and no address with a port")
    return Recursor(found["bracketed"] or found["bare"] or found["plain"], port)


def parse_resolv_conf(text: str) -> list[Recursor]:
    """Return the name servers of a `resolv.conf`, in order; lines nobody can use are passed over."""
    found = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", address, *_] if _is_address(host := address.partition("%")[0]):
                found.append(Recursor(host))
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def order(recursors: Iterable[Recursor], silent_since: dict[Recursor, float], *, now: float) -> list[Recursor]:
    """Return the recursors in the order to ask: as listed, those silent a moment ago last."""
    return sorted(recursors, key=lambda one: now - silent_since.get(one, -math.inf) < BENCH_S)


class Recursors:
    """The resolvers to ask, and who of them was silent lately.

    Args:
        configured: texts for `parse_recursor`; empty means those of `resolv_conf`.
        own_address: never asked, since that would be ourselves.
        timeout_s: how long each may take.
    """

    def __init__(
        self, configured: Sequence[str], *, own_address: str, timeout_s: float, resolv_conf: Path = RESOLV_CONF
    ) -> None:
        self._configured = [parse_recursor(text) for text in configured]
        self._own_address = own_address
        self._timeout_s = timeout_s
        self._resolv_conf = resolv_conf
        self._found: list[Recursor] = []
        self._looked_at = -math.inf
        self._silent_since: dict[Recursor, float] = {}

    def current(self) -> list[Recursor]:
        """Return whom to ask, in order; empty when there is nobody."""
        now = trio.current_time()
        if self._configured:
            return order(self._configured, self._silent_since, now=now)
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            found = parse_resolv_conf(_read_start(self._resolv_conf))
            self._found = [one for one in found if one.host != self._own_address]
            self._silent_since = {one: at for one, at in self._silent_since.items() if one in self._found}
        return order(self._found, self._silent_since, now=now)

    async def ask(self, query: bytes, *, tcp: bool) -> bytes | None:
        """Return the first usable reply to `query`, with the query's own id.

        Replies are passed on byte for byte, whatever is in them. When all there is are refusals
        the last of them is returned, and ``None`` when nobody answered.
        """
        question, _ = decode_question(query)
        refusal = None
        for recursor in self.current():
            ident = secrets.token_bytes(2)
            reply = None
            with trio.move_on_after(self._timeout_s):
                exchange = _ask_tcp if tcp else _ask_udp
                reply = await exchange(ident + query[2:], recursor, question)
            if reply is None:
                self._silent_since[recursor] = trio.current_time()
                logger.info("recursor is silent", extra={"recursor": recursor.host})
                continue
            self._silent_since.pop(recursor, None)
            refusal = query[:2] + reply[2:]
            if decode_header(reply)[0].rcode not in UNUSABLE:
                return refusal
        return refusal


async def _ask_udp(query: bytes, recursor: Recursor, question: Question) -> bytes | None:
    """Exchange one datagram; replies that do not fit are ignored, and waiting goes on."""
    try:
        family, address = await _resolve(recursor, trio.socket.SOCK_DGRAM)
        with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
            await sock.connect(address)  # only this peer's datagrams come in, and a refusal is an error
            await sock.send(query)
            while True:
                reply = await sock.recv(65535)
                if _fits(reply, query, question):
                    return reply
    except OSError:
        return None


async def _ask_tcp(query: bytes, recursor: Recursor, question: Question) -> bytes | None:
    try:
        family, address = await _resolve(recursor, trio.socket.SOCK_STREAM)
        with trio.socket.socket(family, trio.socket.SOCK_STREAM) as sock:
            await sock.connect(address)
            stream = trio.SocketStream(sock)
            await stream.send_all(len(query).to_bytes(2, "big") + query)
            size = await receive_exactly(stream, 2)
            reply = await receive_exactly(stream, int.from_bytes(size, "big")) if size else None
    except (OSError, trio.BrokenResourceError):
        return None
    return reply if reply and _fits(reply, query, question) else None


async def receive_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes | None:
    """Return the next `size` bytes, or ``None`` when the stream ends before."""
    data = bytearray()
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


async def _resolve(recursor: Recursor, kind: int) -> tuple[int, tuple[str, int]]:
    """Return the address family and the address of a recursor.

    Raises:
        OSError: its name means nothing, or cannot be a name.
    """
    try:
        found = await trio.socket.getaddrinfo(recursor.host, recursor.port, type=kind)
    except UnicodeError as exc:
        raise OSError(f"{recursor.host!r} cannot be the name of a host") from exc
    family, _, _, _, address = found[0]
    return family, (str(address[0]), recursor.port)


def _fits(reply: bytes, query: bytes, question: Question) -> bool:
    """Whether `reply` answers just this query."""
    try:
        head, counts = decode_header(reply)
        if counts[0] != 1 or Flag.RESPONSE not in head.flags or reply[:2] != query[:2]:
            return False
        theirs, _ = decode_question(reply, HEADER.size)
    except MalformedMessage:
        return False
    return (lower(theirs.name), theirs.type, theirs.cls) == (lower(question.name), question.type, question.cls)


def _read_start(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(RESOLV_CONF_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
