"""A real appliance for tests: its own data directory, ports, subnet and home, driven through its commands."""

import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

from flynn_aio.settings import appliance_id

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
UP_TIMEOUT_S = 900
"""A first run on a machine makes the stack images."""
COMMAND_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(slots=True)
class Appliance:
    """One appliance below `place`. `subnet` must be its own while others run."""

    place: Path
    subnet: str
    domain: str = "flynn.localhost"
    settings: dict[str, str] = field(default_factory=dict)
    """More `FLYNN_AIO_*` variables, without the prefix."""
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    """HTTP and HTTPS; the same after a restart."""

    @property
    def data_dir(self) -> Path:
        return self.place / "data"

    @property
    def home(self) -> Path:
        return self.place / "home"

    @property
    def environ(self) -> dict[str, str]:
        """What every command sees: nothing of the real home, git configuration or cluster."""
        self.home.mkdir(parents=True, exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("FLYNN", "SUDO_", "GIT_"))}
        ours = {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "FLYNN_AIO_DATA_DIR": str(self.data_dir),
            "FLYNN_AIO_DOMAIN": self.domain,
            "FLYNN_AIO_ROUTER_HTTP_PORT": str(self.ports[0]),
            "FLYNN_AIO_ROUTER_HTTPS_PORT": str(self.ports[1]),
            "FLYNN_AIO_ENGINE_SUBNET": self.subnet,
        }
        identity = {
            f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return kept | ours | identity | {f"FLYNN_AIO_{key}": value for key, value in self.settings.items()}

    def run(
        self, *command: str | Path, cwd: Path | None = None, check: bool = True, timeout: float = COMMAND_TIMEOUT_S
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as the appliance's person; on failure the test sees what it printed."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd or self.place,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            log = self.data_dir / "appliance.log"
            tail = "\n".join(log.read_text().splitlines()[-40:]) if log.exists() else ""
            raise AssertionError(
                f"{' '.join(map(str, command))} exited with {done.returncode}\n{done.stdout}\n{done.stderr}\n{tail}"
            )
        return done

    def aio(
        self, *words: str, check: bool = True, timeout: float = COMMAND_TIMEOUT_S
    ) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, "-m", "flynn_aio", *words, check=check, timeout=timeout)

    def flynn(self, *words: str, cwd: Path | None = None, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.run("flynn", *words, cwd=cwd, check=check)

    def up(self, *, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.aio("up", "--detach", check=check, timeout=UP_TIMEOUT_S)

    def down(self) -> None:
        if self.data_dir.exists():
            self.aio("down")

    @property
    def state(self) -> dict[str, Any]:
        """What the running appliance wrote of itself."""
        return json.loads((self.data_dir / "run" / "appliance.json").read_text())

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        process = os.pidfd_open(self.state["pid"])
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            ended = select.poll()
            ended.register(process, select.POLLIN)
            assert ended.poll(10_000), "it survived kill -9"
        finally:
            os.close(process)

    def fetch(self, host: str, path: str = "/", *, plain: bool = False, timeout: float = 30) -> Answer:
        """GET over HTTPS with the cluster's CA, or over plain HTTP."""
        state = self.state
        connection: HTTPConnection
        if plain:
            connection = HTTPConnection("127.0.0.1", state["http_port"], timeout=timeout)
        else:
            context = ssl.create_default_context(cafile=self.data_dir / "keys" / "ca.pem")
            connection = Sni(host, state["https_port"], context, timeout)
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read().decode())
        connection.close()
        return answer

    def fetch_until(self, host: str, wanted: str, *, within_s: float = 30) -> Answer:
        """GET until the answer has `wanted` in it."""
        deadline = time.monotonic() + within_s
        while True:
            answer = self.fetch(host)
            if wanted in answer.text or time.monotonic() > deadline:
                assert wanted in answer.text, answer
                return answer
            time.sleep(0.1)

    def job_ids(self, app: str) -> set[str]:
        """Return the ids of the jobs that are up."""
        return set(self.flynn("-a", app, "ps", "-q").stdout.split())

    def containers(self, *, running: bool = False) -> list[str]:
        """Return the names of this appliance's containers; all of them, or those that run."""
        ours = f"name=flynn-{self.appliance_id}-"
        every = [] if running else ["--all"]
        return self.run("podman", "ps", *every, "--filter", ours, "--format", "{{.Names}}").stdout.split()

    @property
    def appliance_id(self) -> str:
        return appliance_id(self.data_dir)

    def traces(self) -> list[str]:
        """Return what runs or stands in the way on its account: containers, networks, links, processes."""
        name = f"flynn-{self.appliance_id}"
        networks = self.run("podman", "network", "ls", "--format", "{{.Name}}").stdout.split()
        links = [link.name for link in Path("/sys/class/net").iterdir()]
        ours = [found for found in (*networks, *links) if found == name]
        return [*self.containers(), *ours, *(line for line in _command_lines() if str(self.data_dir) in line)]


@contextmanager
def running(subnet: str) -> Iterator[Appliance]:
    """Have an appliance that is up while the block runs, and of which nothing is left behind it."""
    place = Path(tempfile.mkdtemp(prefix="flynn-aio-test-"))
    one = Appliance(place, subnet=subnet)
    try:
        one.up()
        yield one
    finally:
        one.down()
        assert one.traces() == []
        shutil.rmtree(place)


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _command_lines() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if process.name != str(os.getpid()):
            found.append(line)
    return found


def until(condition: Callable[[], Any], *, within_s: float = 20) -> Any:
    """Return what `condition` returns as soon as it is true, or at the end."""
    deadline = time.monotonic() + within_s
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


class Sni(HTTPSConnection):
    """HTTPS to loopback, whatever the name resolves to."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, context=context, timeout=timeout)
        self._tls = context

    def connect(self) -> None:
        raw = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)


def repository(place: Path, files: Mapping[str, str] | Path) -> Path:
    """Make a git repository with one commit: of these files, or of an example's."""
    place.mkdir(parents=True)
    if isinstance(files, Path):
        files = {str(path.relative_to(files)): path.read_text() for path in files.rglob("*") if path.is_file()}
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    for command in (
        ["init", "--quiet", "--initial-branch=master"],
        ["add", "."],
        ["commit", "--quiet", "--message=first"],
    ):
        git(place, *command)
    return place


def git(place: Path, *words: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *words], cwd=place, check=True, capture_output=True)
