"""The commands of `flynn`: their order, their one line in the list, and where each one is.

Every command is a function `(args, session)` whose docstring is its help text and, through `usage`, its grammar.
Its module is imported when it is called and not before: most of a command's time is spent importing.

Source: `cli.md` §1 and §6; Flynn `cli/main.go`.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from .failure import Failure
from .session import Session
from .usage import Args

Run = Callable[[Args, Session], int | None]


class Command(NamedTuple):
    """A command and where its function is.

    Attributes:
        place: ``module:function`` in this package.
        summary: its line in the list; empty when it is not listed.
        options_first: whether what follows the first argument is somebody else's.
    """

    place: str
    summary: str
    options_first: bool = False


COMMANDS = {  # in the order in which `flynn help` lists them
    "help": Command("about:help_", "show usage for a specific command"),
    "cluster": Command("clusters:cluster", "manage clusters"),
    "create": Command("apps:create", "create an app"),
    "delete": Command("apps:delete", "delete an app"),
    "apps": Command("apps:apps", "list apps"),
    "info": Command("apps:info", "show app information"),
    "ps": Command("jobs:ps", "list jobs"),
    "kill": Command("jobs:kill", "kill jobs"),
    "log": Command("log:log", "get app log"),
    "scale": Command("scale:scale", "change formation"),
    "run": Command("run:run", "run a job", options_first=True),
    "env": Command("env:env", "manage env variables"),
    "limit": Command("limit:limit", "manage resource limits"),
    "meta": Command("meta:meta", "manage app metadata"),
    "route": Command("route:route", "manage routes"),
    "pg": Command("pg:pg", "manage postgres databases"),
    "mysql": Command("mysql:mysql", "manage mysql databases"),
    "mongodb": Command("mongodb:mongodb", "manage mongodb databases"),
    "redis": Command("redis:redis", "manage redis servers"),
    "provider": Command("provider:provider", "manage resource providers"),
    "docker": Command("docker:docker", "deploy Docker images to a Flynn cluster"),
    "remote": Command("apps:remote", "manage git remotes"),
    "resource": Command("resource:resource", "manage resources of the app"),
    "release": Command("release:release", "manage app releases"),
    "deployment": Command("deployment:deployment", "list deployments"),
    "volume": Command("volume:volume", "manage volumes"),
    "export": Command("exporting:export", "export app data"),
    "import": Command("importing:import_", "create app from exported data"),
    "completion": Command("completion:completion", "print a script for your shell's completion"),
    "version": Command("about:version", "show flynn version"),
    "complete": Command("completion:complete", ""),
    "git-credentials": Command("clusters:git_credentials", ""),
    "install": Command("about:install", ""),
    "login": Command("about:login", ""),
    "update": Command("about:update", ""),
}

_HEAD = """\
usage: flynn [-a <app>] [-c <cluster>] <command> [<args>...]

Options:
\t-a <app>      app to act on (default: the app of this git repository)
\t-c <cluster>  cluster to talk to (default: that of the app, else the default one)
\t-h, --help    show this text
\t--version     show the version

Commands:
"""


def help_text() -> str:
    """Return what `flynn help` prints."""
    lines = (f"\t{name:<12}{COMMANDS[name].summary}\n" for name in listed())
    return _HEAD + "".join(lines) + "\nSee 'flynn help <command>' for more information on a specific command."


def listed() -> tuple[str, ...]:
    """Return the names of the commands in the list."""
    return tuple(name for name, command in COMMANDS.items() if command.summary)


def command_help(command: Command) -> str:
    """Return the help text of a command: its function's docstring as it would be without the source around it.

    The indentation is gone, and a usage line is one line again, however long.
    """
    lines = (function(command).__doc__ or "").strip().splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in lines[1:] if line), default=0)  # none since Python 3.13
    text = "\n".join([*lines[:1], *(line[margin:] for line in lines[1:])])
    grammar, blank, rest = text.partition("\n\n")
    return re.sub(r"\n +(?=[<[])", " ", grammar) + blank + rest


def find(name: str) -> Command:
    """Return the command of that name.

    Raises:
        Failure: there is none.
    """
    command = COMMANDS.get(name)
    if command is None:
        from .similar import did_you_mean

        raise Failure(f"{name} is not a flynn command. See 'flynn help'", hint=did_you_mean(name, listed()))
    return command


def function(command: Command) -> Run:
    """Return the function of a command, importing its module."""
    from importlib import import_module

    module, _, name = command.place.partition(":")
    found: Run = getattr(import_module(f".{module}", __package__), name)
    return found
