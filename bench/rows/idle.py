"""What it costs to do nothing: processor time with one app that nobody visits."""

import time

from ..figures import Row, figure
from ..place import Place
from ..processes import cpu_s

TARGET_PERCENT = 1.0
SETTLE_S = 3.0
"""After it is ready, what only a start does has been done."""


def measure(place: Place, *, seconds: float) -> list[Row]:
    """Return the share of one core that the appliance and its Podman service take together."""
    place.deploy()
    place.wait_calm()
    time.sleep(SETTLE_S)
    pids = (place.pid, place.service_pid)
    before = [cpu_s(pid) for pid in pids]
    time.sleep(seconds)
    own, service = ((cpu_s(pid) - since) / seconds * 100 for pid, since in zip(pids, before, strict=True))
    return [
        Row(
            key="idle",
            title=f"idle with one app, over {seconds:.0f} s",
            shown=figure("%", [own + service]),
            target=TARGET_PERCENT,
            beside={"the appliance": figure("%", [own]), "its Podman service": figure("%", [service])},
        )
    ]
