"""Doctor: what this machine has and lacks for running jobs, as findings with advice.

Each condition of `hosts.md` has its finding. Nothing is changed, and nothing is started but
``podman --version``.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import trio

from ..errors import EngineError
from ..settings import MIB, EngineSettings
from .exits import KERNEL_LOG
from .host import CgroupMode, HostFacts, check_version, choose_runtime, look
from .network import ROUTES, colliding_routes
from .scratch import ALARM_BYTES, MEASURE_EVERY_S
from .service import find_service, service_paths

PODMAN_TIMEOUT_S = 10.0
WANTED_NOFILE = 10000
"""The default `max_fd` of a job."""
WANTED_DISK_BYTES = 2 << 30
"""The stack and one built app."""
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        ok: ``None`` when it is merely good to know.
        text: what was found, in one line.
        advice: what to do; empty when nothing.
    """

    name: str
    ok: bool | None
    text: str
    advice: str = ""


async def probe_host(settings: EngineSettings) -> list[Finding]:
    """Look at everything jobs depend on."""
    facts = await trio.to_thread.run_sync(look, settings)
    findings = [await _podman(facts, settings), _service(settings)]
    return findings + await trio.to_thread.run_sync(lambda: list(_probe(facts, settings)))


async def _podman(facts: HostFacts, settings: EngineSettings) -> Finding:
    if not facts.podman:
        return Finding("podman", False, f"{settings.podman} is not in $PATH", "apt-get install podman")
    with trio.move_on_after(PODMAN_TIMEOUT_S):
        try:
            done = await trio.run_process([facts.podman, "--version"], capture_stdout=True, capture_stderr=True)
            version = done.stdout.decode(errors="replace").strip()
            check_version(version)
        except EngineError as exc:
            return Finding("podman", False, exc.message, "apt-get install podman")
        except (OSError, subprocess.CalledProcessError) as exc:
            return Finding("podman", False, f"{facts.podman} does not run: {exc}", "reinstall podman")
        return Finding("podman", True, f"{facts.podman}, {version}")
    text = f"{facts.podman} --version did not answer within {PODMAN_TIMEOUT_S:g} s"
    return Finding("podman", False, text, "look for a stopped podman process (ps -C podman) and end it")


def _probe(facts: HostFacts, settings: EngineSettings) -> Iterator[Finding]:
    yield _root()
    yield _runtime(facts, settings)
    yield _cgroups(facts)
    yield _limits(facts)
    yield _bridge(settings)
    yield _subnet(settings.subnet, settings.network)
    yield _disk(settings)
    yield _ca_bundle()
    yield _kernel_log()
    yield _temp_disk()


def _root() -> Finding:
    if os.geteuid() == 0:
        return Finding("user", True, "running as root")
    return Finding("user", False, "not running as root: containers could not be reached from here", "use sudo")


def _runtime(facts: HostFacts, settings: EngineSettings) -> Finding:
    try:
        runtime = choose_runtime(settings.runtime, facts.cgroups)
    except EngineError as exc:
        return Finding("runtime", False, exc.message, "apt-get install runc")
    return Finding("runtime", True, f"{runtime.name}, because {runtime.why}")


def _cgroups(facts: HostFacts) -> Finding:
    swap = "" if facts.swap_limit else "; swap cannot be limited, so a job may use more than its memory limit"
    ok = True if facts.cgroups is CgroupMode.V2 else None
    return Finding("cgroups", ok, f"{facts.cgroups}{swap}")


def _limits(facts: HostFacts) -> Finding:
    text = f"at most {facts.nofile} open files and {facts.nproc} processes per job (hard limits of this process)"
    if facts.nofile >= WANTED_NOFILE:
        return Finding("limits", True, text)
    return Finding("limits", False, text, "raise LimitNOFILE of the systemd unit, or `ulimit -Hn`, to 10000 or more")


def _service(settings: EngineSettings) -> Finding:
    process = find_service(service_paths(settings))
    try:
        if process.has_ended:
            return Finding("service", None, "Podman's service is not running; `flynn-aio up` starts it")
        return Finding("service", True, f"Podman's service runs as process {process.pid}")
    finally:
        process.close()


def _bridge(settings: EngineSettings) -> Finding:
    if Path("/sys/class/net", settings.network).exists():
        return Finding("bridge", True, f"{settings.network} is up with gateway {settings.gateway}")
    return Finding("bridge", None, f"{settings.network} does not exist yet; the first job makes it")


def _subnet(subnet: IPv4Network, bridge: str) -> Finding:
    try:
        colliding = colliding_routes(subnet, ours=bridge, routes=ROUTES.read_text())
    except OSError as exc:
        return Finding("subnet", None, f"cannot read {ROUTES}: {exc}")
    if not colliding:
        return Finding("subnet", True, f"{subnet} is free")
    text = f"{subnet} is already routed through {', '.join(colliding)}"
    return Finding("subnet", False, text, "choose another one: [engine] subnet in flynn.toml")


def _disk(settings: EngineSettings) -> Finding:
    where = next(path for path in (settings.slug_dir, *settings.slug_dir.parents) if path.exists())
    free = shutil.disk_usage(where).free
    text = f"{free / (1 << 30):.1f} GB free at {where}"
    if free >= WANTED_DISK_BYTES:
        return Finding("disk", True, text)
    return Finding("disk", False, text, "make room, or move the data directory (--data-dir)")


def _ca_bundle() -> Finding:
    if CA_BUNDLE.exists():
        return Finding("ca-bundle", True, f"{CA_BUNDLE}, given to builds")
    return Finding("ca-bundle", False, f"{CA_BUNDLE} is missing", "apt-get install ca-certificates")


def _kernel_log() -> Finding:
    if os.access(KERNEL_LOG, os.R_OK):
        return Finding("kernel-log", True, f"{KERNEL_LOG} tells of out-of-memory kills at once")
    text = f"{KERNEL_LOG} cannot be read: out-of-memory kills are seen when a job ends, or within half a minute"
    return Finding("kernel-log", None, text)


def _temp_disk() -> Finding:
    text = (
        f"temp_disk is measured, every {MEASURE_EVERY_S:g} s and when {ALARM_BYTES // MIB} MB more are in use: "
        "a job above its limit is ended"
    )
    return Finding("temp-disk", None, text)
