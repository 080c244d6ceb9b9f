"""A router on loopback ports, with backends a test scripts."""

import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import hypothesis
import pytest
import trio

from flynn_aio.clock import SystemClock
from flynn_aio.discoverd import Services, Snapshot
from flynn_aio.model import JOB_META, App, Instance, Route, RouteType, instance_id
from flynn_aio.router import Dial, Front, Router, open_front, open_router
from flynn_aio.settings import RouterSettings, StoreSettings
from flynn_aio.store import Store, changes, inline, open_store, queries
from flynn_aio.watch import Watch
from tests.support.certs import Authority

hypothesis.settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("unhurried")

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@dataclass
class Backends:
    """Who answers: sockets on loopback, registered in a snapshot by hand."""

    nursery: trio.Nursery
    services: Services = field(default_factory=lambda: Services(followed=Watch(sys.maxsize)))
    accepted: dict[str, int] = field(default_factory=dict)

    async def start(self, serve: Serve, *, service: str = "hello-web", job: str = "", index: int = 0) -> str:
        """Serve every connection with `serve`, register the address, and return it."""
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        addr = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        self.accepted[addr] = 0

        async def counted(stream: trio.SocketStream) -> None:
            self.accepted[addr] += 1
            async with stream:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await serve(stream)

        self.nursery.start_soon(trio.serve_listeners, counted, [listener])
        self.register(addr, service=service, job=job, index=index)
        return addr

    def register(self, addr: str, *, service: str = "hello-web", job: str = "", index: int = 0) -> None:
        found = Instance(id=instance_id("tcp", addr), addr=addr, meta={JOB_META: job or addr}, index=index)
        instances = dict(self.services.snapshot.value.instances)
        instances[service] = tuple(sorted((*instances.get(service, ()), found), key=lambda each: each.index))
        self.services.snapshot.set(Snapshot(instances=instances))

    def unregister(self, addr: str) -> None:
        instances = {
            service: tuple(each for each in found if each.addr != addr)
            for service, found in self.services.snapshot.value.instances.items()
        }
        self.services.snapshot.set(Snapshot(instances=instances))


@dataclass
class House:
    """Everything a test needs to send a request."""

    store: Store
    backends: Backends
    router: Router
    front: Front
    app: App

    async def http(self) -> trio.SocketStream:
        """Connect to the plain port."""
        return await trio.open_tcp_stream("127.0.0.1", self.front.http_port)

    async def route(self, domain: str, service: str = "hello-web", **more: object) -> Route:
        """Create a route and wait until it is in use."""
        fields = {"drain_backends": True, **more}
        wanted = Route(
            type=RouteType.HTTP, service=service, domain=domain, leader=bool(fields.pop("leader", False)),
            created_at=None, updated_at=None, **fields,
        )  # fmt: skip
        created = await self.store.transact(lambda tx: changes.create_route(tx, wanted, self.app.id))
        await self.router.refresh()
        return created


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def key_files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    leaf = authority.leaf("flynn.test", "*.flynn.test")
    folder = tmp_path_factory.mktemp("keys")
    (folder / "leaf.pem").write_text(leaf.cert)
    (folder / "leaf.key").write_text(leaf.key)
    return folder / "leaf.pem", folder / "leaf.key"


@pytest.fixture
def settings(key_files: tuple[Path, Path]) -> RouterSettings:
    return RouterSettings(listen="127.0.0.1", http_port=0, https_port=0, certificate=key_files[0], key=key_files[1])


@asynccontextmanager
async def _at_home(store: Store) -> AsyncIterator[None]:
    await store.transact(lambda tx: changes.set_cluster_value(tx, queries.DEFAULT_DOMAIN, "flynn.test"))
    yield


OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def open_house(settings: RouterSettings, tmp_path: Path) -> OpenHouse:
    """Return a context manager that opens a router with front doors: ``async with open_house(drain_s=1)``."""

    @asynccontextmanager
    async def opened(*, doors: Mapping[str, Dial] | None = None, **changed: object) -> AsyncIterator[House]:
        own = replace(settings, **changed)
        async with trio.open_nursery() as nursery:
            backends = Backends(nursery)
            async with (
                open_store(StoreSettings(path=tmp_path / "flynn.db"), SystemClock(), run_blocking=inline) as store,
                _at_home(store),
                open_router(own, store, backends.services) as router,
                open_front(own, router, doors=doors or {}) as front,
            ):
                app = await store.transact(
                    lambda tx: changes.create_app(tx, App(name="hello", meta={}), route_domain="flynn.test")
                )
                await router.refresh()
                yield House(store, backends, router, front, app)
            nursery.cancel_scope.cancel()

    return opened


@pytest.fixture
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    """A router with the route ``hello.flynn.test`` to service ``hello-web``, which has no backend yet."""
    async with open_house() as opened:
        yield opened


@pytest.fixture
def client_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem)
    context.set_alpn_protocols(["http/1.1"])
    return context


@asynccontextmanager
async def tls_stream(house: House, context: ssl.SSLContext, host: str) -> AsyncIterator[trio.SSLStream]:
    """Connect to the TLS port with this SNI."""
    plain = await trio.open_tcp_stream("127.0.0.1", house.front.https_port)
    stream = trio.SSLStream(plain, context, server_hostname=host, https_compatible=True)
    async with stream:
        await stream.do_handshake()
        yield stream
