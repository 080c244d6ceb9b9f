"""A workshop: the real stack on a real Podman, driven as `receive` drives it, without git and without a store."""

import contextlib
import itertools
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from ipaddress import IPv4Network
from pathlib import Path
from uuid import uuid4

import trio

from flynn_aio.engine import Engine, JobSpec, Mount, Stream, open_engine, shut_down
from flynn_aio.model import App, AppID, JobID, Release
from flynn_aio.receive import Stack
from flynn_aio.receive.builder import BUILDER_USER, Workplace, builder_spec, read_detected
from flynn_aio.receive.host import read_host
from flynn_aio.settings import BuildSettings, EngineSettings

EXAMPLES = Path(__file__).parents[2] / "examples"
SUBNET = IPv4Network("100.118.0.0/16")
APP = App(id=AppID("6b2e7f9c-2f8e-4d53-9d7b-7d6a2f0e1c11"), name="workshop", meta={})
PORT = 8080


@dataclass(frozen=True)
class Ended:
    """How a job in a container went: exit code and what it printed on each stream."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


@dataclass
class Project:
    """An app on its way: its source, its cache, and the slug of the last build."""

    workshop: "Workshop"
    source: Path
    cache: Path
    env: dict[str, str] = field(default_factory=dict)
    slug: str = ""

    def write(self, **files: str) -> None:
        """Write files into the source; ``__`` in a name is a dot, ``___`` a slash."""
        for name, text in files.items():
            path = self.source / name.replace("___", "/").replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    @property
    def app(self) -> Path:
        return self.workshop.slug_dir / self.slug

    async def detect(self) -> Ended:
        """Bring the source into a new slug and ask which buildpack takes it."""
        self.slug = uuid4().hex
        self.app.mkdir(parents=True)
        _own(self.app)
        tar = BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            archive.add(self.source, arcname=".")
        return await self._builder(("detect",), language=None, stdin=tar.getvalue())

    async def build(self) -> Ended:
        """Detect and compile; what both printed, as the pusher sees it."""
        found = await self.detect()
        detected = read_detected(found.stdout.strip())
        if found.code or detected is None:
            return found
        compiled = await self._builder(("compile", detected.name), language=detected.language)
        return Ended(compiled.code, found.stderr + compiled.stdout, compiled.stderr)

    async def run(self, *args: str, language: str | None = None, env: Mapping[str, str] | None = None) -> Ended:
        """Run a one-off job of the slug to its end."""
        images = await self.workshop.ensure(language)
        return await self.workshop.run(self.spec(images.runner, args, env or {}))

    def spec(self, image: str, args: tuple[str, ...], env: Mapping[str, str]) -> JobSpec:
        return JobSpec(
            id=JobID(str(uuid4())),
            app=APP.id,
            app_name=APP.name,
            image=image,
            slug=self.slug,
            args=("/runner/init", *args),
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/app", "PORT": str(PORT), **env},
            workdir="/app",
            user=f"{BUILDER_USER}:{BUILDER_USER}",
            log=False,
        )

    @asynccontextmanager
    async def serve(
        self, type: str, *, language: str | None, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[str]:
        """Run a process of the slug; yields its address once its port answers."""
        images = await self.workshop.ensure(language)
        spec = self.spec(images.runner, ("start", type), env or {})
        status = await self.workshop.engine.start(spec)
        try:
            with trio.fail_after(30):
                await _answering(status.address)
            yield status.address
        finally:
            with trio.move_on_after(20, shield=True):
                await self.workshop.engine.stop(spec.id, kill_s=5)
                await self.workshop.engine.remove(spec.id)

    async def _builder(self, verb: tuple[str, ...], *, language: str | None, stdin: bytes = b"") -> Ended:
        images = await self.workshop.ensure(language)
        place = Workplace(
            slug=self.app,
            cache=self.cache,
            env=self._env_dir(),
            custom=self._custom() if self.env.get("BUILDPACK_URL") else None,
        )
        spec = builder_spec(
            job=JobID(str(uuid4())),
            app=APP,
            verb=verb,
            image=images.builder,
            cf_stack=images.cf_stack,
            commit="0" * 40,
            previous=Release(app_id=APP.id, env=self.env),
            shared={},
            workplace=place,
            buildpacks=images.buildpacks,
            settings=self.workshop.settings,
            host_env=os.environ,
        )
        return await self.workshop.run(self.workshop.resolving(spec), stdin)

    def _env_dir(self) -> Path | None:
        if not self.env:
            return None
        folder = self.workshop.root / "env"
        folder.mkdir(exist_ok=True)
        for name, value in self.env.items():
            (folder / name).write_text(value)
        return folder

    def _custom(self) -> Path:
        folder = self.cache.parent / "custom"
        folder.mkdir(exist_ok=True)
        _own(folder)
        return folder


@dataclass(frozen=True)
class Workshop:
    """A stack, an engine, and a place for projects."""

    root: Path
    engine: Engine
    stack: Stack
    settings: BuildSettings

    @property
    def slug_dir(self) -> Path:
        return self.settings.slug_dir

    def project(self, example: str = "") -> Project:
        """Return a project with the source of an example, or an empty one."""
        folder = self.root / f"project-{uuid4().hex}"
        source, cache = folder / "source", folder / "cache"
        cache.mkdir(parents=True)
        _own(cache)
        if example:
            shutil.copytree(EXAMPLES / example, source)
        else:
            source.mkdir()
        return Project(workshop=self, source=source, cache=cache)

    async def ensure(self, language: str | None):
        return await self.stack.ensure(language, _print)

    def resolving(self, spec: JobSpec) -> JobSpec:
        """Let a build use the host's resolver: no discoverd answers on the gateway here."""
        resolv_conf = self.root / "resolv.conf"
        text = read_host("bookworm").resolv_conf
        if text is None:
            return spec
        resolv_conf.write_text(text)
        return replace(spec, mounts=(*spec.mounts, Mount(source=resolv_conf, target="/etc/resolv.conf")))

    async def run(self, spec: JobSpec, stdin: bytes = b"") -> Ended:
        printed = {Stream.STDOUT: b"", Stream.STDERR: b""}

        async def feed() -> None:
            await attachment.send(stdin)
            await attachment.send_eof()

        with trio.fail_after(300):
            async with self.engine.attach(spec) as attachment, trio.open_nursery() as nursery:
                nursery.start_soon(feed)
                async for piece in attachment.output:
                    printed[piece.stream] += piece.data
                status = await attachment.wait()
        assert status.exit_code is not None
        return Ended(status.exit_code, printed[Stream.STDOUT].decode(), printed[Stream.STDERR].decode())


