"""The janitor of layers: what the last artifact named goes when that does, and so do the images made of it.

It remembers nothing: what a crash left half done goes the same way. A deletion is followed at once,
so that whoever was told of it finds the files gone; everything else waits for the next round.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..clock import Clock
from ..engine import Engine
from ..errors import FlynnError
from ..settings import ImageSettings
from ..store import EventFilter, Overflow, Store, queries
from .layers import Layers

logger = logging.getLogger(__name__)

ROUND_S = 600.0
"""How often to look when nothing is deleted: for pushes that were given up."""
SOON_S = 5.0
"""How soon to look again for an image whose last job has not ended yet."""
DELETIONS = frozenset({"release_deletion", "app_deletion"})


@asynccontextmanager
async def open_layers(settings: ImageSettings, store: Store, engine: Engine, clock: Clock) -> AsyncIterator[Layers]:
    """Keep layers while the block runs."""
    layers = Layers(settings, lambda: clock.now().timestamp())
    await trio.to_thread.run_sync(layers.prepare)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep_layers, layers, store, engine)
        yield layers
        nursery.cancel_scope.cancel("closing")


async def sweep_layers(layers: Layers, store: Store, engine: Engine) -> None:
    """Sweep now, after deletions and every now and then, until cancelled."""
    while True:
        async with store.subscribe(EventFilter(object_types=DELETIONS)) as deletions:
            try:
                while True:
                    finished = await _sweep(layers, store, engine)
                    with trio.move_on_after(ROUND_S if finished else SOON_S):
                        await deletions.receive()
            except Overflow:
                continue  # the next sweep sees all that these events would have told


async def _sweep(layers: Layers, store: Store, engine: Engine) -> bool:
    """Return whether nothing is left to be swept."""
    try:
        if gone := await layers.sweep(lambda: store.read(queries.used_layers)):
            logger.info("layers nobody uses removed", extra={"layers": gone})
        return not await engine.keep_images(await store.read(queries.used_images))
    except (FlynnError, OSError) as exc:
        logger.warning("layers not swept, the next round tries again", extra={"error": str(exc)})
        return True
