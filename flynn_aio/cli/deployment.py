"""`flynn deployment`: how an app got from release to release, and how fast it may.

Source: `cli.md` §5.3; Flynn `cli/deployment.go`. `deployment show` is our own.
"""

from datetime import UTC, datetime
from typing import Any

from .client import Client, part
from .failure import Failure
from .number import whole
from .render import absolute, ago, one_line_json, quoted, table
from .session import Session
from .talk import show, show_json, show_raw, state
from .usage import Args
from .why import counts, facts, story

_BATCH_SIZE = "flynn-deploy-batch-size"


def deployment(args: Args, session: Session) -> None:
    """usage: flynn deployment [--json]
           flynn deployment show [--json] <id>
           flynn deployment timeout [<timeout>]
           flynn deployment batch-size [<size>]

    Show deployments, and change how the app is deployed. Without arguments, lists them.

    Commands:
        show        shows one deployment, its steps, and why it failed
        timeout     shows or sets how many seconds each step may take
        batch-size  shows or sets how many jobs the in-batches strategy starts at a time

    Options:
        --json  as JSON: the controller's own objects; one deployment is one line

    Example:

        $ flynn deployment
        ID                                    STATUS    CREATED         FINISHED
        39f8b98b-2aed-40a5-9423-ae174b3fb7a9  complete  16 seconds ago  14 seconds ago
    """
    match args.words:
        case ("show",):
            _show(args.text("<id>"), session.client, as_json=args.flag("--json"))
        case ("timeout",):
            _timeout(args.text("<timeout>"), session)
        case ("batch-size",):
            _batch_size(args.text("<size>"), session)
        case _:
            _list(session, as_json=args.flag("--json"))


def _list(session: Session, *, as_json: bool) -> None:
    now = datetime.now(UTC)
    deployments = session.client.get(f"/apps/{part(session.app)}/deployments")
    if as_json:
        show_json(deployments)
        return
    show_raw(
        table(
            [
                ("ID", "STATUS", "CREATED", "FINISHED"),
                *(
                    (
                        each["id"],
                        state(each.get("status", "")),
                        ago(each.get("created_at"), now),
                        ago(each.get("finished_at"), now),
                    )
                    for each in deployments
                ),
            ]
        )
    )


def _show(deployment_id: str, client: Client, *, as_json: bool) -> None:
    found = client.get(f"/deployments/{part(deployment_id)}")
    if as_json:
        failed = found.get("status") == "failed"
        show(one_line_json({**found, "error": _error(found, client)} if failed else found))
        return
    rows = [
        ("ID:", found["id"]),
        ("Status:", state(found.get("status", ""))),
        ("Strategy:", found.get("strategy", "")),
        ("Old Release:", found.get("old_release", "")),
        ("New Release:", found.get("new_release", "")),
        ("Processes:", counts(found.get("processes"))),
        ("Timeout:", f"{found.get('deploy_timeout', 0)}s"),
        ("Created At:", absolute(found.get("created_at"))),
        ("Finished At:", absolute(found.get("finished_at"))),
    ]
    if found.get("status") == "failed":
        rows += [("Error:", _error(found, client).partition("\n")[0]), *facts(found.get("failure") or {})]
    show_raw(table(rows) + story(found))


def _error(deployment: dict[str, Any], client: Client) -> str:
    """Return the error a deployment failed with; those of an older controller have it in their events alone."""
    if failure := deployment.get("failure"):
        return str(failure["error"])
    query = {"object_types": "deployment", "object_id": deployment["id"]}
    errors = ((event.get("data") or {}).get("error") for event in client.get("/events", query))
    return next((error for error in errors if error), "")


def _timeout(wanted: str, session: Session) -> None:
    path = f"/apps/{part(session.app)}"
    if wanted:
        session.client.post(path, {"id": session.app, "meta": None, "deploy_timeout": _number(wanted, "timeout")})
    else:
        show(str(session.client.get(path).get("deploy_timeout", 0)))


def _batch_size(wanted: str, session: Session) -> None:
    client, path = session.client, f"/apps/{part(session.app)}"
    size = _number(wanted, "batch-size") if wanted else None
    if size == 0:
        raise Failure(f"error parsing batch-size {quoted(wanted)}: a batch has at least one job")
    meta = client.get(path).get("meta") or {}
    if size is None:
        show(meta.get(_BATCH_SIZE, "not set"))
    else:  # the controller replaces the whole map
        client.post(path, {"id": session.app, "meta": {**meta, _BATCH_SIZE: str(size)}})


def _number(text: str, what: str) -> int:
    number = whole(text)
    if number is None:
        raise Failure(f"error parsing {what} {quoted(text)}: not a whole number")
    return number
