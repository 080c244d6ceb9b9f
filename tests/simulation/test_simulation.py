"""The simulation in the suite: the same seeds every time, as long as `SIMULATE_S` says."""

import os
import time
from itertools import count

import pytest

from .history import History, Violation
from .run import simulate

BUDGET_S = float(os.environ.get("SIMULATE_S", "60"))
STEPS = 1000
"""Of each seed. A run that is under way when the time is up ends all the same."""


def test_nothing_that_must_never_happen_happens():
    """More of it: `make simulate`."""
    until = time.monotonic() + BUDGET_S
    for seed in count(1):
        report = simulate(seed, STEPS)
        print(report)
        assert report.steps == STEPS
        assert report.counts["job"] > STEPS / 5, "too little happened to have shown anything"
        assert report.counts["rest"] == STEPS / 250
        if time.monotonic() > until:
            return


def test_a_seed_has_one_history():
    first, second, other = simulate(1, 300), simulate(1, 300), simulate(2, 300)
    assert first.digest == second.digest
    assert first.counts == second.counts
    assert other.digest != first.digest


def test_a_violation_names_its_seed_and_what_led_to_it(monkeypatch):
    def note(self: History, what: str) -> None:
        noted(self, what)
        if self.counts["job"] == 40:
            raise Violation("something impossible")

    noted = History.note
    monkeypatch.setattr(History, "note", note)
    with pytest.raises(Violation, match=r"(?s)^something impossible.*seed 5.*deploy .*make simulate SEED=5 SEEDS=1"):
        simulate(5, 400)
