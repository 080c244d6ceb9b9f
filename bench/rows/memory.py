"""Resident memory with one app, after some use: a fresh process of the appliance, and its Podman service beside it."""

from ..figures import Row, figure
from ..place import APP, HOST, Place
from ..processes import private_mb, resident_mb

TARGET_MB = 80.0
REQUESTS = 200
LOOKS = 5


def measure(place: Place) -> list[Row]:
    """Return what the appliance holds after a push, requests, and some looking around."""
    place.deploy()
    place.leave()
    place.boot()
    fresh = resident_mb(place.pid)
    place.commit()
    place.push()
    for _ in range(REQUESTS):
        assert place.appliance.fetch(HOST).status == 200
    for _ in range(LOOKS):
        place.appliance.flynn("-a", APP, "ps")
        place.appliance.flynn("-a", APP, "log", "-n", "100")
    place.wait_calm()
    return [
        Row(
            key="memory",
            title="resident, one app, after a push and 200 requests",
            shown=figure("MB", [resident_mb(place.pid)]),
            target=TARGET_MB,
            beside={
                "of it its own alone": figure("MB", [private_mb(place.pid)]),
                "resident when ready": figure("MB", [fresh]),
                "its Podman service, resident": figure("MB", [resident_mb(place.service_pid)]),
            },
        )
    ]
