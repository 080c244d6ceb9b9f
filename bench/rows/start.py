"""From the start of `flynn-aio up` to its `ready` line, with the images present."""

import sys

from ..figures import Row, figure, ratio
from ..place import Place
from ..processes import Took, timed

TARGET_S = 1.5
IMPORTS = "import gc, flynn_aio.main; gc.disable(); import flynn_aio.up, flynn_aio.appliance"  # as `up` does it


def measure(place: Place, *, times: int) -> list[Row]:
    """Return how long a start takes after `flynn-aio down`, and one that finds its app running."""
    place.deploy()
    cold, warm = [], []
    bare: list[Took] = []
    loaded: list[Took] = []
    for _ in range(times):
        place.down()
        bare.append(timed([sys.executable, "-I", "-S", "-c", "pass"], env=place.appliance.environ))
        loaded.append(timed([sys.executable, "-c", IMPORTS], env=place.appliance.environ))
        cold.append(place.boot())
        place.appliance.fetch_until("hello.flynn.localhost", "Hello")
        place.wait_calm()
        place.leave()
        warm.append(place.boot())
    yardstick = figure("s", (took.wall_s for took in bare))
    imports = figure("s", (took.wall_s for took in loaded))
    work = figure("s", (took.cpu_s for took in loaded))
    rows = []
    for key, title, taken in (
        ("ready", "`up` after `down`, to ready / a bare Python", cold),
        ("ready-again", "`up` beside a running app, to ready / a bare Python", warm),
    ):
        ready = figure("s", taken)
        beside = {
            "to ready": ready,
            "of it imports, alone": imports,
            "of it imports, CPU": work,
            "a bare Python": yardstick,
        }
        rows.append(
            Row(key=key, title=title, shown=ratio(ready, yardstick), judged=ready, target=TARGET_S, beside=beside)
        )
    return rows
