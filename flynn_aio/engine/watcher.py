"""Watcher: the containers we know, each with a task that sees its end.

The end of a job is the end of its process, told by a pidfd; its exit code comes from conmon's exit file,
or from Podman when that file was missed. A job whose conmon died has lost its output and its exit code:
it is killed, so that another can take its place (`findings.md` §3).
"""

import logging
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from ..clock import Clock
from ..errors import EngineError
from ..model import JobID
from ..watch import Bell
from .calls import Calls
from .containers import LOST_EXIT_CODE
from .exits import ExitFiles
from .init_log import OOM_TEXT, disk_text, tell_readers, tells_of_oom
from .processes import MemoryEvents, WatchedProcess, would_ignore_as_init
from .protocol import JobStatus, RunState

logger = logging.getLogger(__name__)

EXIT_FILE_S = 2.0  # conmon needs one or two milliseconds; a starved machine more
ORPHAN_EXIT_FILE_S = 0.05
KEEPER_DIED = "its keeper (conmon) died, and with it the output and the exit code"


@dataclass(slots=True, eq=False)
class Container:
    """One job as Podman holds it.

    Attributes:
        id: Podman's id.
        keeper: its conmon.
        temp_disk_bytes: how much it may write to `scratch`, the directories behind its own file system; 0: no limit.
        killed_by: the signal SIGKILL stood in for, see `processes.would_ignore_as_init`.
        oom_kills: how many were told of; `oom_unconfirmed` of them were counted by the cgroup and are still
            to come from the kernel's log.
    """

    id: str
    status: JobStatus
    is_logged: bool
    process: WatchedProcess
    keeper: WatchedProcess
    memory: MemoryEvents
    temp_disk_bytes: int = 0
    scratch: tuple[Path, ...] = ()
    ended: trio.Event = field(default_factory=trio.Event)
    watching: trio.CancelScope = field(default_factory=trio.CancelScope)
    killed_by: int = 0
    oom_kills: int = 0
    oom_unconfirmed: int = 0

    def deliver(self, number: int) -> bool:
        """Send a signal with the effect it has on an ordinary process; return whether it was there."""
        if would_ignore_as_init(self.process.pid, number):
            self.killed_by = number
            return self.process.send_signal(signal.SIGKILL)
        return self.process.send_signal(number)


