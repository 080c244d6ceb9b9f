"""`flynn mysql`: MySQL and MariaDB databases of an app.

Source: `cli.md` §5.7, `controller-api.md` §12; Flynn `cli/mysql.go`.
"""

from .databases import MYSQL, Database, console, dump, find, restore
from .session import Session
from .usage import Args


def mysql(args: Args, session: Session) -> int:
    """usage: flynn mysql console [--] [<argument>...]
           flynn mysql dump [-q] [-f <file>]
           flynn mysql restore [-q] [-f <file>]

    Use the app's MySQL database.

    'console' opens a console, or does what the arguments behind -- say. 'dump' writes the whole database as SQL to
    standard output, 'restore' reads such a dump from standard input.

    Options:
        -f, --file=<file>  the dump, instead of standard output or input
        -q, --quiet        do not show progress

    Examples:

        $ flynn mysql console

        $ flynn mysql console -- -e "SHOW TABLES"

        $ flynn mysql dump -f db.dump

        $ flynn mysql restore -f db.dump
    """
    database = find(session, MYSQL)
    client = client_command(database)
    match args.words:
        case ("console",):
            return console(session, database, [*client, *args.all("<argument>")])
        case ("dump",):
            return dump(session, database, dump_command(database), args)
    return restore(session, database, client, args).code


def client_command(database: Database) -> list[str]:
    """Return what opens a console, and restores a dump from its input."""
    return ["mysql", "-u", database.env["MYSQL_USER"], "-D", database.env["MYSQL_DATABASE"]]


def dump_command(database: Database) -> list[str]:
    env = database.env
    return ["mysqldump", "-h", env["MYSQL_HOST"], "-u", env["MYSQL_USER"], env["MYSQL_DATABASE"]]
