"""Doorstep: what each request's head meets before Hypercorn does. Pure.

Four things must not reach Hypercorn, and the bytes of a head are the one place to see them:

- an upgrade to `flynn-attach/0`, which we answer ourselves, on the bare connection;
- a request for an event stream, for which Hypercorn is too much (`bare`);
- any other upgrade: Hypercorn honours WebSockets and cleartext HTTP/2, we offer neither, and
  a WebSocket upgrade with trailing bytes crashes it. An upgrade may be ignored (RFC 9110 §7.8),
  so the header is dropped and the request answered as if it had not been there;
- the preface of HTTP/2 (RFC 9113 §3.4).

Bodies pass untouched, as does a request that is sent before the answer to the one before it
(pipelining): only `connection`'s boundary protects from those.
"""

import re
from dataclasses import dataclass

from .attach_frames import PROTOCOL

MAX_HEAD_BYTES = 64 * 1024
"""As the router's. A longer head is passed on as it is, and Hypercorn refuses it."""

_END = re.compile(rb"\n\r?\n")
_LINE = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*")  # with its continuation lines, RFC 9112 §5.2
_DROPPED = (b"upgrade:", b"http2-settings:")
_FRAMED = (b"content-length:", b"transfer-encoding:", b"expect:")
_EVENTS = b"text/event-stream"
_PREFACE = b"PRI * HTTP/2.0"


@dataclass(frozen=True, slots=True)
class Pass:
    """Give these bytes to Hypercorn; empty ones mean that the client has finished."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Read more: the head is not complete."""


@dataclass(frozen=True, slots=True)
class Attach:
    """A request for `flynn-attach/0`: its head, and what came of its body so far."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Follow:
    """A request for an event stream: its head, behind which nothing came."""

    data: bytes


class Doorstep:
    """Watches what one client sends, from head to head.

    Args:
        attaching: whether `flynn-attach/0` is spoken here.
        following: whether there are event streams here.
    """

    def __init__(self, *, attaching: bool, following: bool = False) -> None:
        self._attaching = attaching
        self._following = following
        self._head = bytearray()
        self.between_requests = True
        """Set it when an answer is about to end: what comes next is a head."""

    def receive(self, data: bytes) -> Pass | Wait | Attach | Follow:
        """Take the next bytes of the client, empty at their end, and say what becomes of them."""
        if not self.between_requests:
            return Pass(data)
        if not data:
            return Pass(self._taken())
        self._head += data
        end = _END.search(self._head)
        if end is None and len(self._head) <= MAX_HEAD_BYTES:
            return Wait()
        whole = self._taken()
        if whole.startswith(_PREFACE):
            return Pass(b"")
        self.between_requests = False
        if end is None:
            return Pass(whole)
        lines = [line.group() for line in _LINE.finditer(whole[: end.start() + 1])]
        upgrades = [line for line in lines if line.lower().startswith(_DROPPED)]
        if self._attaching and any(PROTOCOL.encode() in line for line in upgrades):
            return Attach(whole)
        kept = b"".join(line for line in lines if line not in upgrades)
        if self._following and end.end() == len(whole) and _asks_for_events(lines):
            return Follow(kept + whole[end.start() + 1 :])
        return Pass(kept + whole[end.start() + 1 :])

    def _taken(self) -> bytes:
        taken = bytes(self._head)
        self._head.clear()
        return taken


def _asks_for_events(lines: list[bytes]) -> bool:
    """Tell whether a head is that of a GET without a body which wants events."""
    if not lines[0].startswith(b"GET "):
        return False
    names = [line.lower() for line in lines[1:]]
    accepted = any(line.startswith(b"accept:") and _EVENTS in line for line in names)
    return accepted and not any(line.startswith(_FRAMED) for line in names)
