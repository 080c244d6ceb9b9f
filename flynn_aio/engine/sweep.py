"""Sweep: what a killed service left half done, found and put away.

Only at boot and after a new service took over. A conmon, network namespace or storage that Podman does not
know was leaked by the old service in the middle of a start (`findings.md` §11). Each look at the machine
comes before the look at Podman's list: what is just being made is then in the list.
"""

import logging
import os
import re
import shutil
import signal
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import trio

from ..errors import EngineError
from ..model import JobID
from ..settings import EngineSettings
from .calls import Calls

logger = logging.getLogger(__name__)

PROC = Path("/proc")
CGROUP_ROOT = Path("/sys/fs/cgroup")
NETNS = Path("/run/netns")
COMMAND_TIMEOUT_S = 10.0
SUSPICION_S = 1.0
"""How long a namespace or control group that is being set up may look leaked; 50 ms are usual."""

_OF_PODMAN = re.compile(r"netns-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What Podman calls a namespace; a person may have made ``netns-test``."""
_LOCAL_ADDRESS = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")


@dataclass(frozen=True, slots=True)
class Keeper:
    """A conmon with our prefix: its pid and the container it keeps."""

    pid: int
    container: str


async def sweep(
    calls: Calls, settings: EngineSettings, *, in_flight: Callable[[], Collection[JobID]]
) -> frozenset[Path]:
    """Put away leaked conmons, network namespaces and half-made storage of this appliance.

    Returns suspects: network namespaces and control groups that nobody seems to use and that do not tell
    whose they are. Another Podman may be setting them up right now, so `remove_suspects` wants them later.

    Args:
        in_flight: jobs that are being started: nothing of theirs is a leftover.

    Raises:
        EngineError: Podman does not answer.
    """
    keepers = await trio.to_thread.run_sync(find_keepers, settings.prefix)
    containers = {row.id for row in await calls.list_ours()}
    for keeper in keepers:
        if keeper.container not in containers:
            await _end_leaked_container(keeper)
    spaces = await _idle_namespaces()
    addresses = {row.address for row in await calls.list_ours()} if spaces else set()
    for space, held in spaces.items():
        if any(IPv4Address(address) in settings.subnet and address not in addresses for address in held):
            await _delete_namespace(space)
    await _remove_storage(calls, settings, in_flight)
    nameless = {space for space, held in spaces.items() if not held}
    return frozenset(nameless | await _leaked_groups(calls))


async def remove_suspects(calls: Calls, suspects: Collection[Path]) -> None:
    """Remove those of the suspects that are still what they were: unused and unknown to Podman.

    Call it `SUSPICION_S` after the sweep that found them, or later.

    Raises:
        EngineError: Podman does not answer.
    """
    if not suspects:
        return
    for space, held in (await _idle_namespaces()).items():
        if space in suspects and not held:
            await _delete_namespace(space)
    for group in await _leaked_groups(calls):
        if group in suspects:
            await trio.to_thread.run_sync(_remove_group, group)


def find_keepers(prefix: str) -> list[Keeper]:
    """Return the conmons whose container's name begins with `prefix`. Blocks: it reads every command line.

    A process inside a container can call itself what it likes. A conmon lives outside, where we do.
    """
    outside = _inode(PROC / "self/ns/pid")
    keepers = []
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            keeper = _as_keeper(int(entry.name), _read(entry / "cmdline"), prefix)
            if keeper and _inode(entry / "ns/pid") == outside:
                keepers.append(keeper)
    return keepers


def _as_keeper(pid: int, command_line: str, prefix: str) -> Keeper | None:
    words = command_line.split("\0")
    if not words[0].endswith("conmon") or "-n" not in words or "-c" not in words:
        return None
    name, container = words[words.index("-n") + 1], words[words.index("-c") + 1]
    return Keeper(pid, container) if name.startswith(prefix) else None


async def _end_leaked_container(keeper: Keeper) -> None:
    logger.warning("leaked container ended", extra={"container": keeper.container, "conmon": keeper.pid})
    for name in ("runc", "crun"):
        if shutil.which(name):
            await _run(name, "delete", "-f", keeper.container)
    with suppress(ProcessLookupError):
        os.kill(keeper.pid, signal.SIGKILL)
    await trio.to_thread.run_sync(remove_groups_of, keeper.container)


async def _leaked_groups(calls: Calls) -> set[Path]:
    """Return the control groups of containers that Podman does not know."""
    groups = await trio.to_thread.run_sync(_groups)
    known = {row.id for row in await calls.list_storage()} if groups else set()
    return {group for group, container in groups.items() if container not in known}


def _groups() -> dict[Path, str]:
    """Return every control group of Podman's, in every hierarchy, and the container it belongs to. Blocks."""
    groups = [*CGROUP_ROOT.glob("*/libpod_parent/libpod-*"), *CGROUP_ROOT.glob("libpod_parent/libpod-*")]
    return {group: group.name.removesuffix(".scope").rpartition("-")[2] for group in groups}


def remove_groups_of(container: str) -> None:
    """Remove the control groups of a container that is gone, which its conmon would have done. Blocks."""
    for group, owner in _groups().items():
        if owner == container:
            _remove_group(group)


def _remove_group(group: Path) -> None:
    """Remove a control group; the kernel refuses while a process is in it. Blocks."""
    try:
        for inner in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            inner.rmdir()
        group.rmdir()
    except OSError as exc:
        logger.info("control group not removed", extra={"group": str(group), "why": str(exc)})


async def _idle_namespaces() -> dict[Path, list[str]]:
    """Return Podman's named network namespaces without a process, each with the addresses it holds."""
    found = {}
    for space in await trio.to_thread.run_sync(_without_process):
        table = await _run("nsenter", f"--net={space}", "cat", "/proc/self/net/fib_trie")
        held = [address for address in _LOCAL_ADDRESS.findall(table) if not IPv4Address(address).is_loopback]
        found[space] = held
    return found


def _without_process() -> list[Path]:
    """Return the namespaces no process lives in. Blocks: it looks at every process."""
    named = [path for path in NETNS.glob("netns-*") if _OF_PODMAN.fullmatch(path.name)]
    spaces = {inode: path for path in named if (inode := _inode(path))}
    if spaces:
        for entry in PROC.iterdir():
            if entry.name.isdecimal():
                spaces.pop(_inode(entry / "ns/net"), None)
    return list(spaces.values())


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


async def _delete_namespace(space: Path) -> None:
    """Unmount and remove a namespace; its veth goes with it."""
    logger.warning("leaked network namespace removed", extra={"namespace": space.name})
    await _run("umount", "--lazy", str(space))
    try:
        await trio.Path(space).unlink(missing_ok=True)
    except OSError as exc:
        logger.warning("network namespace not removed", extra={"namespace": space.name, "why": str(exc)})


async def _remove_storage(calls: Calls, settings: EngineSettings, in_flight: Callable[[], Collection[JobID]]) -> None:
    """Remove containers that exist in Podman's storage alone: their name is taken, their labels are lost."""
    stored = await calls.list_storage()
    known = {row.id for row in await calls.list_ours()}
    for row in stored:
        names = [name for name in row.names if name.startswith(settings.prefix)]
        if row.id in known or not names or names[0].removeprefix(settings.prefix) in in_flight():
            continue
        logger.warning("half-made container removed", extra={"container": names[0]})
        try:
            await calls.remove(row.id)
        except EngineError as exc:
            logger.warning("half-made container not removed", extra={"container": names[0], "why": exc.message})


async def _run(*command: str) -> str:
    """Run a small command of the system; return its output, whatever its exit code."""
    with trio.move_on_after(COMMAND_TIMEOUT_S):
        done = await trio.run_process(list(command), capture_stdout=True, capture_stderr=True, check=False)
        return done.stdout.decode(errors="replace")
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
