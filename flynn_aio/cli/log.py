"""`flynn log`: what an app's jobs printed.

Source: `cli.md` §5.4, `controller-api.md` §7; Flynn `cli/log.go`.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from .client import part
from .failure import Failure
from .number import whole
from .render import log_time, quoted
from .session import Session
from .usage import Args

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time


def log(args: Args, session: Session) -> None:
    """usage: flynn log [-f] [-j <id>] [-n <lines>] [-r] [-s] [-t <type>] [-i]

    Show the app's log.

    Options:
        -f, --follow               go on with new lines
        -j, --job=<id>             only lines of this job
        -n, --number=<lines>       only the last lines, that many
        -r, --raw-output           only what was printed, without time and job
        -s, --split-stderr         lines from stderr to stderr
        -t, --process-type=<type>  only lines of this process type; '' for one-off jobs
        -i, --init                 what was said about the job itself, to stderr

    Example:

        $ flynn log -n 2
        2020-01-02T03:04:05.123456Z app[web.host0-52ae…]: Listening on 8080
        2020-01-02T03:04:07.654321Z app[web.host0-52ae…]: GET /
    """
    outputs = {"stdout": sys.stdout, "stderr": sys.stderr if args.flag("--split-stderr") else sys.stdout}
    if args.flag("--init"):
        outputs["init"] = sys.stderr
    client, raw = session.client, args.flag("--raw-output")
    path = f"/apps/{part(session.app)}/log"
    with client.open("GET", path, query={**_query(args), "stream_types": ",".join(outputs)}, accept="*/*") as answer:
        for line in answer.lines():
            said = _said(line)
            output = outputs.get(said.get("stream", ""))
            if output is not None:
                output.write((said.get("msg", "") if raw else _prefixed(said)) + "\n")


def _query(args: Args) -> dict[str, str]:
    """Return what to ask for. An empty process type means one-off jobs, which is not the same as none given."""
    number = args.value("--number")
    if number and whole(number.removeprefix("-")) is None:
        raise Failure(f"invalid number of lines: {quoted(number)}")
    query = {"follow": "true"} if args.flag("--follow") else {}
    if args.value("--job"):
        query["job_id"] = args.value("--job")
    if number:
        query["lines"] = number
    if args.flag("--process-type"):
        query["process_type"] = args.value("--process-type")
    return query


def _said(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line or b"{}")
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Failure(f"the log contains what is not a log line: {line[:200]!r}")
    return said


def _prefixed(said: Mapping[str, Any]) -> str:
    job = f"{said.get('process_type', '')}.{said.get('job_id', '')}"
    return f"{log_time(said.get('timestamp') or _NEVER)} {said.get('source', '')}[{job}]: {said.get('msg', '')}"
