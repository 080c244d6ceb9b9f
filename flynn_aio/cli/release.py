"""`flynn release`: what an app was and is made of.

Source: `cli.md` §5.3; Flynn `cli/release.go`.
"""

import json
from datetime import UTC, datetime
from typing import Any

from .client import Client, part
from .deletion import deleted
from .deploy import PUSH_FIRST, current_release, deploy, release_and_deploy
from .failure import Failure, NotFound
from .render import absolute, ago, one_line_json, quoted, table
from .replacing import os_reason
from .session import Session
from .talk import confirm, show, show_json, show_raw, tell
from .usage import Args


def release(args: Args, session: Session) -> None:
    """usage: flynn release [-q|--quiet] [--json]
           flynn release add [-t <type>] [-f <file>] <uri>
           flynn release update <file> [<id>] [--clean]
           flynn release show [--json] [<id>]
           flynn release delete [-y] <id>
           flynn release rollback [-y] [<id>]

    Manage the app's releases. Without arguments, lists them, newest first.

    Commands:
        show      shows a release, the current one if no id is given
        update    makes a new release out of one and a JSON file, and deploys it
        delete    deletes a release and the files that only it uses
        rollback  deploys an older release, the previous one if no id is given
        add       [DEPRECATED] makes a release of a Docker image

    Options:
        -q, --quiet        only ids
        -t <type>          type of the release: docker [default: docker]
        -f, --file=<file>  release configuration, a JSON file
        --json             as JSON: the controller's own objects; one release is one line
        --clean            take over nothing but the artifacts
        -y, --yes          do not ask

    Examples:

        $ cat update.json
        {"processes": {"web": {"args": ["/runner/init", "start", "web"], "env": {"THREADS": "4"}}}}
        $ flynn release update update.json
        Created release 1a270395-8d31-4ec1-953a-0683b4f12635.

        $ flynn release rollback --yes
        Rolling back to release 989ce4a8-0088-444c-8379-caddded4b957 from 1a270395-8d31-4ec1-953a-0683b4f12635.
        Successfully rolled back to release 989ce4a8-0088-444c-8379-caddded4b957.
    """
    match args.words:
        case ("show",):
            _show(args.text("<id>"), session, as_json=args.flag("--json"))
        case ("update",):
            _update(args, session)
        case ("delete",):
            _delete(args.text("<id>"), session, sure=args.flag("--yes"))
        case ("rollback",):
            _rollback(args.text("<id>"), session, sure=args.flag("--yes"))
        case ("add",):
            _add(args, session)
        case _:
            _list(session, quiet=args.flag("--quiet"), as_json=args.flag("--json"))


def _list(session: Session, *, quiet: bool, as_json: bool) -> None:
    releases = session.client.get(f"/apps/{part(session.app)}/releases")
    if as_json:
        show_json(releases)
        return
    if quiet:
        show_raw("".join(f"{each['id']}\n" for each in releases))
        return
    now = datetime.now(UTC)
    show_raw(table([("ID", "Created"), *((each["id"], ago(each.get("created_at"), now)) for each in releases)]))


def _get(client: Client, app: str, release_id: str) -> dict[str, Any]:
    """Return a release, the app's current one when no id is given."""
    found = client.get(f"/releases/{part(release_id)}") if release_id else current_release(client, app)
    if found is None:
        raise NotFound(hint=f"the app has no release yet. {PUSH_FIRST}")
    return dict(found)


def _show(release_id: str, session: Session, *, as_json: bool) -> None:
    client = session.client
    found = _get(client, "" if release_id else session.app, release_id)
    if as_json:
        show(one_line_json(found))
        return
    artifacts = [client.get(f"/artifacts/{part(each)}") for each in found.get("artifacts") or []]
    show_raw(
        table(
            [
                ("ID:", found["id"]),
                *((f"Artifact[{index}]:", f"{each['type']}+{each['uri']}") for index, each in enumerate(artifacts)),
                ("Process Types:", ", ".join(sorted(found.get("processes") or {}))),
                ("Created At:", absolute(found.get("created_at"))),
                *((f"ENV[{key}]", value) for key, value in sorted((found.get("env") or {}).items())),
                *((f"META[{key}]", value) for key, value in sorted((found.get("meta") or {}).items())),
            ]
        )
    )


