"""`flynn log`: what an app's jobs printed.

Source: `cli.md` §5.4, `controller-api.md` §7; Flynn `cli/log.go`.
"""

import json
import sys

from .client import part
from .failure import Failure
from .render import log_time, quoted
from .session import Session
from .usage import Args


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
    """
    number = args.value("--number")
    if number and not number.removeprefix("-").isdecimal():
        raise Failure(f"invalid number of lines: {quoted(number)}")
    streams = ["stdout", "stderr", *(["init"] if args.flag("--init") else [])]
    query = {"stream_types": ",".join(streams)}
    if args.flag("--follow"):
        query["follow"] = "true"
    if args.value("--job"):
        query["job_id"] = args.value("--job")
    if number:
        query["lines"] = number
    if args.flag("--process-type"):
        query["process_type"] = args.value("--process-type")

    outputs = {
        "stdout": sys.stdout,
        "stderr": sys.stderr if args.flag("--split-stderr") else sys.stdout,
        "init": sys.stderr,
    }
    raw = args.flag("--raw-output")
    client = session.client
    answer = client.open("GET", f"/apps/{part(session.app)}/log", query=query, accept="*/*")
    for line in answer.lines():
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except ValueError as exc:
            raise Failure(f"the log contains what is not a log line: {line[:200]!r}") from exc
        output = outputs.get(said.get("stream", ""))
        if output is None:
            continue
        text = said.get("msg", "")
        if not raw:
            job = f"{said.get('process_type', '')}.{said.get('job_id', '')}"
            text = f"{log_time(said['timestamp'])} {said.get('source', '')}[{job}]: {text}"
        output.write(f"{text}\n")
