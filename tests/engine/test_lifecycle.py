"""When the engine looks around and sweeps, as far as that needs no Podman."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from flynn_aio.engine import lifecycle
from flynn_aio.errors import EngineError
from flynn_aio.watch import Watch


@dataclass
class Machine:
    """A service that may be replaced, and an engine that looks around."""

    generation: Watch[int] = field(default_factory=lambda: Watch(0))
    late_removals: int = 0
    has_leftovers: bool = False
    in_flight: frozenset[str] = frozenset()
    refuses: int = 0
    sweeps: list[float] = field(default_factory=list)

    async def look_around(self) -> None:
        if self.refuses:
            self.refuses -= 1
            raise EngineError("cannot list containers: 500")

    async def sweep(self, *_, **__) -> frozenset[Path]:
        self.sweeps.append(trio.current_time())
        return frozenset()

    async def keep(self) -> None:
        settings = SimpleNamespace(resync_s=600.0)
        await lifecycle._keep_in_step(settings, self, None, self, ())


@pytest.fixture
async def machine(monkeypatch, nursery):
    async def ensure_network(*_) -> None:
        """It is there."""

    one = Machine()
    monkeypatch.setattr(lifecycle, "sweep", one.sweep)
    monkeypatch.setattr(lifecycle, "ensure_network", ensure_network)
    nursery.start_soon(one.keep)
    await trio.sleep(1)
    return one


async def test_a_new_service_is_followed_by_one_sweep(autojump_clock, machine):
    began = trio.current_time()
    machine.generation.set(1)
    await trio.sleep(3600)
    assert machine.sweeps == [began]


async def test_what_a_retried_start_removes_after_the_sweep_is_swept_for_again(autojump_clock, machine):
    machine.has_leftovers = True
    machine.generation.set(1)
    await trio.sleep(1)
    machine.late_removals, machine.has_leftovers = 1, False
    await trio.sleep(lifecycle.LEFTOVERS_S)
    assert len(machine.sweeps) == 2
    await trio.sleep(3600)
    assert len(machine.sweeps) == 2


async def test_a_look_that_fails_is_repeated_soon(autojump_clock, machine):
    began = trio.current_time()
    machine.refuses = 2
    machine.generation.set(1)
    await trio.sleep(3600)
    assert machine.sweeps == [began + 2 * lifecycle.LEFTOVERS_S]
