"""What the tests of an engine over the real Podman run in: an appliance of their own each."""

import hashlib
import os
import random
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import trio

from flynn_aio.engine import shut_down
from flynn_aio.settings import EngineSettings
from tests.support.images import ensure_test_image

from .appliance import open_world


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    """An appliance of this test's own: its id, its directories, its subnet."""
    return EngineSettings(
        appliance=hashlib.sha256(os.fsencode(tmp_path)).hexdigest()[:8],
        run_dir=tmp_path / "run",
        log_dir=tmp_path / "logs",
        slug_dir=tmp_path / "slugs",
        layer_dir=tmp_path / "layers",
        volume_dir=tmp_path / "volumes",
        subnet=IPv4Network(f"10.{random.randrange(200, 250)}.{random.randrange(256)}.0/24"),
        resync_s=600.0,  # nothing may depend on it
    )


@pytest.fixture(scope="session")
def image() -> str:
    return ensure_test_image()


@pytest.fixture
async def world(settings: EngineSettings, image: str):
    try:
        async with open_world(settings, image) as world:
            yield world
    finally:
        with trio.CancelScope(shield=True):
            await shut_down(settings, kill_s=0)
