"""`flynn release rollback` on a running app: from the command to the answer of the release before."""

import time

from ..by_hand import open_by_hand
from ..figures import Row, figure, ratio
from ..place import APP, HOST, Place

TARGET_S = 3.0


def measure(place: Place, *, times: int) -> list[Row]:
    """Return how long it takes, beside `podman run` of the same slug until it answers; the two alternate."""
    place.deploy()
    flynn = place.appliance.flynn
    greetings = ("before", "after")
    releases = []
    for greeting in greetings:
        flynn("-a", APP, "env", "set", f"GREETING={greeting}")
        releases.append(flynn("-a", APP, "release", "-q").stdout.split()[0])
    place.appliance.fetch_until(HOST, f"{greetings[-1]} ")
    rollbacks, runs = [], []
    with open_by_hand(place) as by_hand:
        by_hand.build()
        by_hand.run()
        for number in range(times):
            back = number % 2
            place.wait_calm()
            started = time.perf_counter()
            flynn("-a", APP, "release", "rollback", "--yes", releases[back])
            place.appliance.fetch_until(HOST, f"{greetings[back]} ")
            rollbacks.append(time.perf_counter() - started)
            place.wait_calm()
            runs.append(by_hand.run())
    rolled, run = figure("s", rollbacks), figure("s", runs)
    return [
        Row(
            key="rollback",
            title="`flynn release rollback`, to live / `podman run` to its answer",
            shown=ratio(rolled, run),
            judged=rolled,
            target=TARGET_S,
            beside={"to live": rolled, "`podman run` to its answer": run},
        )
    ]
