"""The door for git clients: a raw ASGI application for the host `git.DOMAIN`.

One request is one git process. Bodies stream both ways in pieces, so that a large push costs
no memory. A client that hangs up is noticed by the task that awaits `receive()` (the reliable
way: `send` to a vanished client says nothing), and everything the request began is cancelled.
"""

import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from ..audit import GONE, Audit
from ..errors import FlynnError, NotFound, RateLimited, Unauthorized
from ..model import App
from ..store import Keyring, Store, last_hop, queries
from .git import Git
from .repo import HandOver, Repositories, Repository
from .smart_http import (
    KEY_REMOVED,
    NO_CACHE,
    UNAUTHORIZED,
    UNKNOWN_APP,
    Ask,
    Headers,
    Inflate,
    Refusal,
    advertisement_head,
    basic_password,
    header,
    read_ask,
    wire_protocol,
)

logger = logging.getLogger(__name__)

Scope = Mapping[str, Any]
Message = Mapping[str, Any]
ReceiveMessage = Callable[[], Awaitable[Any]]
SendMessage = Callable[[Any], Awaitable[None]]
DecidePush = Callable[[App, Repository, HandOver], Awaitable[None]]
"""Wait for the push behind a hand-over, and decide it. Cancelled when the pusher hangs up."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
BODY_IDLE_S = 300.0
"""Between two pieces of a request body; a client that is silent for longer has gone."""


class Reply:
    """One response. It begins with its first byte, so that until then it can still be an error.

    Attributes:
        status: 0 until it has begun.
    """

    def __init__(self, send: SendMessage) -> None:
        self._send_message = send
        self.status = 0

    @property
    def begun(self) -> bool:
        return self.status != 0

    async def begin(self, status: int, headers: Headers) -> None:
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, message: Message) -> None:
        try:
            await self._send_message(message)
        except trio.BusyResourceError:
            # Hypercorn is closing the connection at this moment, so the client has gone: `receive()` says so next.
            await trio.lowlevel.checkpoint()

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a line of text, unless an answer has begun: then it stays without an end."""
        if self.begun:
            return
        body = f"{refusal.text}\n".encode()
        length = (b"content-length", str(len(body)).encode())
        await self.begin(refusal.status, ((b"content-type", b"text/plain; charset=utf-8"), length, *refusal.headers))
        await self.write(body)
        await self.end()


class GitHTTP:
    """The ASGI application."""

    def __init__(self, store: Store, keys: Keyring, repositories: Repositories, decide_push: DecidePush) -> None:
        self._store = store
        self._keys = keys
        self._repositories = repositories
        self._decide_push = decide_push

    async def __call__(self, scope: Scope, receive: ReceiveMessage, send: SendMessage) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})
            return
        headers = scope["headers"]
        audit = Audit(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            address=last_hop(header(headers, b"x-forwarded-for")),
            agent=header(headers, b"user-agent"),
        )
        reply = Reply(send)
        unanswered = GONE
        try:
            await self._reply_to(scope, receive, reply, audit)
        except Exception:
            unanswered = 500  # which is what Hypercorn makes of a bug
            raise
        finally:
            audit.ended(reply.status or unanswered)

    async def _reply_to(self, scope: Scope, receive: ReceiveMessage, reply: Reply, audit: Audit) -> None:
        """Answer a request, also when something fails that may."""
        try:
            refusal = await self._answer(scope, receive, reply, audit)
        except FlynnError as exc:
            logger.warning("git request failed", extra={"path": scope["path"], "error": exc.message})
            refusal = Refusal(503 if exc.retry else 500, exc.message)
        except OSError as exc:
            if exc.errno not in NO_ROOM:
                raise
            logger.warning("git request failed", extra={"path": scope["path"], "error": str(exc)})
            refusal = Refusal(503, f"the appliance cannot write {exc.filename or 'its files'}: {exc.strerror}")
        if refusal:
            await reply.refuse(refusal)

    async def _answer(self, scope: Scope, receive: ReceiveMessage, reply: Reply, audit: Audit) -> Refusal | None:
        headers = scope["headers"]
        key = basic_password(header(headers, b"authorization")) or ""
        try:
            name = await self._keys.authenticate(key, address=last_hop(header(headers, b"x-forwarded-for")))
        except Unauthorized:
            return UNAUTHORIZED
        except RateLimited as exc:
            return Refusal(429, exc.message)
        audit.key = name
        with trio.CancelScope() as exchange, self._keys.session(name, exchange):
            return await self._serve(scope, receive, reply)
        return KEY_REMOVED

    async def _serve(self, scope: Scope, receive: ReceiveMessage, reply: Reply) -> Refusal | None:
        headers = scope["headers"]
        ask = read_ask(scope["method"], scope["path"], scope["query_string"].decode("latin-1"))
        if isinstance(ask, Refusal):
            return ask
        encoding = header(headers, b"content-encoding").lower()
        if not ask.advertise and header(headers, b"content-type") != ask.request_type:
            return Refusal(415, f"the content type must be {ask.request_type}")
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            return Refusal(415, "the only content encoding is gzip")
        try:
            app = await self._store.read(lambda db: queries.app(db, ask.app))
        except NotFound:
            return UNKNOWN_APP
        repository = await self._repositories.open(app.id)
        protocol = wire_protocol(ask, header(headers, b"git-protocol"))
        exchange = _Exchange(ask, receive, reply, Inflate() if encoding.endswith("gzip") else None)
        if ask.advertise:
            async with repository.advertise(ask.service, protocol=protocol) as git:
                return await exchange.run(git, head=advertisement_head(ask, protocol))
        if ask.service == "upload-pack":
            async with repository.upload_pack(protocol=protocol) as git:
                return await exchange.run(git)
        async with repository.receive_pack() as (git, hand_over):
            return await exchange.run(git, beside=lambda: self._decide_push(app, repository, hand_over))


