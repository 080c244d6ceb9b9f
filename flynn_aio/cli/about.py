"""What the command says about itself: `flynn help` and `version`, and the ways to get it or into a cluster."""

from .commands import COMMANDS, command_help, find, help_text
from .failure import Failure
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

        texts = {name: command_help(command) for name, command in sorted(COMMANDS.items())}
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


def install(args: Args, session: Session) -> None:
    """usage: flynn install

    Tell how a cluster is installed.
    """
    show("DEPRECATED: `flynn install` has been deprecated.")
    show("A machine becomes a cluster with `flynn-aio up`, run on the machine itself.")
    show("Its last line is the `flynn cluster add` command for your own machine.")


def update(args: Args, session: Session) -> None:
    """usage: flynn update

    Tell how this command is updated: it is part of flynn-aio and does not replace itself.
    """
    raise Failure(
        "flynn does not update itself: it comes with flynn-aio",
        hint="update flynn-aio the way it was installed: 'git pull' in a checkout, 'pip install --upgrade' elsewhere",
    )


def login(args: Args, session: Session) -> None:
    """usage: flynn login [-c <controller-url> | -p] [-n <cluster-name>] [--oob-code] [-f] [<issuer>]

    Log in to a cluster with OAuth. No flynn-aio wants that: its clusters are added with a key.

    Options:
        -c, --controller-url=<controller-url>  URL of the controller
        -p, --prompt                           choose the controller
        -n, --cluster-name=<cluster-name>      name of the cluster
        --oob-code                             enter the code by hand
        -f, --force                            replace an entry that has the same name or URL
    """
    raise Failure(
        "flynn login is for clusters with OAuth, which flynn-aio does not have",
        hint="'flynn-aio credentials' on the server prints the 'flynn cluster add' line with its key",
    )
