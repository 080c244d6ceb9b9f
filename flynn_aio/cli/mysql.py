"""`flynn mysql`: MySQL and MariaDB databases of an app.

Source: `cli.md` §5.7, `controller-api.md` §12; Flynn `cli/mysql.go`.
"""

from .databases import MYSQL, console, dump, find, restore
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
    user, name = database.env["MYSQL_USER"], database.env["MYSQL_DATABASE"]
    client = ["mysql", "-u", user, "-D", name]
    match args.words:
        case ("console",):
            return console(session, database, [*client, *args.all("<argument>")])
        case ("dump",):
            return dump(session, database, ["mysqldump", "-h", database.env["MYSQL_HOST"], "-u", user, name], args)
    return restore(session, database, client, args).code
