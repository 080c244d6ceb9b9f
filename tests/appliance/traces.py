"""What there is on this machine on account of jobs: nothing of it may be left over."""

import os
import subprocess
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from flynn_aio.engine.service import service_paths
from flynn_aio.engine.sweep import CGROUP_ROOT, find_keepers
from flynn_aio.settings import Settings

from .person import until


def service_pid(settings: Settings) -> int:
    return int(service_paths(settings.engine).pid.read_text())


async def podman(*words: str) -> str:
    """Ask Podman's own command."""
    return (await trio.run_process(["podman", *words], capture_stdout=True, capture_stderr=True)).stdout.decode()


async def pid_of(settings: Settings, job: str, which: str = "Pid") -> int:
    """Return the pid of a job's main process, or of its `ConmonPid`."""
    return int(await podman("inspect", "--format", f"{{{{.State.{which}}}}}", settings.engine.prefix + job))


@dataclass(frozen=True)
class Traces:
    """What there is on this machine on account of jobs.

    Attributes:
        containers, conmons: of this appliance, by job and by container.
        links: what is plugged into its bridge.
        spaces, groups: network namespaces without a process, and control groups without a container: anybody's.
    """

    containers: frozenset[str]
    conmons: frozenset[str]
    links: int
    spaces: frozenset[str]
    groups: frozenset[str]


async def traces(settings: Settings) -> Traces:
    prefix, bridge = settings.engine.prefix, Path("/sys/class/net") / settings.engine.network / "brif"
    spaces, groups = await trio.to_thread.run_sync(_idle_spaces), await trio.to_thread.run_sync(_groups)
    rows = (await podman("ps", "-a", "--external", "--no-trunc", "--format", "{{.ID}} {{.Names}}")).splitlines()
    known = dict(row.split(" ", 1) for row in rows)
    return Traces(
        containers=frozenset(name.removeprefix(prefix) for name in known.values() if name.startswith(prefix)),
        conmons=frozenset(keeper.container for keeper in find_keepers(prefix)),
        links=len(os.listdir(bridge)) if bridge.exists() else 0,
        spaces=spaces,
        groups=groups - known.keys(),
    )


async def nothing_leaked(
    settings: Settings, before: Traces, jobs: Collection[str], *, lingering: Collection[str] = ()
) -> None:
    """Wait until there are these jobs, each with what it needs, and beside them no more than there was.

    Args:
        lingering: jobs that have ended and whose container may still be there.
    """

    async def look() -> bool:
        nonlocal now
        try:
            now = await traces(settings)
        except subprocess.CalledProcessError:  # `podman ps` stumbles over a container that goes meanwhile
            return False
        whole = now.containers.difference(lingering) == set(jobs) and len(now.conmons) == now.links == len(jobs)
        return whole and now.spaces <= before.spaces and now.groups <= before.groups

    now = before
    try:
        await until(look)
    except AssertionError:
        raise AssertionError(f"{jobs} run, and there are {now}; before there were {before}") from None


def _idle_spaces() -> frozenset[str]:
    named = {path.stat().st_ino: path.name for path in Path("/run/netns").glob("netns-*")}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            named.pop((process / "ns/net").stat().st_ino, None)
    return frozenset(named.values())


def _groups() -> frozenset[str]:
    """Return the containers that have control groups."""
    found = [*CGROUP_ROOT.glob("*/libpod_parent/libpod-*"), *CGROUP_ROOT.glob("libpod_parent/libpod-*")]
    return frozenset(group.name.removesuffix(".scope").rpartition("-")[2] for group in found)
