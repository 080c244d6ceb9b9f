"""Visits: requests to the apps' routes, as the router would send them on."""

import trio

from flynn_aio.model import Instance
from flynn_aio.router import balance

from .operations import DOMAIN
from .world import World

NAMES = ("hello", "shop", "blog", "mail")


def visit(world: World, visitors: trio.Nursery) -> None:
    """Send a request to an app and let its answer take a while, during which its job must not be asked to end."""
    if world.plane is None:
        return
    router = world.plane.router
    target = router.upstreams.table.find(f"{world.dice.choice(NAMES)}.{DOMAIN}", b"/")
    instances = router.upstreams.instances(target) if target else ()
    for instance in balance.by_load(instances, router.upstreams.pool.load, world.dice):
        visitors.start_soon(_stay, world, router.upstreams.pool, instance, target.drains)
        return


async def _stay(world: World, pool, instance: Instance, drains: bool) -> None:
    backend = pool.backend(instance)
    pool.begin(backend, drains=drains)
    try:
        await trio.sleep(world.dice.choice((0.01, 1.0, 8.0, 20.0)))
    finally:
        pool.end(backend, drains=drains)
        world.invariants.visited(backend.job)
