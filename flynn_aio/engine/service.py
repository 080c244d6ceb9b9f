"""Service: Podman's API process, which is ours and yet no child we depend on.

It runs in a session of its own, outlives us, and is adopted at the next start; containers need it only to
be made and removed. A service that died is started again; one that hangs gets SIGTERM, and SIGKILL only
then, because that can leak what it was just making (`findings.md` §11) and needs a sweep afterwards.
"""

import logging
import math
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import trio

from ..errors import EngineError
from ..settings import EngineSettings
from ..watch import Watch
from .client import Client
from .containers import HostLimits
from .host import HostFacts, check_version, choose_runtime, containers_conf
from .processes import WatchedProcess, identity_of

logger = logging.getLogger(__name__)

PING_EVERY_S = 5.0
PING_TIMEOUT_S = 5.0
PING_MISSES = 3
READY_S = 15.0  # 40 ms are usual; a first start migrates its database
READY_POLL_S = 0.01
TERMINATE_S = 5.0
RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses between attempts to start it again; the last one repeats."""

FOREIGN_ENVIRONMENT = ("LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_", "CONTAINER_", "CONTAINERS_", "DOCKER_HOST")

MAX_SOCKET_PATH = 100  # bytes; the kernel's limit is 107
_LIMIT = r"^Max {}\s+\S+\s+(\d+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePaths:
    """Where the service's things lie. Its working directory is `directory`: conmon drops files there."""

    directory: Path
    socket: Path
    pid: Path
    """For people and tools; we go by `identity`, which says which process of that pid is meant."""
    identity: Path
    conf: Path
    log: Path


def service_paths(settings: EngineSettings) -> ServicePaths:
    """Return the paths of an appliance's service.

    A Unix socket's path is short by law, so under a long data directory the socket moves to `/run`.
    """
    directory = settings.run_dir / "podman"
    socket = directory / "api.sock"
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
        socket = Path("/run") / f"{settings.network}.sock"
    return ServicePaths(
        directory=directory,
        socket=socket,
        pid=directory / "pid",
        identity=directory / "identity",
        conf=directory / "containers.conf",
        log=directory / "log",
    )


