"""One appliance for all the stories here: starting it costs seconds, making the stack minutes."""

import shutil
import tempfile
from pathlib import Path

import pytest

from ..support.appliance import Appliance


@pytest.fixture(scope="session")
def appliance():
    """A running appliance; whatever a story leaves in it goes with it."""
    place = Path(tempfile.mkdtemp(prefix="flynn-aio-test-"))
    one = Appliance(place, subnet="100.101.0.0/24")
    try:
        one.up()
        yield one
    finally:
        one.down()
        assert one.containers() == []
        shutil.rmtree(place)
