"""A world to schedule in. Its tests ask for `autojump_clock` themselves: only so does Trio run on it."""

import pytest

from flynn_aio.engine import open_fake_engine

from .world import World


@pytest.fixture
async def world(store, clock):
    async with open_fake_engine(clock=clock) as engine:
        yield World(store, engine, clock)
