"""Jobs: `flynn ps` and `flynn kill`.

Source: `cli.md` §5.4; Flynn `cli/ps.go`, `cli/kill.go`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .client import part
from .failure import Failure
from .render import ago, table
from .session import Session
from .talk import show_json, show_raw, state, tell
from .trouble import troubles
from .usage import Args

_SHOWN = frozenset({"up", "pending"})


def ps(args: Args, session: Session) -> None:
    """usage: flynn ps [-a] [-c] [-q] [-t <type>] [--json]

    List the app's jobs, oldest first. Below them stands what keeps ending or does not serve, and why.

    Options:
        -a, --all          all jobs, not only those that run or wait to run
        -c, --command      accepted for old scripts: the command is always shown
        -q, --quiet        only ids
        -t, --type=<type>  only jobs of this type; run for one-off jobs
        --json             as JSON: the controller's own objects

    Example:

        $ flynn ps
        ID           TYPE  STATE  CREATED         RELEASE       COMMAND
        host0-52ae…  web   up     25 seconds ago  cf39a906-38…  /runner/init start web
    """
    jobs = session.client.get(f"/apps/{part(session.app)}/jobs")
    everything, wanted = args.flag("--all"), args.value("--type")
    listed = [
        (job.get("id") or job["uuid"], job.get("type") or "run", job)
        for job in sorted(jobs, key=_age)
        if (everything or job.get("state") in _SHOWN) and wanted in ("", job.get("type") or "run")
    ]
    if args.flag("--json"):
        show_json([job for _, _, job in listed])
        return
    if args.flag("--quiet"):
        show_raw("".join(f"{job_id}\n" for job_id, _, _ in listed))
        return
    now = datetime.now(UTC)
    _show(listed, now)
    for sentence in troubles((job for job in jobs if wanted in ("", job.get("type") or "run")), now):
        tell(sentence)


def _show(listed: Sequence[tuple[str, str, Mapping[str, Any]]], now: datetime) -> None:
    show_raw(
        table(
            [
                ("ID", "TYPE", "STATE", "CREATED", "RELEASE", "COMMAND"),
                *(
                    (
                        job_id,
                        kind,
                        state(job.get("state", "")),
                        ago(job.get("created_at"), now),
                        job.get("release", ""),
                        " ".join(job.get("args") or ()),
                    )
                    for job_id, kind, job in listed
                ),
            ]
        )
    )


def _age(job: Mapping[str, Any]) -> str:
    """Return what sorts jobs by age; without the zone, since ``5Z`` is text that comes after ``5.5Z``."""
    return str(job.get("created_at") or "").removesuffix("Z")


def kill(args: Args, session: Session) -> None:
    """usage: flynn kill <job>...

    Kill running jobs. A job of a formation is replaced by a new one.

    Example:

        $ flynn kill host0-52aedfbf-e613-40f2-941a-d832d10fc400
        Job host0-52aedfbf-e613-40f2-941a-d832d10fc400 killed.
    """
    client, app = session.client, session.app
    failed = False
    for job in args.all("<job>"):
        try:
            client.delete(f"/apps/{part(app)}/jobs/{part(job)}")
        except Failure as failure:
            failed = True
            tell(f"ERROR: could not kill job {job}: {failure}")
        else:
            tell(f"Job {job} killed.")
    if failed:
        raise Failure("Could not kill all jobs.", hint="'flynn ps' lists the jobs that run")
