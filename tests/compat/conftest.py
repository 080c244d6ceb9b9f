"""The appliance in memory, its jobs processes of this machine."""

import pytest

from flynn_aio.engine import fails_to_start, open_fake_engine

from ..appliance.test_in_memory import SUBNET, running, settings
from .local import run_here

__all__ = ["settings"]


@pytest.fixture
async def world(settings):
    settings.engine.log_dir.mkdir(parents=True)
    async with open_fake_engine(subnet=SUBNET, log_dir=settings.engine.log_dir) as engine:
        missing = fails_to_start('exec: "missing-program": executable file not found in $PATH')
        engine.script(run_here).script(missing, args=("missing-program",))
        async with running(settings, engine) as world:
            yield world
