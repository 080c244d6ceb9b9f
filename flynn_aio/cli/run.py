"""`flynn run`: a job of one's own, attached or not.

Source: `cli.md` §5.4, `jobs.md` §7; Flynn `cli/run.go`.
"""

from typing import Any

from . import limits
from .client import Client, part
from .deploy import PUSH_FIRST, current_release
from .failure import Failure
from .job import args_of, attached
from .session import Session
from .talk import tell
from .usage import Args


def run(args: Args, session: Session) -> int:
    """usage: flynn run [-d] [-r <release>] [-e <entrypoint>] [-l] [--limits <limits>] [--profiles <profiles>]
               [--mounts-from <proc>] [--] <command> [<argument>...]

    Run a job in the app's environment. Its exit code becomes this command's.

    Without a terminal on both ends, stdin, stdout and stderr are passed through as they are.

    Options:
        -d, --detached         do not wait for it; print its id, and log its output
        -r <release>           run this release, not the app's current one
        -e <entrypoint>        [DEPRECATED] put this before the command
        -l, --enable-log       write its output to the app's log, too
        --limits=<limits>      resource limits, as in memory=512MB,cpu=500; see flynn help limit
        --profiles=<profiles>  job profiles, separated by commas
        --mounts-from=<proc>   mount what this process type mounts

    Examples:

        $ flynn run -- rake db:migrate

        $ pg_dump mydb | flynn run --limits memory=2GB -- ./import
    """
    client, app = session.client, session.app
    release_id = args.value("-r") or _current(client, app)
    command = [args.text("<command>"), *args.all("<argument>")]
    if args.value("-e"):
        tell("WARN: The -e flag is deprecated and will be removed in future versions, use <command> as the entrypoint")
        command.insert(0, args.value("-e"))
    detached = args.flag("--detached")
    job: dict[str, Any] = {"release": release_id, "release_env": True}
    if not detached and not args.flag("--enable-log"):
        job["disable_log"] = True
    if args.value("--limits"):
        job["resources"] = {**limits.defaults(), **limits.parse(args.value("--limits").split(","))}
    if args.value("--profiles"):
        job["profiles"] = args.value("--profiles").split(",")
    if args.value("--mounts-from"):
        job["mounts_from"] = args.value("--mounts-from")

    job["args"] = args_of(client, release_id, command)
    if detached:
        tell(client.post(f"/apps/{part(app)}/jobs", job)["id"])
        return 0
    return attached(client, app, job, session.environ).code


def _current(client: Client, app: str) -> str:
    """Return the id of the app's current release, if it can run something."""
    release = current_release(client, app)
    if release is None:
        raise Failure("No app release, specify a release with -release", hint=PUSH_FIRST)
    if not release.get("artifacts"):
        raise Failure("App release has no image, push a release first", hint=PUSH_FIRST)
    release_id: str = release["id"]
    return release_id
