"""`flynn-aio status` and `credentials`: what runs, what is wrong, how to reach it."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from .bootstrap import cluster_domain, key_file, running_pid
from .cli.trouble import troubles
from .local import NoAnswer, https_port, open_api, state_of
from .settings import MIB, Settings
from .up import entry, log_file

LOW_DISK_BYTES = 16 * MIB
"""With less than this, writes begin to fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppStatus:
    """An app with the number of its jobs in each state that is not `down`; `troubles` says what is not well."""

    name: str
    release: str
    jobs: dict[str, int]
    troubles: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongKeys:
    """How many came from an address, until it was quiet for ten minutes; `last_at` is RFC 3339."""

    address: str
    count: int
    last_at: str


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
    wrong_keys: list[WrongKeys] = field(default_factory=list)
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
    state = state_of(settings, pid)
    if state is None:
        problem = f"it has not said ready yet; its log is {log_file(settings)} when it was started with --detach"
        return Report(running=True, healthy=False, pid=pid, data_dir=str(settings.data_dir), problems=[problem])
    known = {key: state[key] for key in ("version", "http_port", "https_port", "started_at")}
    domain = cluster_domain(settings)
    try:
        (apps, wrong_keys), problems = _ask(settings, state), list[str]()
    except NoAnswer as exc:
        apps, wrong_keys, problems = [], [], [exc.message]
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
        wrong_keys=wrong_keys,
        problems=problems,
        domain=domain,
        **known,
    )


def _ask(settings: Settings, state: Mapping[str, Any]) -> tuple[list[AppStatus], list[WrongKeys]]:
    """Return the apps with what runs of them, and who showed wrong keys lately."""
    with open_api(settings, state) as api:
        now = datetime.now(UTC)
        jobs: dict[str, list[dict[str, Any]]] = {}
        for job in api.ask("GET", "/active-jobs"):
            jobs.setdefault(job["app"], []).append(job)
        apps = [
            AppStatus(
                name=app["name"],
                release=app.get("release", ""),
                jobs=dict(Counter(job["state"] for job in jobs.get(app["id"], ()))),
                troubles=troubles(jobs.get(app["id"], ()), now),
            )
            for app in api.ask("GET", "/apps")
            if app["meta"].get("flynn-system-app") != "true"
        ]
        return apps, [WrongKeys(**wrong) for wrong in api.ask("GET", "/keys/failures")]


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
        lines += [f"          {sentence}; see: flynn -a {app.name} log -i" for sentence in app.troubles]
    if report.wrong_keys:
        count, last = sum(wrong.count for wrong in report.wrong_keys), report.wrong_keys[0]
        others = f" and {len(report.wrong_keys) - 1} more" if len(report.wrong_keys) > 1 else ""
        lines.append(f"keys      {count} wrong ones lately, the last at {last.last_at} from {last.address}{others}")
    return lines + [f"problem   {problem}" for problem in report.problems]


def credentials(settings: Settings, *, as_json: bool) -> int:
    """Print how a client reaches the cluster; return the exit code."""
    try:
        if not key_file(settings).exists():
            print(f"error: there is no cluster in {settings.data_dir} yet; type: flynn-aio up", file=sys.stderr)
            return 1
        port = https_port(settings)
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
