"""What a person waits for at the prompt: whole processes of `flynn`."""

import sys

from ..figures import Row, figure, ratio
from ..place import APP, Place
from ..processes import timed

PS_TARGET_MS = 150.0
VERSION_TARGET_MS = 100.0


def measure(place: Place, *, times: int) -> list[Row]:
    """Return what `flynn ps` and `flynn version` take, beside a Python that does nothing."""
    place.deploy()
    place.wait_calm()
    commands = {
        "bare": [sys.executable, "-I", "-S", "-c", "pass"],
        "version": ["flynn", "version"],
        "ps": ["flynn", "-a", APP, "ps"],
    }
    environ = place.appliance.environ
    for command in commands.values():
        timed(command, env=environ)  # once unmeasured: files come from the disk
    took = {name: [timed(command, env=environ) for _ in range(times)] for name, command in commands.items()}
    wall = {name: figure("ms", (one.wall_s * 1000 for one in some)) for name, some in took.items()}
    cpu = {name: figure("ms", (one.cpu_s * 1000 for one in some)) for name, some in took.items()}

    def row(name: str, target_ms: float) -> Row:
        return Row(
            key=f"flynn-{name}",
            title=f"`flynn {name}` / a bare Python",
            shown=ratio(wall[name], wall["bare"]),
            judged=wall[name],
            target=target_ms,
            beside={"whole process": wall[name], "its CPU": cpu[name], "a bare Python": wall["bare"]},
        )

    return [row("ps", PS_TARGET_MS), row("version", VERSION_TARGET_MS)]
