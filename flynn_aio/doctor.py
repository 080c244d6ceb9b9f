"""`flynn-aio doctor`: what this machine has, what it lacks, and what to type."""

import json
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict

import trio

from .bootstrap import cluster_domain, running_pid
from .engine import Finding, probe_host
from .errors import FlynnError
from .settings import Settings

PROGRAMS = {
    "git": "pushes need it: apt-get install git",
    "mmdebstrap": "without a registry the stack's base is made with it: apt-get install mmdebstrap",
}
REGISTRY_ADDRESSES = {"docker.io": "registry-1.docker.io"}
"""Where a registry's API is, when not at the name that stands before its images."""
REGISTRY_TIMEOUT_S = 3.0
MARKS = {True: "ok  ", False: "FAIL", None: "note"}


def doctor(settings: Settings, *, as_json: bool) -> int:
    """Print every finding; return 0 when nothing stands in the way, else 1. Nothing is changed."""
    try:
        findings = [*trio.run(probe_host, settings.engine), *_findings(settings)]
    except (FlynnError, OSError) as exc:
        print(f"error: looking at this machine: {exc}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            advice = f"\n     {'':{width}}  -> {finding.advice}" if finding.advice else ""
            print(f"{MARKS[finding.ok]} {finding.name:{width}}  {finding.text}{advice}")
    return 1 if any(finding.ok is False for finding in findings) else 0


def _findings(settings: Settings) -> Iterator[Finding]:
    for program, why in PROGRAMS.items():
        found = shutil.which(program)
        yield Finding(program, bool(found), found or "not in $PATH", "" if found else why)
    running = running_pid(settings.data_dir)
    for name, port in (("http", settings.router.http_port), ("https", settings.router.https_port)):
        yield _port(f"{name} port", settings.router.listen, port, running)
    yield _name(cluster_domain(settings))
    yield _registry(settings.build.stack_image)


def _port(name: str, address: str, port: int, running: int | None) -> Finding:
    if running is not None:
        return Finding(name, True, f"{port}, held by the appliance (pid {running})")
    if port == 0:
        return Finding(name, True, "any free one")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            return Finding(name, None, f"{port} can be had by root only", "use sudo")
        except OSError as exc:
            option = f"--{name.replace(' ', '-')}"
            return Finding(
                name, False, f"{address}:{port}: {exc.strerror}", f"end what listens there, or use {option} N"
            )
    return Finding(name, True, f"{port} is free")


def _name(domain: str) -> Finding:
    """Tell whether clients will find the apps. glibc does not know `*.localhost`; curl, git and browsers do."""
    if domain.endswith(".localhost"):
        return Finding("domain", None, f"*.{domain} is this machine, for curl, git, browsers and flynn itself")
    try:
        found = sorted({str(address[4][0]) for address in socket.getaddrinfo(f"controller.{domain}", 443)})
    except OSError:
        advice = f"make *.{domain} and {domain} point at this machine"
        return Finding("domain", False, f"controller.{domain} does not resolve", advice)
    return Finding("domain", True, f"controller.{domain} is {', '.join(found)}")


def _registry(image: str) -> Finding:
    """Tell whether the stack's base can be pulled. Without a registry it is made from a Debian mirror, no worse."""
    host = image.partition("/")[0]
    address = REGISTRY_ADDRESSES.get(host, host)
    name, _, port = address.partition(":")
    try:
        socket.create_connection((name, int(port or 443)), REGISTRY_TIMEOUT_S).close()
    except (OSError, ValueError):
        return Finding("registry", None, f"{host} does not answer; the stack's base is made from a Debian mirror")
    return Finding("registry", True, f"{host} answers; the stack's base is {image}")
