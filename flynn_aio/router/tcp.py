"""TCP routes: a listener per route, and every connection joined to a backend of its service.

Source: `router.md` §8.
"""

import logging
import socket
from collections.abc import Mapping
from contextlib import suppress

import trio

from ..settings import RouterSettings
from . import balance
from .forward import Upstreams
from .listener import ListenError, listen
from .pool import Connection, DialError
from .table import Target
from .tunnel import join
from .wire import Watchman, Wire, tune

logger = logging.getLogger(__name__)


class TcpRoutes:
    """The listeners in use, kept in step with the routes.

    The nursery is lent by the opener; each listener has a cancel scope, by which `follow` ends it.
    Connections that are open when their route goes live on until one side ends them.
    """

    def __init__(
        self, settings: RouterSettings, upstreams: Upstreams, watchman: Watchman, nursery: trio.Nursery
    ) -> None:
        self._settings = settings
        self._upstreams = upstreams
        self._watchman = watchman
        self._nursery = nursery
        self._targets: Mapping[int, Target] = {}
        self._listeners: dict[int, trio.CancelScope] = {}

    def follow(self, targets: Mapping[int, Target]) -> None:
        """Listen on exactly these ports from now on.

        Args:
            targets: listen port -> where its connections go.
        """
        self._targets = targets
        for port in self._listeners.keys() - targets.keys():
            self._listeners.pop(port).cancel()
        for port in targets.keys() - self._listeners.keys():
            try:
                listener = listen(self._settings.listen, port)
            except ListenError as exc:
                logger.error("tcp route cannot listen", extra={"port": port, "reason": exc.message})
                continue
            scope = self._listeners[port] = trio.CancelScope()
            self._nursery.start_soon(self._accept, listener, port, scope)

    async def _accept(self, listener: socket.socket, port: int, scope: trio.CancelScope) -> None:
        with listener, scope:
            while True:
                try:
                    sock, _ = listener.accept()
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(listener.fileno())
                    continue
                except OSError:
                    await trio.sleep(0.1)  # the client left, or descriptors ran out for a moment
                    continue
                self._nursery.start_soon(self._serve, sock, port)

    async def _serve(self, sock: socket.socket, port: int) -> None:
        """Join one connection to a backend; close it when there is none."""
        with sock:
            target = self._targets.get(port)
            if target is None:
                return
            with suppress(OSError):  # it may be gone already, which joining finds out
                tune(sock)
            wire = Wire(sock, self._watchman, write_timeout_s=self._settings.write_timeout_s)
            try:
                await self._join(wire, target)
            finally:
                wire.close()

    async def _join(self, wire: Wire, target: Target) -> None:
        upstreams = self._upstreams
        pool = upstreams.pool
        for instance in balance.shuffled(upstreams.instances(target), upstreams.random):
            backend = pool.backend(instance)
            pool.begin(backend, drains=target.drains)
            connection: Connection | None = None
            try:
                connection = await pool.connect(backend, fresh=True)
                await join(wire, connection.wire)
            except DialError:
                continue
            finally:
                pool.end(backend, drains=target.drains)
                if connection is not None:
                    connection.wire.close()
            return
