"""`flynn env set` on a running app: from the command to the answer that has the new value."""

import time

from ..by_hand import open_by_hand
from ..figures import Row, figure, ratio
from ..place import APP, HOST, Place

TARGET_S = 2.0


def measure(place: Place, *, times: int) -> list[Row]:
    """Return how long it takes, beside `podman run` of the same slug until it answers; the two alternate."""
    place.deploy()
    changes, runs = [], []
    with open_by_hand(place) as by_hand:
        by_hand.build()
        by_hand.run()
        for number in range(times):
            place.wait_calm()
            started = time.perf_counter()
            place.appliance.flynn("-a", APP, "env", "set", f"GREETING=greeting-{number}")
            place.appliance.fetch_until(HOST, f"greeting-{number} ")
            changes.append(time.perf_counter() - started)
            place.wait_calm()
            runs.append(by_hand.run())
    changed, run = figure("s", changes), figure("s", runs)
    return [
        Row(
            key="env",
            title="`flynn env set`, to live / `podman run` to its answer",
            shown=ratio(changed, run),
            judged=changed,
            target=TARGET_S,
            beside={"to live": changed, "`podman run` to its answer": run},
        )
    ]
