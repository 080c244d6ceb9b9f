"""The same build and the same app with nothing but Podman: what a push is measured against.

One container of the image the appliance builds in gets the tree on its standard input, and runs the same buildpack
with a cache as warm as the appliance's. The result is run as a person would run it, and asked until it
answers. Nothing is recorded, routed, checked or kept.
"""

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import IO

from flynn_aio.receive.recipe import read_stack
from flynn_aio.receive.shipped import publish, shipped

from .place import POLL_S, Place

SUBNET = "100.103.0.128/25"
FIRST_ADDRESS = 10
ADDRESSES = 100
USER = "5000:5000"
PORT = 8080
TIMEOUT_S = 120.0
UNPACK_AND_COMPILE = "tar -x -C /app && /buildpacks/python/bin/compile /app /cache"
REQUEST = b"GET / HTTP/1.0\r\nHost: by-hand\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Done:
    """One build and run. Seconds: of the build, and from the end of the build to the first answer."""

    build_s: float
    answer_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """Builds and runs the tree of a place. Make one with `open_by_hand`."""

    place: Place
    path: Path
    network: str
    runner: str
    builder: str
    buildpacks: Path
    _addresses: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(ADDRESSES)))

    @property
    def slug(self) -> Path:
        return self.path / "slug"

    def build_and_run(self) -> Done:
        """Build the tree, and run the result until it answers."""
        started = time.perf_counter()
        self.build()
        built = time.perf_counter()
        return Done(built - started, self.run())

    def build(self) -> None:
        """Make the slug anew."""
        if self.slug.exists():
            shutil.rmtree(self.slug)
        self.slug.mkdir()
        os.chown(self.slug, 5000, 5000)
        with subprocess.Popen(
            ["git", "archive", "HEAD"], cwd=self.place.repo, env=self.place.appliance.environ, stdout=subprocess.PIPE
        ) as tree:
            assert tree.stdout is not None
            self.podman(
                "run", "--rm", "--interactive", "--network", self.network, "--user", USER, "--env", "HOME=/app",
                "--volume", f"{self.slug}:/app", "--volume", f"{self.path / 'cache'}:/cache",
                "--volume", f"{self.buildpacks}:/buildpacks:ro", "--workdir", "/app",
                "--entrypoint", "/bin/bash", self.builder, "-c", UNPACK_AND_COMPILE,
                stdin=tree.stdout,
            )  # fmt: skip

    def run(self) -> float:
        """Run the slug until it answers; return the seconds that took. The container is gone afterwards."""
        # Another address each time: the kernel remembers for a while which container had an old one.
        address = str(IPv4Network(SUBNET)[FIRST_ADDRESS + next(self._addresses)])
        name = f"{self.network}-{address.rpartition('.')[2]}"
        started = time.perf_counter()
        self.podman(
            "run", "--detach", "--name", name, "--network", self.network, "--ip", address, "--user", USER,
            "--env", f"PORT={PORT}", "--volume", f"{self.slug}:/app:O", "--entrypoint", "/runner/init", self.runner,
            "start", "web",
        )  # fmt: skip
        try:
            _wait_answer(address, deadline=started + TIMEOUT_S)
            return time.perf_counter() - started
        finally:
            self.podman("rm", "--force", "--time", "0", name)

    def podman(self, *words: str, stdin: IO[bytes] | int = subprocess.DEVNULL) -> None:
        """Run Podman under the configuration the appliance found for this machine."""
        conf = self.place.appliance.data_dir / "run" / "podman" / "containers.conf"
        done = subprocess.run(
            ["podman", *words],
            env={**os.environ, "CONTAINERS_CONF": str(conf)},
            stdin=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"podman {words[0]} failed: {done.stderr.decode().strip()}")


@contextmanager
def open_by_hand(place: Place) -> Iterator[ByHand]:
    """Have a network and a warm cache for it; both are gone afterwards. The app must have been pushed once."""
    settings = place.settings.build
    recipe = read_stack(shipped(f"stacks/{settings.stack}"), image=settings.stack_image)
    path = Path(tempfile.mkdtemp(prefix="flynn-aio-by-hand-"))
    [cache] = (settings.cache_dir / "apps").iterdir()
    subprocess.run(["cp", "--archive", cache, path / "cache"], check=True)
    by_hand = ByHand(
        place=place,
        path=path,
        network=path.name,
        runner=recipe.reference(recipe.runner("python")),
        builder=recipe.reference(recipe.builder("python")),
        buildpacks=publish("buildpacks", settings.work_dir),
    )
    try:
        by_hand.podman("network", "create", "--disable-dns", "--subnet", SUBNET, by_hand.network)
        yield by_hand
    finally:
        subprocess.run(["podman", "network", "rm", "--force", by_hand.network], capture_output=True, check=False)
        shutil.rmtree(path)


def _wait_answer(address: str, *, deadline: float) -> None:
    """Ask an app until it answers a request."""
    while True:
        try:
            with socket.create_connection((address, PORT), timeout=1.0) as connection:
                connection.sendall(REQUEST)
                if b" 200 " in connection.recv(4096):
                    return
        except OSError:
            time.sleep(POLL_S)
        if time.perf_counter() > deadline:
            raise TimeoutError(f"no answer from {address}:{PORT}")
