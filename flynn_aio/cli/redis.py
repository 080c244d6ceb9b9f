"""`flynn redis`: Redis servers of an app.

Source: `cli.md` §5.7, `controller-api.md` §12; Flynn `cli/redis.go`.
"""

from .databases import REDIS, console, dump, find, restore
from .session import Session
from .usage import Args


def redis(args: Args, session: Session) -> int:
    """usage: flynn redis redis-cli [--] [<argument>...]
           flynn redis dump [-q] [-f <file>]
           flynn redis restore [-q] [-f <file>]

    Use the app's Redis server.

    'redis-cli' opens a console, or does what the arguments behind -- say. 'dump' writes all data as an RDB file to
    standard output, 'restore' replaces all data with those of such a file from standard input.

    Options:
        -f, --file=<file>  the dump, instead of standard output or input
        -q, --quiet        do not show progress

    Examples:

        $ flynn redis redis-cli

        $ flynn redis redis-cli -- PING

        $ flynn redis dump -f db.dump

        $ flynn redis restore -f db.dump
    """
    database = find(session, REDIS)
    access = ["-h", f"{database.app}.discoverd", "-a", database.of.get("REDIS_PASSWORD", "")]
    match args.words:
        case ("redis-cli",):
            return console(session, database, ["redis-cli", *access, *args.all("<argument>")])
        case ("dump",):
            return dump(session, database, ["/bin/dump-flynn-redis", *access], args)
    return restore(session, database, ["/bin/restore-flynn-redis", *access], args).code
