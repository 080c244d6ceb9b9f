"""How a deployment went, for a person: its steps, and why it failed. Pure.

Ours; Flynn's client has nothing like it. The words are the controller's, and so is what was seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .render import byte_size, log_time, moment, table

Noun = Mapping[str, Any]


def facts(failure: Noun) -> Iterator[tuple[str, str]]:
    """Yield what was seen of the job a deployment failed by, as rows of a table."""
    if failure.get("phase"):
        yield "Phase:", failure["phase"]
    if failure.get("job"):
        yield "Job:", f"{failure['job']} ({failure.get('job_type', '')})"
    if failure.get("signal") or failure.get("exit_status") is not None:
        yield "Ended By:", failure.get("signal") or f"exit status {failure['exit_status']}"
    if failure.get("memory_limit"):
        exceeded = ", and ran out of it" if failure.get("oom") else ""
        yield "Memory:", f"{byte_size(failure['memory_limit'])}{exceeded}"
    if failure.get("port"):
        yield "Told Port:", str(failure["port"])
    if failure.get("opened") is not None:
        yield "Opened:", ", ".join(failure["opened"]) or "no port"
    if serving := failure.get("serving"):
        yield "Serving:", f"{serving.get('release', '')} ({counts(serving.get('processes'))})"


def counts(processes: Mapping[str, int] | None) -> str:
    """Return how many processes of each type there are to be: ``web=2 worker=1``."""
    return " ".join(f"{kind}={count}" for kind, count in sorted((processes or {}).items()))


def story(deployment: Noun) -> str:
    """Return what follows the facts: paragraphs, each with a title, in the order a person asks for them."""
    failure: Noun = deployment.get("failure") or {}
    steps = [f"to {step['purpose']}:\t{step['command']}" for step in failure.get("try_next") or []]
    paragraphs = (
        ("Why", failure.get("explanation") or []),
        ("Steps", list(_steps(deployment))),
        ("Health check", list(_probes(failure.get("probes") or []))),
        ("Last lines", failure.get("log") or []),
        ("Try next", table([step.split("\t") for step in steps]).splitlines()),
    )
    return "".join(_paragraph(title, lines) for title, lines in paragraphs if lines)


def _paragraph(title: str, lines: Sequence[str]) -> str:
    return f"\n{title}:\n" + "".join(f"  {line}\n" for line in lines)


def _steps(deployment: Noun) -> Iterator[str]:
    """Yield the steps with the seconds they began after the deployment did."""
    began = moment(deployment.get("created_at"))
    done = [(step["at"], step["step"]) for step in deployment.get("steps") or []]
    if done and deployment.get("finished_at"):
        done.append((deployment["finished_at"], deployment.get("status", "")))
    for at, what in done:
        then = moment(at)
        if began and then:
            yield f"{(then - began).total_seconds():6.1f} s  {what}"


def _probes(probes: Sequence[Noun]) -> Iterator[str]:
    for run in probes:
        times = f", {run['count']} times" if run.get("count", 1) > 1 else ""
        yield f"{log_time(run['at'])}  {run.get('error') or 'it answered'}{times}"
