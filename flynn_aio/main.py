"""The `flynn-aio` command: arguments in, exit code out. The operator's; `flynn` is the developer's.

Exit codes: 0 done, 1 it did not work, 2 the command or a setting is wrong (nothing was started).
"""

import gc
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from . import __version__
from .config import ConfigError, load
from .settings import Settings

MUST_BE_ROOT = "flynn-aio needs root: it makes networks and limits for the apps, and listens on ports 80, 443 and 53"


def main() -> int:
    """Run the command; the console script's entry."""
    try:
        code = cli.main(standalone_mode=False)
    except ConfigError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    except click.ClickException as exc:
        exc.show()
        return 2
    except click.Abort:
        return 130
    return code if isinstance(code, int) else 0


class Ordered(click.Group):
    """Commands in the order a person needs them, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Ordered, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """The Flynn platform as an appliance for one machine."""


def with_settings(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command `--config` and `--data-dir`, and the settings they lead to as first argument."""

    @click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings; see flynn.toml.")
    @click.option("--data-dir", metavar="DIR", help="Where everything is kept; default /var/lib/flynn-aio.")
    @wraps(command)
    def wrapped(**options: Any) -> int:
        flags = {
            "appliance.data_dir": options.pop("data_dir"),
            "appliance.domain": options.pop("domain", None),
            "router.http_port": options.pop("http_port", None),
            "router.https_port": options.pop("https_port", None),
        }
        settings = load(file=options.pop("config"), environ=os.environ, flags=flags)
        return command(settings, **options)

    return wrapped


def needs_root(what: str) -> bool:
    """Tell whether we lack root, having said so and what to type."""
    if os.geteuid() == 0:
        return False
    program = f"{sys.executable} -m flynn_aio" if sys.argv[0].endswith("__main__.py") else sys.argv[0]
    print(f"error: {MUST_BE_ROOT}; type: sudo {program} {what}", file=sys.stderr)
    return True


@cli.command()
@with_settings
@click.option("--domain", metavar="D", help="The cluster's domain; default flynn.localhost.")
@click.option("--http-port", type=int, metavar="N", help="Default 80; 0 takes any free port.")
@click.option("--https-port", type=int, metavar="N", help="Default 443.")
@click.option("--detach", is_flag=True, help="Return when everything is ready, and go on in the background.")
@click.option("--to-file", is_flag=True, hidden=True)
def up(settings: Settings, *, detach: bool, to_file: bool) -> int:
    """Start the appliance; the apps that ran before go on or start again."""
    gc.disable()  # until it is ready: nothing that a start makes is garbage, and looking for some takes a tenth of it
    from . import up as starter
    from .user import invoking_user

    if needs_root(" ".join(sys.argv[1:])):
        return 1
    if detach:
        return starter.up_detached(settings, [word for word in sys.argv[2:] if word != "--detach"])
    return starter.up(settings, user=invoking_user(os.environ), to_file=to_file)


@cli.command()
@with_settings
def down(settings: Settings) -> int:
    """Stop the appliance and its apps; what they keep stays for the next `up`."""
    from .down import down as stop

    return 1 if needs_root("down") else stop(settings)


@cli.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(settings: Settings, *, as_json: bool) -> int:
    """Tell what runs, and what is wrong."""
    from .status import status as show

    return show(settings, as_json=as_json)


@cli.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(settings: Settings, *, as_json: bool) -> int:
    """Look at this machine: what an appliance needs, what it would do without, what to type."""
    from .doctor import doctor as look

    return look(settings, as_json=as_json)


@cli.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def credentials(settings: Settings, *, as_json: bool) -> int:
    """Print what a client needs to reach this cluster, the key included."""
    from .status import credentials as show

    return show(settings, as_json=as_json)


@cli.group(cls=Ordered)
def key() -> None:
    """The keys of the controller: several work at once, and each has a name of its own."""


@key.command("add")
@with_settings
@click.argument("name", default="")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def key_add(settings: Settings, *, name: str, as_json: bool) -> int:
    """Make a key and print it; NAME is what logs call it."""
    from .keys import add

    return add(settings, name, as_json=as_json)


@key.command("list")
@with_settings
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def key_list(settings: Settings, *, as_json: bool) -> int:
    """List the keys by name, and when each was last used."""
    from .keys import show

    return show(settings, as_json=as_json)


@key.command("remove")
@with_settings
@click.argument("name")
def key_remove(settings: Settings, *, name: str) -> int:
    """Let nobody in with this key any more, and end what goes on with it."""
    from .keys import remove

    return remove(settings, name)


@key.command("rotate")
@with_settings
@click.argument("name", default="")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def key_rotate(settings: Settings, *, name: str, as_json: bool) -> int:
    """Make a new key the operator's own; the old one works until it is removed."""
    from .keys import rotate
    from .user import invoking_user

    return rotate(settings, name, user=invoking_user(os.environ), as_json=as_json)


@cli.group(cls=Ordered)
def stack() -> None:
    """The images that build and run apps."""


@stack.command("build")
@with_settings
@click.argument("languages", nargs=-1)
def stack_build(settings: Settings, *, languages: tuple[str, ...]) -> int:
    """Make the images that are missing; those of LANGUAGES too, which a first push would make."""
    from .stacks import build

    return 1 if needs_root("stack build") else build(settings, languages)


@stack.command("list")
@with_settings
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def stack_list(settings: Settings, *, as_json: bool) -> int:
    """List the images."""
    from .stacks import show

    return 1 if needs_root("stack list") else show(settings, as_json=as_json)


@cli.command()
def version() -> int:
    """Print the version."""
    print(__version__)
    return 0
