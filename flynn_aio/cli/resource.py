"""`flynn resource`: databases and their like for an app.

The controller has them made and given back; what an app needs to know of them gets into its environment here.

Source: `cli.md` §5.6, `controller-api.md` §12; Flynn `cli/resource.go`.
"""

from typing import Any

from .client import Client, part
from .deploy import current_release, set_env
from .failure import Failure, NotFound
from .render import table
from .session import Session
from .similar import did_you_mean
from .talk import show_json, show_raw, tell
from .usage import Args


def resource(args: Args, session: Session) -> None:
    """usage: flynn resource [--json]
           flynn resource add <provider>
           flynn resource remove [--forget] <provider> [<resource>]

    Manage the app's resources: databases and their like. Without arguments, lists them.

    'add' has a provider make one, and puts what it says into the app's environment. 'remove' gives it back for good,
    and takes from the environment what has not been changed since. See flynn provider for who makes them.

    Options:
        --forget  do not ask the provider, which is gone for good, to remove it
        --json    as JSON: the controller's own objects, without their variables, which flynn env shows

    Examples:

        $ flynn resource add postgres
        Created resource 8d2e1f6c-3c0d-4a55-9b8e-b0b4f1f4b8d0 and release 5a1c2c3e-7b0a-4b0e-8d5f-6f7a8b9c0d1e.

        $ flynn resource remove postgres
        Deleted resource 8d2e1f6c-3c0d-4a55-9b8e-b0b4f1f4b8d0, created release 0f9e8d7c-6b5a-4c3d-2e1f-0a9b8c7d6e5f.
    """
    match args.words:
        case ("add",):
            _add(args.text("<provider>"), session)
        case ("remove",):
            _remove(args.text("<provider>"), args.text("<resource>"), session, forget=args.flag("--forget"))
        case _:
            _list(session, as_json=args.flag("--json"))


def _list(session: Session, *, as_json: bool) -> None:
    client = session.client
    resources = _resources(client, session.app)
    if as_json:
        show_json([{key: value for key, value in each.items() if key != "env"} for each in resources])
        return
    names = _names(client, resources)
    rows = ((each["id"], each["provider"], names[each["provider"]]) for each in resources)
    show_raw(table([("ID", "Provider ID", "Provider Name"), *rows]))


def _resources(client: Client, app: str) -> list[dict[str, Any]]:
    return client.get(f"/apps/{part(app)}/resources") or []


def _names(client: Client, resources: list[dict[str, Any]]) -> dict[str, str]:
    """Return the names of the providers of resources, by id."""
    return {
        found: client.get(f"/providers/{part(found)}")["name"] for found in {each["provider"]: 0 for each in resources}
    }


def _add(provider: str, session: Session) -> None:
    client, app = session.client, session.app
    try:
        created = client.post(f"/providers/{part(provider)}/resources", {"apps": [app], "config": None})
    except NotFound as missing:
        raise NotFound(hint=_who_there_is(provider, client)) from missing
    try:
        release = set_env(client, app, created.get("env") or {})
    except Failure as failure:
        raise Failure(
            str(failure),
            hint=f"resource {created['id']} was made all the same: 'flynn resource remove {provider} {created['id']}' "
            "gives it back",
        ) from failure
    tell(f"Created resource {created['id']} and release {release}.")


def _who_there_is(provider: str, client: Client) -> str:
    """Say which providers there are instead of an unknown one, if it is the provider that is unknown."""
    names = [each["name"] for each in client.get("/providers")]
    if provider in names:
        return "'flynn apps' lists the apps there are"
    if not names:
        return f"there are no providers. 'flynn provider add {provider} <url>' registers one"
    return did_you_mean(provider, names) or f"there is no provider {provider}. 'flynn provider' lists what there is"


def _remove(provider: str, resource_id: str, session: Session, *, forget: bool) -> None:
    client, app = session.client, session.app
    resource_id = resource_id or _only_one(provider, client, app)
    path = f"/providers/{part(provider)}/resources/{part(resource_id)}"
    deleted = client.delete(path, {"forget": "true"} if forget else None)
    release = current_release(client, app)
    if release is None:  # nothing to clear away
        tell(f"Deleted resource {deleted['id']}.")
        return
    env = release.get("env") or {}
    unchanged = {key: None for key, value in (deleted.get("env") or {}).items() if env.get(key) == value}
    tell(f"Deleted resource {deleted['id']}, created release {set_env(client, app, unchanged)}.")


def _only_one(provider: str, client: Client, app: str) -> str:
    """Return the id of the only resource that an app has of a provider.

    Raises:
        Failure: it has none, or several.
    """
    resources = _resources(client, app)
    names = _names(client, resources)
    found: list[str] = [each["id"] for each in resources if provider in (each["provider"], names[each["provider"]])]
    if not found:
        raise Failure(f"App has no resource for {provider}", hint="'flynn resource' lists what it has")
    if len(found) > 1:
        raise Failure(
            f"App has more than one resource for {provider}, specify resource ID",
            hint=f"it is one of {', '.join(found)}",
        )
    return found[0]
