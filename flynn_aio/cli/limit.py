"""`flynn limit`: what each process may use at most.

Source: `cli.md` §5.3; Flynn `cli/limit.go`.
"""

from . import limits
from .client import part
from .deploy import current_release, release_and_deploy
from .failure import Failure
from .render import quoted, table
from .session import Session
from .talk import show, show_json, show_raw, tell
from .usage import Args

_BUILDS = "slugbuilder"  # no process type: builds take their limits from it


def limit(args: Args, session: Session) -> None:
    """usage: flynn limit [-t <proc>] [--json]
           flynn limit set <proc> <var>=<val>...

    Show or set the resource limits of the app's process types.

    The limits are memory, temp_disk (bytes: 512MB, 2GB), cpu (1000 is one core) and max_fd (open files).
    Limits of builds are set on the type slugbuilder. Setting limits makes a new release and deploys it.

    Options:
        -t, --process-type=<proc>  only this process type
        --json                     as a JSON object, in bytes, thousandths of a core and numbers of files

    Examples:

        $ flynn limit
        web:     cpu=1000  max_fd=10000  memory=1GB  temp_disk=100MB
        worker:  cpu=1000  max_fd=10000  memory=1GB  temp_disk=100MB

        $ flynn limit set web memory=512MB cpu=500
        Created release 5058ae79-64f7-4c39-9a24-0bdd6e7d1bcb
    """
    if args.words == ("set",):
        _set(args, session)
    else:
        _show(args.value("--process-type"), session, as_json=args.flag("--json"))


def _show(only: str, session: Session, *, as_json: bool) -> None:
    client = session.client
    release = current_release(client, session.app)
    if release is None:
        if as_json:
            show_json({})
        return
    processes = release.get("processes") or {}
    if only and only not in processes:
        raise Failure(f"unknown process type {quoted(only)}", hint="'flynn limit' lists all of them")
    kinds = [only] if only else sorted(processes)
    if as_json:
        show_json({kind: limits.numbers(processes[kind].get("resources") or {}) for kind in kinds})
        return
    rows = [(f"{kind}:", *limits.shown(processes[kind].get("resources") or {})) for kind in kinds]
    show_raw(table([row if len(row) > 1 else (*row, "") for row in rows]))


def _set(args: Args, session: Session) -> None:
    client, kind = session.client, args.text("<proc>")
    app_id = client.get(f"/apps/{part(session.app)}")["id"]
    release = current_release(client, app_id) or {}
    processes = release.get("processes") or {}
    if kind not in processes and kind != _BUILDS:
        tell(f"Warning: {quoted(kind)} is not an existing process type, setting anyway")
    process = processes.get(kind) or {}
    resources = {**(process.get("resources") or limits.defaults()), **limits.parse(args.all("<var>=<val>"))}
    changed = {**release, "processes": {**processes, kind: {**process, "resources": resources}}}
    show(f"Created release {release_and_deploy(client, app_id, changed)}")