class PodmanService:
    """The service process of one appliance.

    Attributes:
        client: calls it.
        well_since: since when it has answered every ping, by Trio's clock; infinite while it does not.
        generation: grows whenever a new process took over; whatever was asked of the old one is void.
    """

    def __init__(self, settings: EngineSettings, facts: HostFacts) -> None:
        self._settings = settings
        self._facts = facts
        self.paths = service_paths(settings)
        self.client = Client(self.paths.socket)
        self.generation: Watch[int] = Watch(0)
        self.well_since = -math.inf
        self._process = WatchedProcess(0, "")

    @property
    def process(self) -> WatchedProcess:
        """The process that is asked now; one that was replaced counts as ended."""
        return self._process

    @property
    def is_alive(self) -> bool:
        """Whether the process is still there; a hung one is."""
        return not self._process.is_ending

    @property
    def limits(self) -> HostLimits:
        """What its containers may have: a process cannot give more than it has."""
        text = _read(Path(f"/proc/{self._process.pid}/limits")) if self.is_alive else ""
        nofile = re.search(_LIMIT.format("open files"), text, re.MULTILINE)
        nproc = re.search(_LIMIT.format("processes"), text, re.MULTILINE)
        return HostLimits(
            nofile=min(int(nofile[1]), self._facts.nofile) if nofile else self._facts.nofile,
            nproc=min(int(nproc[1]), self._facts.nproc) if nproc else self._facts.nproc,
            swap=self._facts.swap_limit,
        )

    async def start(self) -> bool:
        """Adopt the running service, or start one; return when it answers. Return whether it was adopted.

        Raises:
            EngineError: Podman is missing, too old, or does not answer, or the disk is full.
        """
        if not self._facts.podman:
            raise EngineError(
                f"cannot run jobs: there is no program {self._settings.podman}; type: apt-get install podman, "
                "or set [engine] podman to where it is"
            )
        runtime = choose_runtime(self._settings.runtime, self._facts.cgroups)
        conf = containers_conf(self._facts, runtime)
        self._process = find_service(self.paths)
        if self.is_alive:
            if _read(self.paths.conf) == conf and await self._answers_soon():
                logger.info("podman service adopted", extra={"pid": self._process.pid})
                return True
            await self.terminate()
        try:
            await trio.to_thread.run_sync(_prepare, self.paths, conf)
            self._process = _spawn(self._facts.podman, self.paths)
        except OSError as exc:
            raise EngineError(
                f"cannot start Podman's service in {self.paths.directory}: {exc.strerror}; free some space on that disk"
            ) from exc
        pid = self._process.pid
        ready_s = min(READY_S, self._settings.call_timeout_s)
        with trio.move_on_after(ready_s):
            while not self._process.has_ended:
                if await self._ping():
                    extra = {"pid": pid, "runtime": runtime.name, "why": runtime.why}
                    logger.info("podman service started", extra=extra)
                    return False
                await trio.sleep(READY_POLL_S)
        said = _read(self.paths.log).strip().rpartition("\n")[2]
        how = "ended at once" if self._process.has_ended else f"did not answer within {ready_s:g} s"
        await self.terminate()
        raise EngineError(
            f"cannot start Podman's service: it {how}{': ' + said if said else ''}; "
            f"`flynn-aio doctor` looks at what it needs, and {self.paths.log} has all it said"
        )

    async def join(self) -> None:
        """Use the service another process of ours minds; return when it answers.

        Raises:
            EngineError: it does not.
        """
        with trio.move_on_after(READY_S):
            while True:
                self._process = find_service(self.paths)
                if self.is_alive and await self._ping():
                    return
                self._process.close()
                await trio.sleep(READY_POLL_S)
        raise EngineError(
            f"cannot use Podman's service of the running appliance: it does not answer within {READY_S:g} s; "
            f"see {self.paths.log}"
        )

    async def run(self) -> None:
        """Keep it alive, until cancelled. It goes on when we end."""
        while True:
            await self._wait_until_broken()
            # a hung service still holds its locks: no newcomer could work beside it
            await self.terminate()
            await self._start_again()
            self.well_since = trio.current_time()
            self.generation.set(self.generation.value + 1)

    async def terminate(self) -> None:
        """End the service: SIGTERM, and SIGKILL when that does not help. Idempotent."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self._process.send_signal(number):
                break
            with trio.move_on_after(TERMINATE_S):
                await self._process.wait_ended()
                break
        _reap(self._process.pid)
        self._process.close()
        self.paths.identity.unlink(missing_ok=True)
        self.paths.pid.unlink(missing_ok=True)
        self.paths.socket.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the service; it runs on."""
        self._process.close()

    async def _wait_until_broken(self) -> None:
        """Return when it died, or missed several pings in a row."""
        missed = 0
        while missed < PING_MISSES:
            with trio.move_on_after(PING_EVERY_S if missed == 0 else READY_POLL_S):
                await self._process.wait_ended()
                self.well_since = math.inf
                logger.warning("podman service died", extra={"pid": self._process.pid})
                return
            if not await self._ping():
                missed, self.well_since = missed + 1, math.inf
            elif missed:
                missed, self.well_since = 0, trio.current_time()
        logger.warning("podman service hangs", extra={"pid": self._process.pid, "missed": missed})

    async def _start_again(self) -> None:
        attempt = 0
        while True:
            try:
                await self.start()
            except EngineError as exc:
                pause = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                logger.warning("podman service does not start", extra={"why": exc.message, "again_in_s": pause})
                await trio.sleep(pause)
                attempt += 1
            else:
                return

    async def _answers_soon(self) -> bool:
        for _ in range(PING_MISSES):
            if await self._ping():
                return True
        return False

    async def _ping(self) -> bool:
        """Whether it answers in time.

        Raises:
            EngineError: it answers, and is too old.
        """
        with trio.move_on_after(PING_TIMEOUT_S):
            try:
                answer = await self.client.call("GET", "_ping", doing="ping Podman's service")
            except EngineError:
                return False
            check_version(answer.headers.get("libpod-api-version", ""))
            return True
        return False


def find_service(paths: ServicePaths) -> WatchedProcess:
    """Return the service that runs at these paths, or one that has ended."""
    pid, _, identity = _read(paths.identity).strip().partition(" ")
    process = WatchedProcess(int(pid) if pid.isdecimal() else 0, "")
    if not identity or identity_of(process.pid) != identity:
        process.close()
    return process


def _prepare(paths: ServicePaths, conf: str) -> None:
    paths.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.socket.unlink(missing_ok=True)
    if _read(paths.conf) != conf:  # on a full disk the one that is there still serves
        paths.conf.write_text(conf)
    for path in (paths.pid, paths.identity):
        path.write_text("0\n")  # room for the real one, before there is a process nobody would find


def _spawn(podman: str, paths: ServicePaths) -> WatchedProcess:
    """Start the service in a session of its own, and note its pid.

    Not `subprocess`: its object wants to be waited for, and this child may outlive us. The shell's one word
    is `cd`: conmon drops files into the working directory it inherits.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    command = [podman, "system", "service", "--time=0", f"unix://{paths.socket}"]
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", 'cd "$0" && exec "$@"', str(paths.directory), *command],
        _environment() | {"CONTAINERS_CONF": str(paths.conf)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(paths.log), flags & ~os.O_CLOEXEC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)],
    )
    for path, text in ((paths.identity, f"{pid} {identity_of(pid)}\n"), (paths.pid, f"{pid}\n")):
        with path.open("r+") as file:  # in place: the room for it is there
            file.write(text)
    return WatchedProcess(pid, "")  # a child of ours: its pid cannot be another's


def _environment() -> dict[str, str]:
    """Return our environment without what systemd meant for us alone, or would point Podman elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_ENVIRONMENT)}


def _reap(pid: int) -> None:
    """Collect an ended child. An adopted service is not ours to collect."""
    try:
        if pid:
            os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
