"""`flynn-aio status` and `credentials`: what runs, what is wrong, how to reach it."""

import base64
import http.client
import json
import shutil
import socket
import ssl
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .bootstrap import cluster_key, key_file, running_pid
from .settings import MIB, Settings
from .up import entry, log_file, state_file

ASK_TIMEOUT_S = 5.0
LOW_DISK_BYTES = 16 * MIB
"""With less than this, writes begin to fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppStatus:
    """An app with the number of its jobs in each state that is not `down`."""

    name: str
    release: str
    jobs: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `status` knows. `problems` are sentences that end with what to type."""

    running: bool
    healthy: bool
    data_dir: str
    pid: int | None = None
    version: str = ""
    domain: str = ""
    http_port: int = 0
    https_port: int = 0
    started_at: str = ""
    apps: list[AppStatus] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def status(settings: Settings, *, as_json: bool) -> int:
    """Print the report; return 0 when the appliance runs and answers, else 1."""
    try:
        report = look(settings)
    except PermissionError as exc:
        print(f"error: {exc.filename} is not yours to read; type: sudo flynn-aio status", file=sys.stderr)
        return 1
    print(json.dumps(asdict(report), indent=2) if as_json else "\n".join(_lines(report)))
    return 0 if report.healthy else 1


def look(settings: Settings) -> Report:
    """Ask the appliance on this data directory about itself."""
    pid = running_pid(settings.data_dir)
    if pid is None:
        return Report(
            running=False,
            healthy=False,
            data_dir=str(settings.data_dir),
            problems=["the appliance does not run; type: flynn-aio up"],
        )
    state = _state(settings, pid)
    if state is None:
        problem = f"it has not said ready yet; its log is {log_file(settings)} when it was started with --detach"
        return Report(running=True, healthy=False, pid=pid, data_dir=str(settings.data_dir), problems=[problem])
    known = {key: state[key] for key in ("version", "domain", "http_port", "https_port", "started_at")}
    try:
        apps, problems = _apps(settings, state["domain"], state["https_port"]), list[str]()
    except (OSError, http.client.HTTPException, ValueError) as exc:
        apps, problems = [], [f"the controller does not answer ({exc}); look at {log_file(settings)}"]
    free = shutil.disk_usage(settings.data_dir).free
    if free < LOW_DISK_BYTES:
        problems.append(
            f"the disk of {settings.data_dir} is full ({free // MIB} MB are free): apps go on, and changes and pushes "
            "fail; free some space there"
        )
    return Report(
        running=True,
        healthy=not problems,
        pid=pid,
        data_dir=str(settings.data_dir),
        apps=apps,
        problems=problems,
        **known,
    )


def _state(settings: Settings, pid: int | None) -> dict[str, Any] | None:
    """Return what the process of this pid wrote of itself when it was ready; one that was killed left its own."""
    try:
        state: dict[str, Any] = json.loads(state_file(settings).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return state if state["pid"] == pid else None


def _apps(settings: Settings, domain: str, port: int) -> list[AppStatus]:
    connection = _Loopback(f"controller.{domain}", port, settings.data_dir / "keys" / "ca.pem")
    password = base64.b64encode(f":{cluster_key(settings)}".encode()).decode()

    def get(path: str) -> Any:
        connection.request("GET", path, headers={"Authorization": f"Basic {password}", "Accept": "application/json"})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise ValueError(f"{path} answered {response.status}")
        return json.loads(body)

    try:
        active = get("/active-jobs")
        counts: dict[str, dict[str, int]] = {}
        for job in active:
            states = counts.setdefault(job["app"], {})
            states[job["state"]] = states.get(job["state"], 0) + 1
        return [
            AppStatus(name=app["name"], release=app.get("release", ""), jobs=counts.get(app["id"], {}))
            for app in get("/apps")
            if app["meta"].get("flynn-system-app") != "true"
        ]
    finally:
        connection.close()


class _Loopback(http.client.HTTPSConnection):
    """HTTPS to this machine, whatever the cluster's domain resolves to; checked against the cluster's CA."""

    def __init__(self, host: str, port: int, ca_file: Path) -> None:
        self._tls = ssl.create_default_context(cafile=ca_file)
        super().__init__(host, port, timeout=ASK_TIMEOUT_S, context=self._tls)

    def connect(self) -> None:
        raw = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)


def _lines(report: Report) -> list[str]:
    if not report.running:
        return [f"not running ({report.data_dir})", *report.problems]
    port = "" if report.https_port == 443 else f":{report.https_port}"
    lines = [
        f"flynn-aio {report.version} runs as pid {report.pid} since {report.started_at}",
        f"domain    https://controller.{report.domain}{port}",
        f"data      {report.data_dir}",
    ]
    for app in sorted(report.apps, key=lambda app: app.name):
        jobs = ", ".join(f"{count} {state}" for state, count in sorted(app.jobs.items())) or "nothing runs"
        lines.append(f"app       {app.name}: {jobs}")
    return lines + [f"problem   {problem}" for problem in report.problems]


def credentials(settings: Settings, *, as_json: bool) -> int:
    """Print how a client reaches the cluster; return the exit code."""
    try:
        if not key_file(settings).exists():
            print(f"error: there is no cluster in {settings.data_dir} yet; type: flynn-aio up", file=sys.stderr)
            return 1
        port = _https_port(settings)
        found = entry(settings, port)
    except PermissionError as exc:
        print(f"error: {exc.filename} is not yours to read; type: sudo flynn-aio credentials", file=sys.stderr)
        return 1
    values = {
        "domain": found.domain,
        "controller_url": f"https://controller.{found.domain}",
        "git_url": f"https://git.{found.domain}",
        "images_url": f"https://images.{found.domain}",
        "key": found.key,
        "tls_pin": found.pin,
        "ca_cert": found.ca_cert,
    }
    if as_json:
        print(json.dumps(values, indent=2))
    else:
        for name, value in values.items():
            if name != "ca_cert":
                print(f"{name:15} {value}")
        print(f"\nOn another machine:\nflynn cluster add -p {found.pin} default {found.domain} {found.key}")
    return 0


def _https_port(settings: Settings) -> int:
    """Return the port it listens on, or, while it is down, the one it would."""
    state = _state(settings, running_pid(settings.data_dir))
    return settings.router.https_port if state is None else int(state["https_port"])