class _Exchange:
    """The bytes of one request: the client's body to git, git's output to the client."""

    def __init__(self, ask: Ask, receive: ReceiveMessage, reply: Reply, inflate: Inflate | None) -> None:
        self._ask = ask
        self._receive = receive
        self._reply = reply
        self._inflate = inflate
        self._refusal: Refusal | None = None

    async def run(
        self, git: Git, *, head: bytes = b"", beside: Callable[[], Awaitable[None]] | None = None
    ) -> Refusal | None:
        """Copy until git ends or the client hangs up. `beside` runs meanwhile, and ends with it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._feed, git, nursery.cancel_scope)
            if beside:
                nursery.start_soon(beside)
            await self._copy(git, head)
            nursery.cancel_scope.cancel()
        return self._refusal

    async def _copy(self, git: Git, head: bytes) -> None:
        headers = ((b"content-type", self._ask.response_type.encode()), *NO_CACHE)
        async for piece in git.output():
            if not self._reply.begun:
                await self._reply.begin(200, headers)
                if head:
                    await self._reply.write(head)
            await self._reply.write(piece)
        code = await git.finish()
        if code and not self._reply.begun:
            text = f"git {self._ask.service} ended with status {code}: {git.errors() or 'it did not say why'}"
            logger.warning("git failed", extra={"app": self._ask.app, "service": self._ask.service, "status": code})
            self._refusal = Refusal(400 if code > 0 else 500, text)
        elif code < 0:
            return  # killed in the middle: without an end the client knows that something is missing
        else:
            if not self._reply.begun:
                await self._reply.begin(200, headers)
            await self._reply.end()

    async def _feed(self, git: Git, request: trio.CancelScope) -> None:
        """Bring the body to git; then wait for the client to hang up, and end the request."""
        try:
            whole = await self._send_body(git)
        except ValueError as exc:
            self._refusal = Refusal(400, str(exc))
            whole = False
        if whole:
            await git.stdin.aclose()
            while (await self._receive())["type"] != "http.disconnect":
                pass
        request.cancel()

    async def _send_body(self, git: Git) -> bool:
        """Return whether the body came to its end.

        Raises:
            ValueError: it is not the gzip it says it is.
        """
        wanted = True
        while True:
            with trio.move_on_after(BODY_IDLE_S) as waiting:
                message = await self._receive()
            if waiting.cancelled_caught:
                self._refusal = Refusal(408, f"nothing came for {BODY_IDLE_S:.0f} seconds")
                return False
            if message["type"] == "http.disconnect":
                return False
            data = message.get("body", b"")
            for piece in self._inflate.feed(data) if self._inflate else (data,):
                if wanted:
                    try:
                        await git.stdin.send_all(piece)
                    except trio.BrokenResourceError:
                        wanted = False  # git has seen enough; a client reads why when it has sent all
            if not message.get("more_body", False):
                if self._inflate:
                    self._inflate.end()
                return True