class Watcher:
    """The known containers by job, and the tasks that watch them.

    Args:
        nursery: where the tasks live.
        calls: asked for the exit code of a job whose exit file was missed.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        log_dir: Path,
        clock: Clock,
        exit_files: ExitFiles,
        calls: Calls,
    ) -> None:
        self.bell = Bell()
        self._nursery = nursery
        self._log_dir = log_dir
        self._clock = clock
        self._exit_files = exit_files
        self._calls = calls
        self._known: dict[JobID, Container] = {}

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._known.values()))

    def get(self, job: JobID) -> Container | None:
        return self._known.get(job)

    def add(
        self,
        id: str,
        status: JobStatus,
        *,
        is_logged: bool,
        pid: int = 0,
        keeper_pid: int = 0,
        adopted: bool = False,
        temp_disk_bytes: int = 0,
        scratch: Sequence[Path] = (),
    ) -> Container:
        """Know a container from now on, and watch it while it runs.

        Args:
            adopted: it was started by an earlier process of ours, which may have told of kills already.
        """
        container = Container(
            id=id,
            status=status,
            is_logged=is_logged,
            process=WatchedProcess(pid, id),
            keeper=WatchedProcess(keeper_pid, id),
            memory=MemoryEvents(pid),
            temp_disk_bytes=temp_disk_bytes,
            scratch=tuple(scratch),
        )
        self._known[status.id] = container
        if adopted and tells_of_oom(self._log_dir, status):
            container.status = replace(status, oom=True)
            container.oom_kills = container.memory.oom_kills()
        if status.state is RunState.RUNNING:
            self.check_memory(container)
            self._exit_files.expect(id)
            self._nursery.start_soon(self._watch, container)
        else:
            container.ended.set()
        self.bell.ring()
        return container

    def drop(self, job: JobID) -> None:
        """Forget a container that is gone. Whoever waits for its end learns of it."""
        container = self._known.pop(job, None)
        if container is not None:
            container.watching.cancel()
            self._end(container, 128 + (container.killed_by or signal.SIGKILL))
            self._exit_files.forget(container.id)

    def close(self) -> None:
        """Let go of all processes; they run on."""
        for container in self:
            container.process.close()
            container.keeper.close()

    def note_oom(self, id: str) -> None:
        """The kernel killed a process of this container for lack of memory."""
        for container in self:
            if container.id == id:
                if container.oom_unconfirmed:
                    container.oom_unconfirmed -= 1
                else:
                    self._tell_oom(container)

    def check_memory(self, container: Container) -> None:
        """Tell of kills the cgroup counted and the kernel's log did not tell, or not yet."""
        count = container.memory.oom_kills()
        if count > container.oom_kills:
            container.oom_unconfirmed += count - container.oom_kills
            self._tell_oom(container)
            container.oom_kills = count

    def _tell_oom(self, container: Container) -> None:
        container.oom_kills += 1
        container.status = replace(container.status, oom=True)
        logger.info("job out of memory", extra={"job": container.status.id})
        if container.is_logged:
            self._nursery.start_soon(self._write_init_line, container, OOM_TEXT)
        self.bell.ring()

    def end_for_disk(self, container: Container) -> None:
        """End a job that has written more than its `temp_disk`, and say so."""
        if container.ended.is_set():
            return
        text = disk_text(container.temp_disk_bytes)
        logger.info("job out of disk", extra={"job": container.status.id})
        container.status = replace(container.status, error=text)
        if container.is_logged:
            self._nursery.start_soon(self._write_init_line, container, text)
        container.process.send_signal(signal.SIGKILL)

    async def _write_init_line(self, container: Container, text: str) -> None:
        write = partial(tell_readers, self._log_dir, container.status, self._clock.now(), text)
        try:
            await trio.to_thread.run_sync(write)
        except OSError as exc:
            logger.warning("cannot log what ended a job", extra={"job": container.status.id, "why": str(exc)})

    async def _watch(self, container: Container) -> None:
        with container.watching:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._mind_keeper, container)
                await container.process.wait_ended()
                self.check_memory(container)  # before cleanup takes the cgroup away
                nursery.cancel_scope.cancel()
            code = await self._exit_code(container)
            if container.killed_by and code == 128 + signal.SIGKILL:
                code = 128 + container.killed_by
            self._end(container, code)

    async def _mind_keeper(self, container: Container) -> None:
        await container.keeper.wait_ended()
        if container.process.has_ended:
            return
        logger.warning("conmon died before its job", extra={"job": container.status.id, "container": container.id})
        container.status = replace(container.status, error=KEEPER_DIED)
        container.process.send_signal(signal.SIGKILL)

    async def _exit_code(self, container: Container) -> int:
        with trio.move_on_after(ORPHAN_EXIT_FILE_S if container.keeper.has_ended else EXIT_FILE_S):
            code = await self._exit_files.code(container.id)
            if code is not None:
                return code
        try:
            inspected = await self._calls.inspect(container.id)
        except EngineError as exc:
            logger.warning("exit code lost", extra={"job": container.status.id, "why": exc.message})
            return LOST_EXIT_CODE
        return inspected.state.exit_code if inspected and inspected.has_ended else LOST_EXIT_CODE

    def _end(self, container: Container, code: int) -> None:
        if not container.ended.is_set():
            container.status = replace(container.status, state=RunState.EXITED, exit_code=code)
            container.ended.set()
        container.process.close()
        container.keeper.close()
        self.bell.ring()
