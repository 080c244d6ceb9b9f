"""An engine over the real Podman, and what a shell script says in a job of it. Not collected by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flynn_aio.engine import Stream, open_engine
from flynn_aio.settings import EngineSettings

from .contract import World, text_of


@asynccontextmanager
async def open_world(settings: EngineSettings, image: str) -> AsyncIterator[World]:
    async with open_engine(settings) as engine:
        yield World(engine, image, settings.log_dir)


async def output_of(world: World, script: str, **changes) -> str:
    """Run a shell script as a job; return what it printed."""
    async with world.engine.attach(world.spec(("sh", "-c", script), log=False, **changes)) as attachment:
        return (await text_of(attachment.output))[Stream.STDOUT].decode()
