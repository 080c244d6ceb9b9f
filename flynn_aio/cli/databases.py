"""The four kinds of databases: how an app's is found, and what runs there.

The tools run as one-off jobs of the app itself, with the release of the database's own app, whose image has them. So
they work with any provider whose resources name such an app.

Source: `cli.md` §5.7, `controller-api.md` §11 and §12; Flynn `cli/pg.go`, `mysql.go`, `mongodb.go`, `redis.go`.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .client import part
from .failure import Failure, NotFound
from .job import Ended, args_of, attached
from .progress import Progress
from .replacing import os_reason, replacing
from .session import Session
from .usage import Args

PAGER = {
    "PAGER": "less",
    "LESS": "--ignore-case --LONG-PROMPT --SILENT --tabs=4 --quit-if-one-screen --no-init --quit-at-eof",
}


class Kind(NamedTuple):
    """A kind of database.

    Attributes:
        name: what it is called in messages; its usual provider is called so, too.
        what: what one of them is.
        app: the variable of an app that names the database's own app.
        variables: what the tools need to know, from the app's environment.
    """

    name: str
    what: str
    app: str
    variables: tuple[str, ...]


POSTGRES = Kind("postgres", "database", "FLYNN_POSTGRES", ("PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE"))
MYSQL = Kind("mysql", "database", "FLYNN_MYSQL", ("MYSQL_HOST", "MYSQL_USER", "MYSQL_PWD", "MYSQL_DATABASE"))
MONGODB = Kind("mongodb", "database", "FLYNN_MONGO", ("MONGO_HOST", "MONGO_USER", "MONGO_PWD", "MONGO_DATABASE"))
REDIS = Kind("redis", "server", "FLYNN_REDIS", ())


class Database(NamedTuple):
    """An app's database.

    Attributes:
        app: the app of the database itself.
        release: the id of that app's release.
        env: what the tools get.
        of: the environment of the app that uses it.
    """

    app: str
    release: str
    env: Mapping[str, str]
    of: Mapping[str, str]


def find(session: Session, kind: Kind) -> Database:
    """Return the app's database of that kind.

    Raises:
        Failure: it has none, or lacks what is needed to get there.
    """
    return of_env(session, kind, _release(session, session.app, "app").get("env") or {})


def of_env(session: Session, kind: Kind, env: Mapping[str, str]) -> Database:
    """Return the database that an app's variables name.

    Raises: as `find`.
    """
    if not env.get(kind.app):
        raise Failure(
            f"No {kind.name} {kind.what} found. Provision one with `flynn resource add {kind.name}`",
            hint="'flynn provider' lists who makes databases in this cluster",
        )
    release = _release(session, env[kind.app], kind.name)
    for name in kind.variables:
        if not env.get(name):
            raise Failure(f"missing {name} in app environment", hint="'flynn env' lists what is set")
    return Database(env[kind.app], release["id"], {name: env[name] for name in kind.variables}, env)


def _release(session: Session, app: str, whose: str) -> dict[str, Any]:
    try:
        release: dict[str, Any] = session.client.get(f"/apps/{part(app)}/release")
    except Failure as failure:
        missing = isinstance(failure, NotFound)
        hint = f"the app in question is {app}: it does not exist, or has no release" if missing else failure.hint
        raise Failure(f"error getting {whose} release: {failure}", hint=hint) from failure
    return release


def console(session: Session, database: Database, command: Sequence[str]) -> int:
    """Run a console with our streams, and return its exit code."""
    job = tool_job(session, database, command, env={**database.env, **PAGER})
    return attached(session.client, session.app, job, session.environ).code


def dump(session: Session, database: Database, command: Sequence[str], args: Args) -> int:
    """Write a dump to ``--file``, or to our standard output; return the exit code.

    A file that is there is replaced once the dump is complete, and not before.
    """
    job = tool_job(session, database, command, env=database.env)
    name = args.value("--file")
    with Progress("dumping", quiet=args.flag("--quiet")) as progress:
        if not name:
            return attached(session.client, session.app, job, session.environ, stdout=1, given=progress).code
        with replacing(name) as written:
            ended = attached(
                session.client, session.app, job, session.environ, stdout=written.descriptor, given=progress
            )
            written.complete = ended.well
            return ended.code


def restore(
    session: Session, database: Database, command: Sequence[str], args: Args, *, scratch: bool = False
) -> Ended:
    """Feed a dump from ``--file``, or from our standard input, to the job; return how it ended.

    Args:
        scratch: the job has space of its own at ``/data``.
    """
    job = tool_job(session, database, command, env=database.env)
    if scratch:
        job["data"] = True
    name = args.value("--file")
    try:
        stdin = os.open(name, os.O_RDONLY) if name else 0
    except OSError as exc:
        raise Failure(f"open {name}: {os_reason(exc)}") from exc
    try:
        found = os.fstat(stdin)
        size = found.st_size if stat.S_ISREG(found.st_mode) else None
        with Progress("restoring", size, quiet=args.flag("--quiet")) as progress:
            return attached(session.client, session.app, job, session.environ, stdin=stdin, stdout=1, taken=progress)
    finally:
        if name:
            os.close(stdin)


def tool_job(session: Session, database: Database, command: Sequence[str], *, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the job that runs a tool of the database's."""
    args = args_of(session.client, database.release, command)
    return {"release": database.release, "args": args, "disable_log": True, **({"env": dict(env)} if env else {})}
