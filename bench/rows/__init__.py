"""The rows, one module per subject, in the order they are measured; each leaves the appliance running with its app."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..figures import Row
from ..place import Place
from . import apps, client, crash, env, idle, memory, plan, push, rollback, start, streams, zero_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a run takes on.

    Attributes:
        boots, pushes, changes, commands: how often each is measured.
        idle_s: how long the appliance is watched doing nothing.
        lists: how often a long list is asked for.
        rounds: of requests beside events, and of requests without; `round_s` each.
        moves: changes made to an app that is asked all the time.
    """

    boots: int
    pushes: int
    changes: int
    commands: int
    idle_s: float
    lists: int
    rounds: int
    round_s: float
    moves: int


FULL = Effort(boots=7, pushes=7, changes=7, commands=15, idle_s=60.0, lists=100, rounds=5, round_s=20.0, moves=50)
QUICK = Effort(boots=3, pushes=3, changes=3, commands=5, idle_s=10.0, lists=20, rounds=2, round_s=8.0, moves=10)

SUBJECTS: dict[str, Callable[[Place, Effort], Sequence[Row]]] = {
    "start": lambda place, effort: start.measure(place, times=effort.boots),
    "client": lambda place, effort: client.measure(place, times=effort.commands),
    "push": lambda place, effort: push.measure(place, times=effort.pushes),
    "env": lambda place, effort: env.measure(place, times=effort.changes),
    "rollback": lambda place, effort: rollback.measure(place, times=effort.changes),
    "crash": lambda place, effort: crash.measure(place, times=effort.changes),
    "memory": lambda place, effort: memory.measure(place),
    "idle": lambda place, effort: idle.measure(place, seconds=effort.idle_s),
    "streams": lambda place, effort: streams.measure(place, seconds=effort.round_s, rounds=effort.rounds),
    "apps": lambda place, effort: apps.measure(place, times=effort.lists),
    "zero-loss": lambda place, effort: zero_loss.measure(place, changes=effort.moves, quiet_s=effort.round_s),
    "plan": lambda place, effort: plan.measure(),
}
