"""`flynn env`: the environment of an app's processes.

Source: `cli.md` §5.3, `controller-api.md` §12 (`setEnv`); Flynn `cli/env.go`.
"""

from collections.abc import Mapping
from functools import partial

from .client import Client, part
from .deploy import current_release, edited, release_and_deploy, set_env
from .failure import Failure
from .render import quoted
from .session import Session
from .similar import did_you_mean
from .talk import show, show_json, show_raw, tell
from .usage import Args


def env(args: Args, session: Session) -> None:
    """usage: flynn env [-t <proc>] [--json]
           flynn env set [-t <proc>] <var>=<val>...
           flynn env unset [-t <proc>] <var>...
           flynn env get [-t <proc>] <var>

    Show or change the app's environment variables. A change makes a new release and deploys it.

    Options:
        -t, --process-type=<proc>  only for this process type
        --json                     as a JSON object

    Examples:

        $ flynn env set FOO=bar BAZ=foobar
        Created release 5058ae79-64f7-4c39-9a24-0bdd6e7d1bcb.

        $ flynn env
        BAZ=foobar
        FOO=bar

        $ flynn env get FOO
        bar
    """
    kind = args.value("--process-type")
    match args.words:
        case ("set",):
            _change(kind, pairs(args.all("<var>=<val>")), session)
        case ("unset",):
            _change(kind, dict.fromkeys(args.all("<var>")), session)
        case ("get",):
            _get(kind, args.text("<var>"), session)
        case _:
            _show(kind, session, as_json=args.flag("--json"))


def pairs(given: tuple[str, ...]) -> dict[str, str]:
    """Return ``key=value`` arguments as a map.

    Raises:
        Failure: one of them has no ``=``.
    """
    split = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise Failure(
                f"invalid var format: {quoted(text)}", hint="it is like NAME=value, in quotes if it has spaces"
            )
        split[key] = value
    return split


def _show(kind: str, session: Session, *, as_json: bool) -> None:
    client = session.client
    release = current_release(client, session.app)
    if release is None:
        if as_json:
            show_json({})
        return
    process = (release.get("processes") or {}).get(kind) or {}
    merged = {**(release.get("env") or {}), **(process.get("env") or {})}
    if as_json:
        show_json(dict(sorted(merged.items())))
        return
    show_raw("".join(f"{line}\n" for line in sorted(f"{key}={value}" for key, value in merged.items())))


def _get(kind: str, name: str, session: Session) -> None:
    client = session.client
    release = current_release(client, session.app)
    if release is None:
        raise Failure("no app release found", hint="'flynn env set' makes the first one")
    processes = release.get("processes") or {}
    if kind and kind not in processes:
        raise Failure(f"process type {quoted(kind)} not found in release {release['id']}", hint=_types(processes))
    process = processes.get(kind) or {}
    merged = {**(release.get("env") or {}), **(process.get("env") or {})}
    if name not in merged:
        guess = did_you_mean(name, merged) or "'flynn env' lists what is set"
        raise Failure(f"var {quoted(name)} not found in release {quoted(release['id'])}", hint=guess)
    show(merged[name])


def _change(kind: str, changes: Mapping[str, str | None], session: Session) -> None:
    """Set the variables that have a value and drop the others."""
    change = partial(_change_type, kind) if kind else set_env
    tell(f"Created release {change(session.client, session.app, changes)}.")


def _change_type(kind: str, client: Client, app: str, changes: Mapping[str, str | None]) -> str:
    app_id: str = client.get(f"/apps/{part(app)}")["id"]
    release = current_release(client, app_id) or {"processes": {kind: {}}}
    processes = release.get("processes") or {}
    if kind not in processes:
        raise Failure(f"process {quoted(kind)} in release {release['id']} not found", hint=_types(processes))
    process = {**processes[kind], "env": edited(processes[kind].get("env"), changes)}
    return release_and_deploy(client, app_id, {**release, "processes": {**processes, kind: process}})


def _types(processes: Mapping[str, object]) -> str:
    return f"the release has {', '.join(sorted(processes))}" if processes else "the release has no process types at all"
