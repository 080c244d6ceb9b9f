"""Balance: in which order the backends of a service are tried. Pure, given a source of randomness.

Two candidates are drawn and the less busy one is taken: nearly as even as asking all of them,
and never a herd on the one that looked idle a moment ago.

Source: `router.md` §6; Flynn `router/proxy/transport.go`, `pickLeastUsed`.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random

from ..model import Instance

PLAIN_ATTEMPTS = 4
"""Dials a plain request may cost. One dial may take a second, and a visitor is waiting."""


def by_load(
    instances: Sequence[Instance], load: Callable[[Instance], int], random: Random, *, sticky: str = ""
) -> Iterator[Instance]:
    """Yield the backends for a plain request: the sticky one, then the less busy of two at a time.

    Args:
        load: how many exchanges an instance has in flight.
        sticky: the address the client was sent to before; ignored when it is gone.
    """
    if len(instances) == 1:
        yield instances[0]
        return
    left = list(instances)
    for attempt in range(PLAIN_ATTEMPTS):
        if not left:
            return
        chosen = _position(left, sticky) if sticky and attempt == 0 else None
        if chosen is None:
            chosen = _less_busy(left, load, random)
        yield left.pop(chosen)


def shuffled(instances: Sequence[Instance], random: Random, *, sticky: str = "") -> Iterator[Instance]:
    """Yield every backend in random order, the sticky one first: for upgrades and TCP routes, which
    live long and are not repeated by the client."""
    left = list(instances)
    random.shuffle(left)
    left.sort(key=lambda instance: instance.addr != sticky)
    yield from left


def _position(instances: Sequence[Instance], addr: str) -> int | None:
    return next((at for at, instance in enumerate(instances) if instance.addr == addr), None)


def _less_busy(instances: Sequence[Instance], load: Callable[[Instance], int], random: Random) -> int:
    if len(instances) == 1:
        return 0
    one = int(random.random() * len(instances))
    other = int(random.random() * (len(instances) - 1))
    other += other >= one
    return one if load(instances[one]) <= load(instances[other]) else other
