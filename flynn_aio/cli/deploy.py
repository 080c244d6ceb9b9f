"""Releases made by commands, and waiting until they run.

Source: `controller-api.md` §12 (`deploy`, `setEnv`); Flynn `controller/client/v1`, `DeployAppRelease`.
"""

from collections.abc import Mapping
from typing import Any

from .client import Client, part
from .events import Events
from .failure import Failure, NotFound

PUSH_FIRST = "'git push flynn master' makes the first release of what is in git"


def current_release(client: Client, app: str) -> dict[str, Any] | None:
    """Return the app's current release; ``None`` before the first."""
    try:
        release: dict[str, Any] = client.get(f"/apps/{part(app)}/release")
    except NotFound:
        return None
    return release


def release_and_deploy(client: Client, app: str, release: dict[str, Any]) -> str:
    """Make a new release of what `release` says, deploy it, and return its id once it runs.

    Raises:
        Failure: refused, or the deployment failed: the app is on its old release again.
    """
    body = {key: value for key, value in release.items() if key != "id"}
    created: dict[str, Any] = client.post("/releases", {**body, "app_id": app})
    release_id: str = created["id"]
    deploy(client, app, release_id)
    return release_id


def set_env(client: Client, app: str, changes: Mapping[str, str | None]) -> str:
    """Make and deploy a release with variables set, or dropped where the value is ``None``; return its id.

    Raises:
        Failure: refused, or the deployment failed.
    """
    app_id: str = client.get(f"/apps/{part(app)}")["id"]
    release = current_release(client, app_id) or {}
    return release_and_deploy(client, app_id, {**release, "env": edited(release.get("env"), changes)})


def edited(before: Mapping[str, str] | None, changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return variables as they are after `changes`; ``None`` drops one."""
    merged = {**(before or {}), **changes}
    return {key: value for key, value in merged.items() if value is not None}


def deploy(client: Client, app: str, release_id: str) -> None:
    """Deploy a release and wait for the end, however long that takes.

    Raises:
        Failure: the deployment failed; the text says why.
    """
    deployment: dict[str, Any] = client.post(f"/apps/{part(app)}/deploy", {"id": release_id})
    if deployment.get("finished_at"):
        return  # nothing was running, so nothing had to move
    query = {
        "app_id": deployment["app"],
        "object_id": deployment["id"],
        "object_types": "deployment",
        "past": "true",
    }
    with Events(client, query) as events:
        for event in events.until():
            data = event.get("data") or {}
            if data.get("status") == "complete":
                return
            if data.get("status") == "failed":
                error = data.get("error") or f"deployment {deployment['id']} failed"
                more = f"'flynn deployment show {deployment['id']}' says more, 'flynn log -n 50' what its jobs did"
                raise Failure(error, hint="; ".join([*_explanation(client, deployment["id"], error), more]))


def _explanation(client: Client, deployment_id: str, error: str) -> list[str]:
    """Return what explains an error that is Flynn's and so says little; others explain themselves."""
    if "\n" in error:
        return []
    try:
        failure = client.get(f"/deployments/{part(deployment_id)}").get("failure") or {}
    except Failure:
        return []
    return list(failure.get("explanation") or [])
