"""The controller's doors: in-process connections to the API, to git and to the image service, and how they end.

The router asks for a connection by calling a dial and gets one end of a socket pair; the other
end is served here. No port is opened.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from typing import Literal

import trio
from hypercorn.trio.worker_context import WorkerContext

from ..clock import Clock
from ..discoverd import Services
from ..engine import Engine
from ..images import Layers
from ..logs import Logs
from ..providers import Providers
from ..settings import ControllerSettings
from ..store import Keyring, Store
from ..watch import Bell
from . import attach, bare, provisioning
from .api import Api
from .connection import ASGIApp, AttachServer, Connection, FollowServer, hypercorn_config
from .documents import documents, image_documents
from .flows import Flows, HangUps
from .request import Parts, Slugs, Status
from .routes import find_image

Door = Literal["controller", "git", "images"]
Dial = Callable[[], Awaitable[trio.SocketStream]]
"""Return one end of a new connection that is served like one over TCP: HTTP/1.1, kept alive."""


class Controller:
    """The running controller; see `open_controller`."""

    def __init__(self, parts: Parts, git: ASGIApp, hang_ups: HangUps) -> None:
        self._parts = parts
        api = Api(parts)
        places = trio.CapacityLimiter(parts.settings.max_attached)
        self._doors: dict[Door, tuple[ASGIApp, AttachServer | None, FollowServer | None]] = {
            "controller": (api, partial(attach.serve, api, parts, places), partial(bare.serve, hang_ups)),
            "git": (git, None, None),
            "images": (Api(replace(parts, documents=image_documents), find=find_image), None, None),
        }
        self._config = hypercorn_config(parts.settings)
        self._context = WorkerContext(None)
        self._open: set[Connection] = set()
        self._closed = Bell()

    def dial(self, door: Door) -> Dial:
        """Return how to connect to one of the doors.

        The dial raises `ConnectionRefusedError` once the controller drains, as a closed port would.
        """
        return partial(self._connect, door)

    async def _connect(self, door: Door) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        if self._parts.leaving.is_set():
            raise ConnectionRefusedError(f"the {door} door is closed: the controller is shutting down")
        theirs, ours = trio.socket.socketpair()
        self._parts.background.start_soon(self._serve, door, trio.SocketStream(ours))
        return trio.SocketStream(theirs)

    async def _serve(self, door: Door, stream: trio.SocketStream) -> None:
        app, attaching, following = self._doors[door]
        connection = Connection(
            stream,
            app,
            attaching,
            following,
            config=self._config,
            context=self._context,
            write_timeout_s=self._parts.settings.write_timeout_s,
        )
        self._open.add(connection)
        try:
            await connection.serve()
        finally:
            self._open.discard(connection)
            self._closed.ring()

    async def drain(self) -> None:
        """End streams and idle connections, and wait until every request has its answer."""
        self._parts.leaving.set()
        self._parts.flows.end()
        await self._context.terminated.set()
        while self._open:
            seen = self._closed.version
            await self._closed.moved_past(seen)

    def cut(self) -> None:
        """End every connection at once."""
        self._parts.leaving.set()
        self._parts.flows.end()
        for connection in self._open:
            connection.cut()


async def _healthy() -> Status:
    return Status()


@asynccontextmanager
async def open_controller(
    settings: ControllerSettings,
    store: Store,
    keys: Keyring,
    engine: Engine,
    logs: Logs,
    services: Services,
    clock: Clock,
    *,
    git: ASGIApp,
    providers: Providers,
    layers: Layers,
    slugs: Slugs,
    status: Callable[[], Awaitable[Status]] | None = None,
) -> AsyncIterator[Controller]:
    """Have the API, the image service and the git door while the block runs; leaving it drains them.

    Args:
        git: the application behind the git door, for host `git.D`.
        providers: asks those who make resources.
        layers: what the image service keeps, behind host `images.D`.
        slugs: what it sends and takes beside them.
        status: asks how the appliance is; without it, it is well.

    Cancellation: skips the drain. Attached jobs are killed, detached ones run on.
    """
    async with AsyncExitStack() as stack:
        hang_ups = stack.enter_context(closing(HangUps()))
        background = await stack.enter_async_context(trio.open_nursery())
        parts = Parts(
            settings=settings,
            store=store,
            keys=keys,
            engine=engine,
            logs=logs,
            layers=layers,
            slugs=slugs,
            services=services,
            providers=providers,
            clock=clock,
            status=status or _healthy,
            documents=documents,
            background=background,
            leaving=trio.Event(),
            flows=Flows(),
        )
        background.start_soon(hang_ups.run)
        background.start_soon(store.deliver)
        controller = Controller(parts, git, hang_ups)
        background.start_soon(provisioning.resume, parts)
        try:
            yield controller
            with trio.move_on_after(settings.drain_s):
                await controller.drain()
        finally:
            controller.cut()  # a send that is shielded from cancellation ends only with its socket
            background.cancel_scope.cancel()
