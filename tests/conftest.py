"""Fixtures every test may ask for. Those that need a clock of their own say so."""

import pytest

from flynn_aio.settings import StoreSettings
from flynn_aio.store import inline, open_store

from .support.clock import TrioClock


@pytest.fixture
async def clock():
    return TrioClock()


@pytest.fixture
async def store(tmp_path, clock):
    """A real store in a file, which runs inline: it works under `autojump_clock` as well."""
    async with open_store(StoreSettings(path=tmp_path / "flynn.db"), clock, run_blocking=inline) as opened:
        yield opened
