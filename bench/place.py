"""The appliance under measurement: a real one with everything of its own, gone afterwards."""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flynn_aio.config import load
from flynn_aio.settings import Settings
from tests.support.appliance import EXAMPLES, Appliance, git, repository

SUBNET = "100.103.0.0/25"
"""Half of the bench's own range; the other half is for containers made by hand."""
HTTP_PORT, HTTPS_PORT = 18103, 18104
APP = "hello"
HOST = f"{APP}.flynn.localhost"
READY_TIMEOUT_S = 900.0
"""Only the first start on a machine comes near it: it makes the stack images."""
STOP_TIMEOUT_S = 60.0
CALM_TIMEOUT_S = 60.0
POLL_S = 0.005


class Place:
    """One appliance, run as a child in the foreground so that its first moment is known. Make one with `open_place`.

    Attributes:
        appliance: its commands, its home and its front doors.
        repo: a work tree of `examples/python-hello` with the appliance as remote `flynn`, after `deploy`.
    """

    def __init__(self, path: Path) -> None:
        ports = {"ROUTER_HTTP_PORT": str(HTTP_PORT), "ROUTER_HTTPS_PORT": str(HTTPS_PORT), "ROUTER_LISTEN": "127.0.0.1"}
        self.appliance = Appliance(path, subnet=SUBNET, settings=ports)
        self.repo = path / APP
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """The settings its process finds."""
        return load(file=None, environ=self.appliance.environ)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the appliance does not run"
        return self._process.pid

    @property
    def service_pid(self) -> int:
        """The pid of its Podman service."""
        return int((self.appliance.data_dir / "run" / "podman" / "pid").read_text())

    def boot(self) -> float:
        """Start the appliance; return the seconds from the start of its process to its `ready` line."""
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [Path(sys.executable).parent / "flynn-aio", "up"],
            env=self.appliance.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = bytearray()
        assert self._process.stdout is not None
        while not said.rpartition(b"\n")[0].rpartition(b"\n")[2].startswith(b"ready"):
            left_s = started + READY_TIMEOUT_S - time.perf_counter()
            if not select.select([self._process.stdout], [], [], max(0.0, left_s))[0]:
                raise TimeoutError(f"flynn-aio up was not ready in time; it said:\n{said.decode()}")
            piece = os.read(self._process.stdout.fileno(), 65536)
            if not piece:
                raise RuntimeError(f"flynn-aio up ended; it said:\n{said.decode()}")
            said += piece
        return time.perf_counter() - started

    def leave(self) -> None:
        """End the appliance's process; its apps and its Podman service go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate(timeout=STOP_TIMEOUT_S)
            self._process = None

    def down(self) -> None:
        """Stop everything; what it keeps stays."""
        self.leave()
        self.appliance.down()

    def deploy(self) -> None:
        """Have the app running: create and push it, unless that was done before."""
        if not self.repo.exists():
            repository(self.repo, EXAMPLES / "python-hello")
            self.appliance.flynn("create", APP, cwd=self.repo)
            self.push()

    def commit(self) -> None:
        """Make a commit that changes nothing."""
        git(self.repo, "commit", "--quiet", "--allow-empty", "--message=again")

    def push(self) -> None:
        self.appliance.run("git", "push", "flynn", "master", cwd=self.repo)

    def host(self, app: str) -> str:
        """Return where an app answers."""
        return f"{app}.{self.appliance.domain}"

    @contextmanager
    def app(self, name: str) -> Iterator[None]:
        """Have one more app, of the tree `bench/NAME`; it is gone afterwards."""
        repo = self.appliance.place / name
        repository(repo, Path(__file__).parent / name)
        self.appliance.flynn("create", name, cwd=repo)
        try:
            self.appliance.run("git", "push", "flynn", "master", cwd=repo)
            yield
        finally:
            self.appliance.flynn("-a", name, "delete", "--yes")
            shutil.rmtree(repo)
            self.wait_calm()

    def wait_calm(self) -> None:
        """Wait until one container is left: no replaced job and no build is on its way out."""
        deadline = time.monotonic() + CALM_TIMEOUT_S
        while len(self.appliance.containers()) != 1:
            if time.monotonic() > deadline:
                raise TimeoutError(f"these containers stayed: {self.appliance.containers()}")
            time.sleep(0.1)


@contextmanager
def open_place() -> Iterator[Place]:
    """Have a running appliance; whatever was made of it is gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="flynn-aio-bench-"))
    place = Place(path)
    try:
        place.boot()
        yield place
    finally:
        try:
            place.leave()
        finally:
            place.appliance.down()  # also after a crash: its apps would go on
            shutil.rmtree(path)
