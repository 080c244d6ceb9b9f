"""An appliance inside the test's own process, on real Podman: quick to start and to start again.

Its clock and its constants can be a test's own. What a kill -9 does to a whole process is seen in `test_kill.py`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from flynn_aio import appliance
from flynn_aio.clock import Clock
from flynn_aio.config import load
from flynn_aio.settings import Settings

from .person import DOMAIN, WAIT_S, Person


def load_settings(data_dir: Path, subnet: str, **more: Any) -> Settings:
    """Return the settings of an appliance of this directory, with free ports."""
    flags = {
        "appliance.data_dir": str(data_dir),
        "appliance.domain": DOMAIN,
        "engine.subnet": subnet,
        "router.http_port": 0,
        "router.https_port": 0,
        "build.ca_bundle": "",
    }
    return load(environ={}, flags=flags | more)


@asynccontextmanager
async def inside(settings: Settings, image: str, *, clock: Clock | None = None) -> AsyncIterator[Person]:
    """Have the appliance run while the block runs. Its jobs and Podman's service go on behind it."""
    settings.data_dir.mkdir(exist_ok=True)
    stop, opened = trio.Event(), trio.Event()
    found: list[appliance.Ready] = []

    async def say(line: str) -> None:
        assert not line.startswith("warning"), line

    async def ready(doors: appliance.Ready) -> None:
        found.append(doors)
        opened.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(appliance.run, settings, stop, say=say, ready=ready, clock=clock))
        with trio.fail_after(WAIT_S):
            await opened.wait()
        person = Person(settings, found[0].http_port, image)
        try:
            yield person
        finally:
            person.api.close()
            stop.set()
