"""`flynn scale`: how many of each process type, now and from now on.

Source: `cli.md` §5.4, `controller-api.md` §9.1; Flynn `cli/scale.go`.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .client import Client, part
from .deploy import PUSH_FIRST, current_release
from .events import Events, Expired
from .failure import Failure, NotFound
from .number import whole
from .render import duration, quoted
from .session import Session
from .talk import show, show_json, state
from .usage import Args

SCALE_S = 30.0
_SPEC = "it is like web=3, or web=3,disk=ssd"

Counts = dict[str, int]
Tags = dict[str, dict[str, str]]


def scale(args: Args, session: Session) -> None:
    """usage: flynn scale [options] [<type>=<spec>...]

    Show or change how many jobs of each process type run.

    A type is given as TYPE=COUNT, with the tags of the hosts it may run on after commas: web=3,disk=ssd

    Options:
        -n, --no-wait            do not wait until it is done
        -r, --release=<release>  scale this release, not the app's current one
        -a, --all                show all releases that run something
        --json                   as a JSON object: numbers by process type, with -a by release

    Examples:

        $ flynn scale
        web=1 worker=2

        $ flynn scale web=3
        scaling web: 1=>3

        14:02:28.479 ==> web host0-84f70ca1-8c96-41ef-83a1-78a19db867a3 up
        14:02:28.508 ==> web host0-a3de8c32-6cc5-42aa-8923-5e53ba304260 up

        scale completed in 1.175629056s
    """
    client, app = session.client, session.app
    wanted, everything, release_id = args.all("<type>=<spec>"), args.flag("--all"), args.value("--release")
    if wanted and everything:
        raise Failure("ERROR: Can't use --all when scaling", hint="--release scales another release than the current")
    if wanted and args.flag("--json"):
        raise Failure("ERROR: Can't use --json when scaling", hint="'flynn scale --json' shows what is wanted now")
    if release_id and everything:
        raise Failure("ERROR: Can't use --all in combination with --release")
    release = client.get(f"/releases/{part(release_id)}") if release_id else current_release(client, app)
    if release is None:
        raise Failure("No app release, specify a release with --release", hint=PUSH_FIRST)
    if wanted:
        processes, tags = parse_specs(wanted, release.get("processes") or {})
        _scale(client, app, release["id"], processes, tags, wait=not args.flag("--no-wait"))
    elif everything:
        _show_all(client, app, release["id"], as_json=args.flag("--json"))
    else:
        formation = _formation(client, app, release["id"])
        if args.flag("--json"):
            show_json(_counts(release, formation))
        elif formation:
            show(" ".join(f"{kind}={formation.get(kind, 0)}" for kind in sorted(release.get("processes") or {})))


def parse_specs(specs: Sequence[str], known: dict[str, Any]) -> tuple[Counts, Tags]:
    """Return counts and tags of specs like ``web=3,disk=ssd``. A tag without ``=`` means ``true``.

    Args:
        known: the process types of the release.

    Raises:
        Failure: a spec is not one, or names a type the release does not have.
    """
    processes: Counts = {}
    tags: Tags = {}
    unknown = []
    for spec in specs:
        kind, equals, rest = spec.partition("=")
        if not equals:
            raise Failure("ERROR: scale args must be of the form <typ>=<spec>", hint=_SPEC)
        number, *listed = rest.split(",")
        negative = number.startswith("-")
        count = whole(number.removeprefix("-" if negative else "+"))
        if count is None:
            raise Failure(f"ERROR: could not parse quantity in {quoted(spec)}", hint=_SPEC)
        if negative and count:
            raise Failure(f"ERROR: process quantities cannot be negative in {quoted(spec)}")
        if kind not in known:
            unknown.append(quoted(kind))
            continue
        processes[kind] = count
        if listed:
            pairs = (tag.partition("=") for tag in listed if tag)
            tags[kind] = {key: value if given else "true" for key, given, value in pairs}
    if unknown:
        has = f"the release has {', '.join(sorted(known))}" if known else "the release has no process types at all"
        raise Failure(f"ERROR: unknown process types: {', '.join(unknown)}", hint=has)
    return processes, tags


def _scale(client: Client, app: str, release_id: str, processes: Counts, tags: Tags, *, wait: bool) -> None:
    wish = {
        "id": "",
        "app": app,
        "release": release_id,
        "state": "pending",
        "new_processes": processes,
        "new_tags": tags,
        "created_at": None,
        "updated_at": None,
    }
    path = f"/apps/{part(app)}/scale/{part(release_id)}"
    began = time.monotonic_ns()
    if not wait:
        _say_what_changes({**wish, **client.put(path, wish)})
        return
    with Events(client, {"app_id": app, "object_types": "job,scale_request"}) as events:
        request = {**wish, **client.put(path, wish)}
        _say_what_changes(request)
        try:
            _follow(events, request["id"], release_id)
        except Expired:
            raise Failure(
                f"timed out waiting for scale to complete (waited {SCALE_S:.0f} seconds)",
                hint="'flynn ps -a' shows what became of the jobs, 'flynn log -n 50 -i' what they printed",
            ) from None
    show(f"\nscale completed in {duration(time.monotonic_ns() - began)}")


def _say_what_changes(request: dict[str, Any]) -> None:
    old = request.get("old_processes") or {}
    changes = (
        f"{kind}: {old.get(kind, 0)}=>{count}"
        for kind, count in sorted(request["new_processes"].items())
        if count != old.get(kind, 0)
    )
    show(f"scaling {', '.join(changes)}\n")


def _follow(events: Events, request_id: str, release_id: str) -> None:
    """Show what happens to the release's jobs until the request is done."""
    for event in events.until(SCALE_S):
        data = event.get("data") or {}
        match event.get("object_type"):
            case "job" if data.get("release") == release_id:
                at = datetime.now().strftime("%H:%M:%S.%f")[:-3]
                job = data.get("id") or data.get("uuid", "")
                show(f"{at} ==> {data.get('type', '')} {job} {state(data.get('state', ''))}")
            case "scale_request" if data.get("id") == request_id and data.get("state") == "cancelled":
                raise Failure("scale request cancelled", hint="'flynn scale' shows what is wanted now")
            case "scale_request" if data.get("id") == request_id and data.get("state") == "complete":
                return


def _counts(release: dict[str, Any], formation: Counts) -> Counts:
    return {kind: formation.get(kind, 0) for kind in sorted(release.get("processes") or {})}


def _show_all(client: Client, app: str, current: str, *, as_json: bool) -> None:
    blocks, found = [], {}
    for release in client.get(f"/apps/{part(app)}/releases"):
        formation = _formation(client, app, release["id"])
        if formation:
            found[release["id"]] = _counts(release, formation)
            suffix = " (current)" if release["id"] == current else ""
            counts = (f"{kind}={formation.get(kind, 0)}" for kind in sorted(release.get("processes") or {}))
            running = " ".join(each for each in counts if not each.endswith("=0"))
            blocks.append(f"{release['id']}{suffix}\n{running}")
    if as_json:
        show_json(found)
    elif blocks:
        show("\n\n".join(blocks))


def _formation(client: Client, app: str, release_id: str) -> Counts:
    """Return the counts wanted of a release; empty when it was never scaled."""
    try:
        formation = client.get(f"/apps/{part(app)}/formations/{part(release_id)}")
    except NotFound:
        return {}
    return formation.get("processes") or {}
