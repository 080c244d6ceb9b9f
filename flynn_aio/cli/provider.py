"""`flynn provider`: who can make databases and their like.

Source: `cli.md` §5.6; Flynn `cli/provider.go`.
"""

from .client import part
from .render import table
from .session import Session
from .talk import show_json, show_raw, suggest, tell
from .usage import Args


def provider(args: Args, session: Session) -> None:
    """usage: flynn provider [--json]
           flynn provider add <name> <url>
           flynn provider remove <name>

    Manage the providers of resources. Without arguments, lists them.

    A provider is anything that answers POST <url> with {"id": ID, "env": {NAME: VALUE}} after making something, and
    DELETE <url>?id=ID after removing it. It may well be an app of this cluster: then <url> is
    http://APP-web.discoverd/PATH. It can be removed once no app has anything from it.

    Options:
        --json  as JSON: the controller's own objects

    Examples:

        $ flynn provider add postgres http://my-postgres-web.discoverd/databases
        Created provider postgres.

        $ flynn provider
        ID                                    NAME      URL
        0a5a3a70-9c5f-4f3c-8f5b-0b6d0a7c2e11  postgres  http://my-postgres-web.discoverd/databases
    """
    name = args.text("<name>")
    match args.words:
        case ("add",):
            session.client.post("/providers", {"url": args.text("<url>"), "name": name})
            tell(f"Created provider {name}.")
        case ("remove",):
            session.client.delete(f"/providers/{part(name)}")
            tell(f"Removed provider {name}.")
        case _:
            _list(session, as_json=args.flag("--json"))


def _list(session: Session, *, as_json: bool) -> None:
    providers = session.client.get("/providers")
    if as_json:
        show_json(providers)
    elif providers:
        show_raw(table([("ID", "NAME", "URL"), *((each["id"], each["name"], each["url"]) for each in providers)]))
    else:
        suggest(
            "there are no providers, since databases do not come with the cluster yet. "
            "'flynn provider add' registers one that runs as an app or elsewhere"
        )
