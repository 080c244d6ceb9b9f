"""`flynn help` and `flynn version`: what the command says about itself."""

from .commands import COMMANDS, command_help, find, help_text
from .session import Session
from .talk import show
from .usage import Args


def help_(args: Args, session: Session) -> None:
    """usage: flynn help [--json] [<command>]

    Show the usage of a command, or the list of commands.

    Options:
        --json  show the help of all commands as one JSON object
    """
    if args.flag("--json"):
        import json

        texts = {name: command_help(command) for name, command in sorted(COMMANDS.items()) if command.place}
        show(json.dumps(texts, indent="\t", ensure_ascii=False))
    elif args.text("<command>"):
        show(command_help(find(args.text("<command>"))))
    else:
        show(help_text())


def version(args: Args, session: Session) -> None:
    """usage: flynn version

    Show the version of this command.
    """
    import flynn_aio

    show(flynn_aio.__version__)
