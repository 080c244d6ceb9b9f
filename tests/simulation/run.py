"""One run: a world, from a seed, for so many steps."""

import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import trio
import trio.testing

from .faults import INSTANT, LASTING, heal
from .history import History, Violation
from .machine import open_machine
from .operations import OPERATIONS
from .rest import come_to_rest
from .visits import visit
from .world import Errors, World

STEPS_TO_REST = 250
"""After so many steps the faults end, and everything must come right."""
PAUSES_S = (0.0, 0.0, 0.001, 0.02, 0.1, 0.1, 0.4, 2.0)
SUBNETS = ("127.105.0.0/24", "127.105.0.0/26")
"""In the small one an address comes back soon; it still has room for all that the operations may ask for."""
MEMORY = Path("/dev/shm")
"""The database waits for its disk after each change; a disk of memory does not keep it waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to."""

    seed: int
    steps: int
    digest: str
    took_s: float
    counts: Counter[str]

    def __str__(self) -> str:
        told = ", ".join(f"{self.counts[kind]} {what}" for kind, what in TOLD.items())
        rate = self.steps / self.took_s
        return (
            f"seed {self.seed}: {self.steps} steps in {self.took_s:.1f} s ({rate:.0f}/s), {told}, history {self.digest}"
        )


TOLD = {"job": "job states", "deployment": "deployment states", "boot": "boots", "fault:": "faults", "rest": "rests"}


def simulate(seed: int, steps: int) -> Report:
    """Run one seed.

    Raises:
        Violation: with the end of its history, and the command that repeats it.
    """
    began = time.perf_counter()
    place = Path(tempfile.mkdtemp(prefix="flynn-aio-simulation-", dir=MEMORY if MEMORY.is_dir() else None))
    history, clock = History(place), trio.testing.MockClock(autojump_threshold=0)
    try:
        with seeded(seed):
            trio.run(partial(_run, seed, steps, place / "flynn.db", history), clock=clock)
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        again = f"again: make simulate SEED={seed} SEEDS=1 STEPS={steps}"
        raise Violation(f"{_first(exc)}\n\nseed {seed}, the end of its history:\n{history.tail}\n\n{again}") from exc
    finally:
        shutil.rmtree(place)
    return Report(
        seed=seed,
        steps=steps,
        digest=history.digest,
        took_s=time.perf_counter() - began,
        counts=history.counts,
    )


async def _run(seed: int, steps: int, path: Path, history: History) -> None:
    dice = Random(seed)
    errors = Errors()
    async with open_machine(path, dice, history, subnet=dice.choice(SUBNETS)) as machine:
        world = World(machine, dice, history)
        logging.getLogger("flynn_aio").addHandler(errors)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.keep_up)
                await world.booted.wait()
                for first in range(0, steps, STEPS_TO_REST):
                    await _act(world, min(STEPS_TO_REST, steps - first), errors)
                    history.note(f"rest after {await come_to_rest(world):.0f} s")
                    errors.check()
                world.gate.kill()
                nursery.cancel_scope.cancel()
        finally:
            logging.getLogger("flynn_aio").removeHandler(errors)
            world.invariants.close()


async def _act(world: World, steps: int, errors: Errors) -> None:
    """Take steps; then end all faults and visits, and have the control plane up."""
    async with trio.open_nursery() as lasting:
        for _ in range(steps):
            _step(world, lasting)
            await trio.sleep(world.dice.choice(PAUSES_S))
            if world.plane:
                world.invariants.look(world.plane)
            errors.check()
        lasting.cancel_scope.cancel()
    world.gate.last = None
    heal(world.machine)


def _step(world: World, lasting: trio.Nursery) -> None:
    chance = world.dice.random()
    if chance < 0.6:
        _choose(world.dice, OPERATIONS)(world)
    elif chance < 0.75:
        visit(world, lasting)
    elif chance < 0.92:
        _choose(world.dice, INSTANT)(world)
    elif len(lasting.child_tasks) < 6:
        fault = _choose(world.dice, LASTING)
        world.history.note(f"fault: {fault.__name__}")
        lasting.start_soon(fault, world)


def _choose(dice: Random, weighted: Sequence):
    return dice.choices([one for one, _ in weighted], [weight for _, weight in weighted])[0]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let Trio take its tasks in an order that comes from the seed. Source: `trio._core._run`."""
    module = trio._core._run
    before, state = module._ALLOW_DETERMINISTIC_SCHEDULING, module._r.getstate()
    module._ALLOW_DETERMINISTIC_SCHEDULING = True
    module._r.seed(seed)
    try:
        yield
    finally:
        module._ALLOW_DETERMINISTIC_SCHEDULING = before
        module._r.setstate(state)


def _first(exc: BaseException) -> str:
    """Return what began it: the innermost error of a group, violations first."""
    leaves = list(_leaves(exc))
    found = next((leaf for leaf in leaves if isinstance(leaf, Violation)), leaves[0])
    return str(found) if isinstance(found, Violation) else repr(found)


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for one in exc.exceptions:
            yield from _leaves(one)
    else:
        yield exc