def _update(args: Args, session: Session) -> None:
    client = session.client
    app_id = client.get(f"/apps/{part(session.app)}")["id"]
    before = _get(client, app_id, args.text("<id>"))
    updates = _read_json(args.text("<file>"))
    clean = {**updates, "artifacts": before.get("artifacts") or []}
    after = clean if args.flag("--clean") else merged(before, updates)
    tell(f"Created release {release_and_deploy(client, app_id, after)}.")


def merged(before: dict[str, Any], updates: dict[str, Any]) -> dict[str, Any]:
    """Return a release with a partial one laid over it.

    Environment, metadata and resources merge key by key. Of a process type, what the update leaves empty or
    false stays; there is no way to unset something but ``--clean``. Artifacts stay what they are.
    """
    processes = dict(before.get("processes") or {})
    for kind, update in (updates.get("processes") or {}).items():
        processes[kind] = _merged_process(processes[kind], update) if kind in processes else update
    return {
        **before,
        "env": {**(before.get("env") or {}), **(updates.get("env") or {})},
        "meta": {**(before.get("meta") or {}), **(updates.get("meta") or {})},
        "processes": processes,
    }


def _merged_process(before: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    after = {**before, **{key: value for key, value in update.items() if value}}
    for key in ("env", "resources"):
        if before.get(key) and update.get(key):
            after[key] = {**before[key], **update[key]}
    return after


def _read_json(file: str) -> dict[str, Any]:
    try:
        with open(file, "rb") as source:
            value = json.load(source)
    except OSError as exc:
        raise Failure(f"open {file}: {os_reason(exc)}") from exc
    except ValueError as exc:
        raise Failure(f"{file} is not JSON: {exc}") from exc
    if not isinstance(value, dict) or not all(
        isinstance(value.get(key) or {}, dict) for key in ("env", "meta", "processes")
    ):
        raise Failure(f"{file} is not a release: it needs an object with the maps env, meta, processes")
    return value


def _add(args: Args, session: Session) -> None:
    kind = args.value("-t")
    if kind != "docker":
        raise Failure(f"Release type {kind} not supported.", hint="'flynn docker push' makes releases of images")
    tell(
        "WARN: The 'release add' command is deprecated and only works on legacy clusters, use 'docker push' to push "
        "Docker images"
    )
    client = session.client
    app_id = client.get(f"/apps/{part(session.app)}")["id"]
    wish = _read_json(args.value("--file")) if args.value("--file") else {}
    artifact = client.post("/artifacts", {"type": "docker", "uri": args.text("<uri>")})
    created = release_and_deploy(client, app_id, {**wish, "artifacts": [artifact["id"]]})
    tell(f"Created release {created}.")


def _delete(release_id: str, session: Session, *, sure: bool) -> None:
    client = session.client
    if not sure and not confirm(f"Are you sure you want to delete release {quoted(release_id)}?"):
        return
    gone = deleted(client, session.app, release=release_id)
    others = gone.get("remaining_apps") or []
    if others:
        tell(f"Release scaled down for app but not fully deleted (still associated with {len(others)} other apps)")
    else:
        tell(f"Deleted release {release_id} (deleted {len(gone.get('deleted_files') or [])} files)")


def _rollback(release_id: str, session: Session, *, sure: bool) -> None:
    client, app = session.client, session.app
    current = _get(client, app, "")["id"]
    if not release_id:
        releases = client.get(f"/apps/{part(app)}/releases")
        if len(releases) < 2:
            raise Failure("Not enough releases to perform a rollback.", hint="'flynn release' lists them")
        release_id = releases[1]["id"]
    if release_id == current:
        raise Failure("Release id given is the current release.", hint="'flynn release' lists the others")
    if not sure and not confirm(f"Are you sure you want to rollback to release {quoted(release_id)}?"):
        return
    tell(f"Rolling back to release {release_id} from {current}.")
    deploy(client, app, release_id)
    tell(f"Successfully rolled back to release {release_id}.")
