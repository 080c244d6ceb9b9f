"""A log directory, and those who write into it."""

import pytest

from ..support.conmon import Writer


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "logs"


@pytest.fixture
def writer(directory):
    """Makes writers, and closes them."""
    made = []

    def make(*args, **kwargs) -> Writer:
        made.append(Writer(directory, *args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()
