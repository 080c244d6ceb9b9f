"""Services: the tasks that keep the snapshot true, and answer DNS from it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ..clock import Clock
from ..settings import DiscoverdSettings
from .snapshot import Services

if TYPE_CHECKING:
    from ..store import Store


@asynccontextmanager
async def open_discoverd(settings: DiscoverdSettings, store: "Store", clock: Clock) -> AsyncIterator[Services]:
    """Follow the jobs in the store, check them, and publish who answers for which service."""
    yield Services()
