"""What a handler is given and what it answers with.

A handler is a plain async function of the `Parts` it may use and the `Request` it serves. It
knows nothing of ASGI, sockets or statuses: it returns a `Reply` or a `Stream`, or raises a
`FlynnError`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import trio
from msgspec import UNSET, Struct, UnsetType

from ..clock import Clock
from ..discoverd import Services
from ..engine import Engine
from ..errors import NotFound
from ..images import Layers
from ..logs import Logs
from ..model import Artifact, as_uuid, encode
from ..providers import Providers
from ..settings import ControllerSettings
from ..store import Keyring, Store, last_hop
from .connection import Receive
from .flows import Flows

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


class Status(Struct, frozen=True, kw_only=True):
    """How the appliance is, as `/.well-known/status` shows it.

    Attributes:
        status: ``healthy`` or ``unhealthy``.
        detail: anything that helps a person or a program to see why.
        version: Flynn's clients take a text that does not begin with ``v`` for the newest.
    """

    status: str = "healthy"
    detail: dict[str, object] | UnsetType = UNSET
    version: str = "dev"


class StatusReply(Struct, frozen=True, kw_only=True):
    """The body of `/.well-known/status`."""

    data: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """The API's description of itself: the same for every request.

    Attributes:
        openapi: the OpenAPI document, JSON.
        page: the same for people, HTML without scripts; `policy` is its Content-Security-Policy.
    """

    openapi: bytes
    page: bytes
    policy: str


class Slugs(Protocol):
    """Who keeps the slugs that pushes make: `receive.SlugTransfer`."""

    async def is_there(self, slug: str) -> bool: ...

    def open_tar(self, slug: str) -> AbstractAsyncContextManager[AsyncGenerator[bytes, None]]:
        """Have a slug as a tar in gzip while the block runs."""
        ...

    async def receive(self, pieces: AsyncIterator[bytes], *, runner: str = "") -> list[Artifact]:
        """Keep a slug that comes as a tar in gzip; return its runner and itself, once they are stored."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of the appliance the API speaks for.

    Attributes:
        documents: returns the API's description of itself; made at the first call, which takes a moment.
        status: asks how the appliance is.
        background: for work that outlives its request and ends with the controller.
        leaving: set when the controller drains.
        flows: the streams that go on; they end when the controller drains.
    """

    settings: ControllerSettings
    store: Store
    keys: Keyring
    engine: Engine
    logs: Logs
    layers: Layers
    slugs: Slugs
    services: Services
    providers: Providers
    clock: Clock
    status: Callable[[], Awaitable[Status]]
    documents: Callable[[], Documents]
    background: trio.Nursery
    leaving: trio.Event
    flows: Flows


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a request: `target` is path and query as sent, `headers` are by lower-case name."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def address(self) -> str:
        """The client's address; empty when it did not come through the router."""
        return last_hop(self.headers.get("x-forwarded-for", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, authenticated, with its whole body; where the endpoint `streams`, that is still to come.

    Attributes:
        params: what stood in the path where the route has a ``:name``.
        query: every value of every query parameter, in order.
        headers: by lower-case name; the last one wins.
        key: the name of the key it came with; empty where none is asked for.
        receive: gives the pieces of a body that streams, see `body.read_pieces`.
    """

    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    key: str = ""
    receive: Receive | None = None

    @property
    def app(self) -> str:
        """The app in the path: its id or its name."""
        return self.params["app"]

    def uuid(self, name: str) -> str:
        """Return an id of the path.

        Raises:
            NotFound: it is no UUID, so nothing can have it.
        """
        if (found := as_uuid(self.params[name])) is None:
            raise NotFound(f"{name} {self.params[name]!r} does not exist: its id is not a UUID")
        return found

    def first(self, name: str) -> str:
        """Return the first value of a query parameter; empty when it is absent."""
        return self.query.get(name, [""])[0]

    def last(self, name: str) -> str | None:
        """Return the last value of a query parameter; ``None`` when it is absent."""
        return self.query[name][-1] if name in self.query else None

    @property
    def accept(self) -> str:
        return self.headers.get("accept", "")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Without a `content_type` there is no body."""

    body: bytes = b""
    content_type: str = ""
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Beside those that frame and describe the body; their names in lower case."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer without an end in sight.

    Attributes:
        source: entered before the first byte of the answer is sent, so whatever happens once
            the client sees the head is in the stream. It yields the pieces of the body.
    """

    content_type: str
    source: AbstractAsyncContextManager[AsyncGenerator[bytes]]
    headers: tuple[tuple[bytes, bytes], ...] = ()
    is_one: bool = False
    """It is of use only as a whole: one that does not get to its end is cut, so that nobody takes it for whole."""


Handler = Callable[[Parts, Request], Awaitable[Reply | Stream]]

EMPTY = Reply()


def decimal(text: str, *, at_most: int) -> int | None:
    """Return the number that plain digits make; ``None`` when they are none, or make more than `at_most`.

    Their count is looked at first: Python converts no more than 4300 of them.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(at_most))):
        return None
    number = int(text)
    return number if number <= at_most else None


def reply(value: object) -> Reply:
    """Answer with the JSON of a noun, or of a list of them."""
    return Reply(encode(value), JSON)
