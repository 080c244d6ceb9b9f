"""Those who follow the events: what they cost while nothing happens, and what others notice when something does."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles

from flynn_aio.bootstrap import cluster_key
from flynn_aio.local import open_api

from ..figures import Row, figure
from ..place import HTTP_PORT, HTTPS_PORT, Place
from ..processes import cpu_s, private_mb, resident_mb

STREAMS = 200
MEMORY_TARGET_MB = 10.0
CPU_TARGET_PERCENT = 0.3
"""What cannot be told from nothing: half a minute has 3000 ticks of the kernel's clock."""
DELAY_TARGET_MS = 5.0
RATE = 1000.0
"""Requests per second."""
EVENTS_PER_S = 2.0
ECHO = "echo"
SETTLE_S = 2.0


def measure(place: Place, *, seconds: float, rounds: int) -> list[Row]:
    """Return what 200 event streams over TLS take, and how much later the router's answers are for their events.

    Args:
        seconds: of idleness, and of requests in each round.
    """
    place.deploy()
    place.wait_calm()
    with place.app(ECHO):
        with _following(place, 20):  # what only the first of its kind costs
            time.sleep(SETTLE_S)
        time.sleep(SETTLE_S)
        resident, private, worked = resident_mb(place.pid), private_mb(place.pid), cpu_s(place.pid)
        time.sleep(seconds)
        alone = (cpu_s(place.pid) - worked) / seconds * 100
        with _following(place, STREAMS):
            time.sleep(SETTLE_S)
            more, private = resident_mb(place.pid) - resident, private_mb(place.pid) - private
            worked = cpu_s(place.pid)
            time.sleep(seconds)
            together = (cpu_s(place.pid) - worked) / seconds * 100
            fan_out = _fan_out(place, seconds=seconds, rounds=rounds)
    return [
        Row(
            key="streams-memory",
            title=f"{STREAMS} idle event streams, resident",
            shown=figure("MB", [more]),
            target=MEMORY_TARGET_MB,
            beside={"its own alone": figure("MB", [private])},
        ),
        Row(
            key="streams-cpu",
            title=f"{STREAMS} idle event streams, CPU over {seconds:.0f} s",
            shown=figure("%", [max(0.0, together - alone)]),
            target=CPU_TARGET_PERCENT,
            beside={"with them": figure("%", [together]), "without": figure("%", [alone])},
        ),
        fan_out,
    ]


def _fan_out(place: Place, *, seconds: float, rounds: int) -> Row:
    """Ask the echo app all the time, by turns with and without events for the streams."""
    _load(place, seconds=SETTLE_S)
    quiet, busy, per_event = [], [], []
    for _ in range(rounds):
        worked = cpu_s(place.pid)
        quiet.append(_load(place, seconds=seconds))
        without = cpu_s(place.pid) - worked
        with _events(place) as count:
            worked = cpu_s(place.pid)
            busy.append(_load(place, seconds=seconds))
            per_event.append((cpu_s(place.pid) - worked - without) * 1000 / max(1, len(count)))
    later = [with_them - without for with_them, without in zip(busy, quiet, strict=True)]
    return Row(
        key="streams-fan-out",
        title=f"p99 at {RATE:.0f} requests/s, later by {EVENTS_PER_S:.0f} events/s to {STREAMS} streams",
        shown=figure("ms", later),
        target=DELAY_TARGET_MS,
        beside={
            "p99 without events": figure("ms", quiet),
            "p99 with events": figure("ms", busy),
            "CPU of an event": figure("ms", per_event),
        },
    )


def _load(place: Place, *, seconds: float) -> float:
    """Ask `RATE` times a second; return the 99th percentile in milliseconds."""
    words = [sys.executable, "-m", "bench.load", str(HTTP_PORT), place.host(ECHO), str(RATE), str(seconds)]
    done = subprocess.run(words, capture_output=True, check=False, timeout=seconds + 60)
    if done.returncode:
        raise RuntimeError(f"the load failed: {done.stderr.decode()}")
    return quantiles(json.loads(done.stdout), n=100)[98]


@contextmanager
def _events(place: Place) -> Iterator[list[float]]:
    """Have something happen to an app, again and again; yields when it did."""
    happened: list[float] = []
    over = threading.Event()

    def happen() -> None:
        with open_api(place.settings, place.appliance.state) as api:
            while not over.wait(1 / EVENTS_PER_S):
                api.ask("POST", f"/apps/{ECHO}", {"meta": {"number": str(len(happened))}})
                happened.append(time.perf_counter())

    thread = threading.Thread(target=happen)
    thread.start()
    try:
        yield happened
    finally:
        over.set()
        thread.join()


@contextmanager
def _following(place: Place, count: int) -> Iterator[None]:
    """Have clients that follow the events."""
    ca_file = place.appliance.data_dir / "keys" / "ca.pem"
    words = [str(HTTPS_PORT), f"controller.{place.appliance.domain}", str(ca_file), str(count)]
    with subprocess.Popen(
        [sys.executable, "-m", "bench.follow", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        clients.stdin.write(f"{cluster_key(place.settings)}\n")
        clients.stdin.flush()
        if clients.stdout.readline() != "ready\n":
            raise RuntimeError("the event streams did not come up")
        try:
            yield
        finally:
            clients.stdin.close()
        if not clients.stdout.readline().strip().isdecimal():
            raise RuntimeError("an event stream ended before its time")
