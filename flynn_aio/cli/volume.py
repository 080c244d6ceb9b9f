"""`flynn volume`: the directories of an app that outlive its jobs.

Source: `cli.md` §5.6; Flynn `cli/volume.go`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .client import Client, part
from .render import absolute, ago, one_line_json, table
from .session import Session
from .talk import show, show_json, show_raw, state
from .usage import Args


def volume(args: Args, session: Session) -> None:
    """usage: flynn volume [--json]
           flynn volume show [--json] <id>
           flynn volume decommission <id>

    Manage the app's volumes. Without arguments, lists them.

    A volume keeps what a process writes below its path. It outlives crashes, kills and restarts; a new release begins
    with an empty one. Which paths a process type keeps is said in its release: "volumes": [{"path": "/data"}]. With
    "keep": true beside the path, the next release takes it over.

    Commands:
        show          shows one volume
        decommission  gives a volume to no new job; its data stays on the server's disk

    Options:
        --json  as JSON: the controller's own objects; one volume is one line

    Example:

        $ flynn volume
        ID                                    HOST   STATE    ATTACHED JOB  CREATED         DECOMMISSIONED
        f7e1ae94-64d3-4ce7-82eb-04d07e0a1b8b  host0  created                16 seconds ago  true
    """
    path = f"/apps/{part(session.app)}/volumes"
    match args.words:
        case ("show",):
            _show(session.client.get(f"{path}/{part(args.text('<id>'))}"), as_json=args.flag("--json"))
        case ("decommission",):
            _decommission(path, args.text("<id>"), session.client)
        case _:
            _list(session.client.get(path), as_json=args.flag("--json"))


def _list(volumes: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        show_json(volumes)
        return
    now = datetime.now(UTC)
    rows = (
        (
            each["id"],
            each.get("host_id", ""),
            state(each.get("state", "")),
            _job(each),
            ago(each.get("created_at"), now),
            "true" if each.get("decommissioned_at") else "false",
        )
        for each in volumes
    )
    show_raw(table([("ID", "HOST", "STATE", "ATTACHED JOB", "CREATED", "DECOMMISSIONED"), *rows]))


def _show(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show(one_line_json(found))
        return
    show_raw(
        table(
            [
                ("ID:", found["id"]),
                ("State:", state(found.get("state", ""))),
                ("HostID:", found.get("host_id", "")),
                ("AppID:", found.get("app", "")),
                ("ReleaseID:", found.get("release", "")),
                ("JobID:", _job(found)),
                ("JobType:", found.get("job_type", "")),
                ("CreatedAt:", absolute(found.get("created_at"))),
                ("UpdatedAt:", absolute(found.get("updated_at"))),
                ("DecommissionedAt:", absolute(found.get("decommissioned_at"))),
            ]
        )
    )


def _decommission(path: str, volume_id: str, client: Client) -> None:
    body = {"id": volume_id, "host_id": "", "type": "", "state": ""}
    done = client.put(f"{path}/{part(volume_id)}/decommission", body)
    show(f"volume {done['id']} successfully decommissioned at {absolute(done.get('decommissioned_at'))}")


def _job(found: Mapping[str, Any]) -> str:
    """Return the id of the job that has a volume, as people see it."""
    return f"{found.get('host_id', '')}-{found['job']}" if found.get("job") else ""
