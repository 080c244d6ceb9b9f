"""Signals as people write them."""

from signal import SIGINT, SIGRTMAX, SIGRTMIN, SIGWINCH

import pytest

from flynn_aio.model import signal_number


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGINT", SIGINT),
        ("int", SIGINT),
        ("2", SIGINT),
        ("SigWinch", SIGWINCH),
        ("SIGRTMIN+3", SIGRTMIN + 3),
        ("RTMAX-1", SIGRTMAX - 1),
        ("SIGRTMIN", SIGRTMIN),
    ],
)
def test_a_signal_is_known_by_its_name_or_number(name, number):
    assert signal_number(name) == number


@pytest.mark.parametrize(
    "name", ["", "SIG", "SIGNONE", "0", "65", "-2", "2.0", "²", "SIGRTMIN+99", "RTMAX-", "SIG_DFL"]
)
def test_what_is_no_signal_is_none(name):
    assert signal_number(name) is None
