"""`flynn meta`: free text about an app.

Source: `cli.md` §5.2; Flynn `cli/meta.go`.
"""

from .client import part
from .env import pairs
from .render import table
from .session import Session
from .talk import show_json, show_raw
from .usage import Args


def meta(args: Args, session: Session) -> None:
    """usage: flynn meta [--json]
           flynn meta set <var>=<val>...
           flynn meta unset <var>...

    Show or change the app's metadata.

    Options:
        --json  as a JSON object

    Example:

        $ flynn meta set owner=ops

        $ flynn meta
        KEY    VALUE
        owner  ops
    """
    client = session.client
    app = client.get(f"/apps/{part(session.app)}")
    before = app.get("meta") or {}
    match args.words:
        case ("set",):
            after = {**before, **pairs(args.all("<var>=<val>"))}
        case ("unset",):
            after = {key: value for key, value in before.items() if key not in args.all("<var>")}
        case _ if args.flag("--json"):
            show_json(before)
            return
        case _:
            show_raw(table([("KEY", "VALUE"), *sorted(before.items())]))
            return
    client.post(f"/apps/{part(app['id'])}/meta", {**app, "meta": after})
