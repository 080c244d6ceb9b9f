"""`flynn pg`: PostgreSQL databases of an app.

Source: `cli.md` §5.7, `controller-api.md` §12; Flynn `cli/pg.go`.
"""

import shlex

from .databases import POSTGRES, console, dump, find, restore
from .failure import Failure
from .number import whole
from .session import Session
from .talk import tell
from .usage import Args

_FIRST_WITH_DATA = "v20161018.0"
"""The first version of Flynn whose one-off jobs can have space of their own."""
MOST_JOBS = 999


def pg(args: Args, session: Session) -> int:
    """usage: flynn pg psql [--] [<argument>...]
           flynn pg dump [-q] [-f <file>]
           flynn pg restore [-q] [-j <jobs>] [-f <file>]

    Use the app's PostgreSQL database.

    'psql' opens a console, or does what the arguments behind -- say. 'dump' writes the whole database in pg_dump's
    custom format to standard output, 'restore' reads such a dump from standard input.

    Options:
        -f, --file=<file>  the dump, instead of standard output or input
        -q, --quiet        do not show progress
        -j, --jobs=<jobs>  how many pg_restore jobs to use [default: 1]

    Examples:

        $ flynn pg psql

        $ flynn pg psql -- -c "CREATE EXTENSION hstore"

        $ flynn pg dump -f db.dump

        $ flynn pg restore -j 8 -f db.dump
    """
    database = find(session, POSTGRES)
    match args.words:
        case ("psql",):
            return console(session, database, ["psql", *args.all("<argument>")])
        case ("dump",):
            return dump(session, database, DUMP, args)
    jobs = count_of(args.value("--jobs"))
    if jobs > 1 and _is_older(session, _FIRST_WITH_DATA):
        tell(
            f"WARN: cluster versions prior to {_FIRST_WITH_DATA} don't support the --jobs argument "
            "for parallel restore, falling back to --jobs=1"
        )
        jobs = 1
    command = restore_command(database.env["PGDATABASE"], jobs)
    return restore(session, database, command, args, scratch=jobs > 1).code


DUMP = ("pg_dump", "--format=custom", "--no-owner", "--no-acl")


def restore_command(database: str, jobs: int) -> list[str]:
    """Return what restores a dump. Several jobs at once need it in a file."""
    options = ["-n", "public", "--clean", "--if-exists", "--no-owner", "--no-acl"]
    if jobs == 1:
        return ["pg_restore", "-d", database, *options]
    parallel = " ".join(["pg_restore", "-d", shlex.quote(database), *options, "--jobs", str(jobs), "/data/temp.dump"])
    return ["bash", "-c", f"set -o pipefail; cat > /data/temp.dump && {parallel}"]


def count_of(text: str) -> int:
    """Read a number of jobs.

    Raises:
        Failure: it is none, or too many.
    """
    jobs = whole(text)
    if not jobs or jobs > MOST_JOBS:
        raise Failure(f"invalid number of jobs: {text}", hint=f"it is a number from 1 to {MOST_JOBS}")
    return jobs


def _is_older(session: Session, version: str) -> bool:
    """Tell whether the cluster runs a Flynn before `version`; whatever is not dated is new. Source: `cli/compat.go`."""
    status = session.client.get("/.well-known/status")
    running = str((status.get("data") or {}).get("version") or "")
    return running.startswith("v") and len(running) >= len(version) and running[1:9] < version[1:9]