@asynccontextmanager
async def open_workshop(root: Path, shared: Path) -> AsyncIterator[Workshop]:
    """Open an engine of our own; leaving removes all it made but the images, which are the cache.

    Args:
        root: a directory for this workshop alone.
        shared: a directory for downloads that workshops of one test run share.
    """
    build = BuildSettings(
        repo_dir=root / "repos",
        slug_dir=root / "slugs",
        cache_dir=shared,
        work_dir=root / "work",
        run_dir=root / "run",
        gateway=str(next(SUBNET.hosts())),
    )
    settings = EngineSettings(
        appliance=uuid4().hex[:8],
        run_dir=root / "run",
        log_dir=root / "logs",
        slug_dir=build.slug_dir,
        layer_dir=build.slug_dir,
        volume_dir=root / "volumes",
        subnet=SUBNET,
    )
    try:
        async with open_engine(settings) as engine:
            yield Workshop(root, engine, Stack(build, engine), build)
    finally:
        with trio.move_on_after(60, shield=True):
            await shut_down(settings, kill_s=1)


async def fetch(address: str, path: str = "/", *, method: str = "GET") -> str:
    """Return the whole response of an app, head and body."""
    stream = await trio.open_tcp_stream(address, PORT)
    async with stream:
        await stream.send_all(f"{method} {path} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n".encode())
        return b"".join([bytes(piece) async for piece in stream]).decode()


async def _answering(address: str) -> None:
    for pause_s in itertools.repeat(0.05):
        with contextlib.suppress(OSError):
            await (await trio.open_tcp_stream(address, PORT)).aclose()
            return
        await trio.sleep(pause_s)


async def _print(line: str) -> None:
    print(line)


def _own(folder: Path) -> None:
    os.chown(folder, BUILDER_USER, BUILDER_USER)
