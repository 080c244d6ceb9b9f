"""Apps: `flynn create`, `delete`, `apps`, `info` and `remote`.

Source: `cli.md` §5.2; Flynn `cli/app.go`, `cli/remote.go`.
"""

from typing import Any
from urllib.parse import urlsplit

from . import git
from .client import part
from .deletion import deleted
from .deploy import current_release
from .failure import Failure
from .rc import Cluster
from .render import quoted, table
from .session import Session
from .talk import confirm, show, show_json, show_raw, tell
from .usage import Args


def create(args: Args, session: Session) -> None:
    """usage: flynn create [-r <remote>] [-y] [<name>]

    Create an app.

    Without a name, one is made up. In a git repository, a remote for pushing to the app is made, too.

    Options:
        -r, --remote=<remote>  name of the git remote, empty for none [default: flynn]
        -y, --yes              replace a git remote of that name without asking

    Examples:

        $ flynn create
        Created swift-otter-lane

        $ flynn create shop --remote staging
        Created shop
    """
    client, remote = session.client, args.value("--remote")
    in_repository = git.in_repository()
    if in_repository and not args.flag("--yes") and not _may_replace(remote):
        return
    name = args.text("<name>")
    app = client.post("/apps", {"name": name, "meta": None} if name else {"meta": None})
    if in_repository and remote and session.cluster.git_url:
        git.set_remote(remote, git.remote_url(session.cluster, app["name"]))
    tell(f"Created {app['name']}")


def delete(args: Args, session: Session) -> None:
    """usage: flynn delete [-y] [-r <remote>]

    Delete an app, with its routes, releases and resources.

    In a git repository, the app's remote is removed, too.

    Options:
        -r, --remote=<remote>  name of the git remote, empty for none [default: flynn]
        -y, --yes              do not ask

    Example:

        $ flynn -a shop delete
        Are you sure you want to delete the app "shop"? (yes/no): yes
        Deleted shop (removed 1 routes, deleted 3 releases, deprovisioned 0 resources)
    """
    client, app = session.client, session.app
    if not args.flag("--yes") and not confirm(f"Are you sure you want to delete the app {quoted(app)}?"):
        return
    gone = deleted(client, app)
    remote = args.value("--remote")
    if remote:
        pointed_at = git.apps_of_remotes(session.candidates).get(remote)
        if pointed_at and pointed_at.name == app:
            git.drop_remote(remote)
    counts = [len(gone.get(f"deleted_{each}") or []) for each in ("routes", "releases", "resources")]
    tell("Deleted {} (removed {} routes, deleted {} releases, deprovisioned {} resources)".format(app, *counts))


def apps(args: Args, session: Session) -> None:
    """usage: flynn apps [--json]

    List all apps.

    Options:
        --json  as JSON: the controller's own objects

    Example:

        $ flynn apps
        ID                                    NAME
        a204c8eb-cfbc-4438-973b-5d2f02d8afbd  shop
    """
    listed = session.client.get("/apps")
    if args.flag("--json"):
        show_json(listed)
        return
    show_raw(table([("ID", "NAME"), *((app["id"], app["name"]) for app in listed)]))


def info(args: Args, session: Session) -> None:
    """usage: flynn info [--json]

    Show where an app is pushed to and where it answers.

    Options:
        --json  as a JSON object

    Example:

        $ flynn info
        === shop
        Git URL:  https://git.example.com/shop.git
        Web URL:  https://shop.example.com
    """
    client, app = session.client, session.app
    rows = []
    release = current_release(client, app)
    pushed = release is None or (release.get("meta") or {}).get("git") == "true"
    if pushed and session.cluster.git_url:
        rows.append(("Git URL:", git.remote_url(session.cluster, app)))
    try:
        routes = client.get(f"/apps/{part(app)}/routes")
    except Failure:
        routes = []  # an app that does not exist yet still has its place for pushing
    web = next((route for route in routes if route["type"] == "http"), None)
    if web:
        rows.append(("Web URL:", _url(web, session.cluster)))
    if args.flag("--json"):
        urls = {name.removesuffix(":").lower().replace(" ", "_"): url for name, url in rows}
        show_json({"app": app, **urls})
        return
    show(f"=== {app}")
    show_raw(table(rows))


def _url(web: dict[str, Any], cluster: Cluster) -> str:
    """Return where a route answers. A router that is not at 443 is known by the controller's URL, and has TLS there."""
    port = urlsplit(cluster.controller_url).port
    if port and cluster.controller_url.startswith("https:"):
        return f"https://{web['domain']}:{port}"
    scheme = "https" if web.get("certificate") or web.get("tls_cert") else "http"
    return f"{scheme}://{web['domain']}"


def remote(args: Args, session: Session) -> None:
    """usage: flynn remote add [<remote>] [-y]

    Make a git remote for pushing to an app; it is called flynn if no name is given.

    The app is the one given with -a.

    Options:
        -y, --yes  replace a git remote of that name without asking

    Example:

        $ flynn -a shop remote add staging
        Created remote staging with url https://git.example.com/shop.git.
    """
    app = session.client.get(f"/apps/{part(session.app)}")
    name = args.text("<remote>") or git.DEFAULT_REMOTE
    if not git.in_repository():
        tell("Must be executed within a git repository.")
        return
    if not args.flag("--yes") and not _may_replace(name):
        return
    if not session.cluster.git_url:
        raise Failure(
            f"cluster {quoted(session.cluster.name)} has no git URL",
            hint="add it again without --no-git: 'flynn cluster add -f <name> <domain> <key>'",
        )
    url = git.remote_url(session.cluster, app["name"])
    git.set_remote(name, url)
    tell(f"Created remote {name} with url {url}.")


def _may_replace(remote: str) -> bool:
    if remote not in git.remotes():
        return True
    show(f"There is already a git remote called {remote}")
    if confirm("Are you sure you want to replace it?"):
        return True
    tell("The remote was not created. Please declare the desired local git remote name with --remote flag.")
    return False
