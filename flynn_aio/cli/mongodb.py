"""`flynn mongodb`: MongoDB databases of an app.

Source: `cli.md` §5.7, `controller-api.md` §12; Flynn `cli/mongodb.go`.
"""

from .databases import MONGODB, console, dump, find, restore
from .session import Session
from .usage import Args


def mongodb(args: Args, session: Session) -> int:
    """usage: flynn mongodb mongo [--] [<argument>...]
           flynn mongodb dump [-q] [-f <file>]
           flynn mongodb restore [-q] [-f <file>]

    Use the app's MongoDB database.

    'mongo' opens a console, or does what the arguments behind -- say. 'dump' writes the whole database as a tar archive
    to standard output, 'restore' reads such a dump from standard input.

    Options:
        -f, --file=<file>  the dump, instead of standard output or input
        -q, --quiet        do not show progress

    Examples:

        $ flynn mongodb mongo

        $ flynn mongodb mongo -- --eval "db.users.find()"

        $ flynn mongodb dump -f db.dump

        $ flynn mongodb restore -f db.dump
    """
    database = find(session, MONGODB)
    env, name = database.env, database.env["MONGO_DATABASE"]
    access = ["--host", env["MONGO_HOST"], "-u", env["MONGO_USER"], "-p", env["MONGO_PWD"]]
    match args.words:
        case ("mongo",):
            return console(session, database, ["mongo", *access, name, *args.all("<argument>")])
        case ("dump",):
            return dump(session, database, ["/bin/dump-flynn-mongodb", *access, "--db", name], args)
    return restore(session, database, ["/bin/restore-flynn-mongodb", *access, "--db", name], args, scratch=True).code
