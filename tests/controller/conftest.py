"""A controller over a real store and an engine in memory, reached over its own connections."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from flynn_aio.controller import Controller, open_controller
from flynn_aio.discoverd import Services
from flynn_aio.engine import FakeEngine, open_fake_engine
from flynn_aio.errors import ValidationError
from flynn_aio.images import Layers
from flynn_aio.logs import Logs, open_logs
from flynn_aio.providers import Providers
from flynn_aio.settings import ControllerSettings, ImageSettings, LogSettings, ProviderSettings
from flynn_aio.store import Keyring, Store, changes, inline, key_hash, queries

from ..support.build import DOMAIN, make_app
from ..support.http_client import HTTPClient
from ..support.provider import running_provider

KEY = "2c1c1ba8f1ba4f4a9eb9e44c1b0a4d6e"
CA = b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


@dataclass
class Stage:
    """All that a test of the API needs at hand."""

    controller: Controller
    store: Store
    engine: FakeEngine
    logs: Logs
    layers: Layers
    services: Services
    settings: ControllerSettings
    clients: list[HTTPClient] = field(default_factory=list)

    @property
    def dial(self):
        return self.controller.dial("controller")

    def client(self, key=KEY, door="controller"):
        self.clients.append(HTTPClient(self.controller.dial(door), key=key))
        return self.clients[-1]


async def no_git(scope, receive, send):
    raise AssertionError("nobody asked for git")


class NoSlugs:
    """Who has no slug and takes none."""

    async def is_there(self, slug):
        await trio.lowlevel.checkpoint()
        return False

    async def receive(self, pieces, *, runner=""):
        await trio.lowlevel.checkpoint()
        raise ValidationError("is not a slug", field="slug")


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "ca.pem").write_bytes(CA)
    (tmp_path / "cluster.key").write_text(f"{KEY}\n")
    (tmp_path / "slugs").mkdir()
    return ControllerSettings(
        ca_certificate=tmp_path / "ca.pem",
        operator_key=tmp_path / "cluster.key",
        gateway="100.100.0.1",
        host_features=(),
        max_jobs=100,
        slug_dir=tmp_path / "slugs",
    )


@pytest.fixture
async def open_stage(store, clock, settings, tmp_path):
    """A function that opens a controller, with settings and doors of the test's own."""

    @asynccontextmanager
    async def open_one(
        settings=settings, *, store=store, logs=None, git=no_git, status=None, max_layer_bytes=2**30, slugs=None
    ):
        if not await store.read(queries.keys):
            await store.transact(lambda tx: changes.add_key(tx, "cluster", key_hash(KEY)))
        await store.transact(lambda tx: changes.set_cluster_value(tx, queries.DEFAULT_DOMAIN, DOMAIN))
        log_settings = LogSettings(dir=tmp_path / "logs")
        services = Services()
        providers = Providers(ProviderSettings(ca_certificate=tmp_path / "no-ca.pem"), services)
        layers = Layers(
            ImageSettings(layer_dir=tmp_path / "layers", max_layer_bytes=max_layer_bytes),
            lambda: clock.now().timestamp(),
        )
        layers.prepare()
        async with (
            open_fake_engine(clock=clock, log_dir=log_settings.dir) as engine,
            open_logs(log_settings, engine, clock, run_blocking=inline) as real_logs,
            open_controller(
                settings,
                store,
                Keyring(store, clock),
                engine,
                logs or real_logs,
                services,
                clock,
                git=git,
                layers=layers,
                slugs=slugs or NoSlugs(),
                status=status,
                providers=providers,
            ) as controller,
        ):
            stage = Stage(controller, store, engine, real_logs, layers, services, settings)
            try:
                yield stage
            finally:
                for client in stage.clients:
                    client.close()

    return open_one


@pytest.fixture
async def stage(open_stage):
    async with open_stage() as stage:
        yield stage


@pytest.fixture
async def client(stage):
    return stage.client()


@pytest.fixture
async def fake():
    """A provider that answers, whom nobody knows yet."""
    async with running_provider() as one:
        yield one


@pytest.fixture
async def provider(client, fake):
    """The same, registered as ``things``."""
    response = await client.post("/providers", {"name": "things", "url": fake.url})
    assert response.status == 200
    return response.json()


@pytest.fixture
async def apps(store):
    return [await make_app(store, name) for name in ("one", "two")]
