"""A list that has grown long: `GET /apps` with a thousand apps."""

import ssl
import time
from http.client import HTTPSConnection

from flynn_aio.bootstrap import cluster_key
from flynn_aio.local import open_api
from tests.support.appliance import Sni
from tests.support.http_client import basic

from ..figures import Row, figure
from ..place import HTTPS_PORT, Place
from ..processes import cpu_s

APPS = 1000
TARGET_MS = 20.0


def measure(place: Place, *, times: int) -> list[Row]:
    """Return what the list takes over a kept connection, beside the smallest answer there is. The apps stay."""
    with open_api(place.settings, place.appliance.state) as api:
        for number in range(APPS):
            api.ask("POST", "/apps", {"name": f"app-{number}"})
    host = f"controller.{place.appliance.domain}"
    context = ssl.create_default_context(cafile=place.appliance.data_dir / "keys" / "ca.pem")
    connection = Sni(host, HTTPS_PORT, context, 30.0)
    try:
        _ask(place, connection, "/apps")  # once unmeasured: it is read from the disk
        lists, cpu_ms = _measured(place, connection, "/apps", times)
        pings, _ = _measured(place, connection, "/ping", times)
    finally:
        connection.close()
    return [
        Row(
            key="apps",
            title=f"`GET /apps` with {APPS} apps",
            shown=figure("ms", lists),
            target=TARGET_MS,
            beside={"CPU of the appliance": figure("ms", [cpu_ms]), "`GET /ping`": figure("ms", pings)},
        )
    ]


def _measured(place: Place, connection: HTTPSConnection, path: str, times: int) -> tuple[list[float], float]:
    """Return how long each answer took, and the processor time of one, in milliseconds."""
    worked = cpu_s(place.pid)
    took = [_ask(place, connection, path) for _ in range(times)]
    return took, (cpu_s(place.pid) - worked) * 1000 / times


def _ask(place: Place, connection: HTTPSConnection, path: str) -> float:
    started = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": basic(cluster_key(place.settings))})
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
    return (time.perf_counter() - started) * 1000
