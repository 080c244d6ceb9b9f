"""Deletions, which go on after the controller has answered, and waiting for their end.

Source: `controller-api.md` §12; Flynn `controller/client/v1`, `DeleteApp` and `DeleteRelease`.
"""

from typing import Any

from .client import Client, part
from .events import Events, Expired
from .failure import Failure

DELETION_S = 60.0


def deleted(client: Client, app: str, *, release: str = "") -> dict[str, Any]:
    """Delete an app, or one release of it; return what went with it.

    Raises:
        Failure: it was refused, failed on the way, or takes too long.
    """
    what, path = "app", f"/apps/{part(app)}"
    query = {"app_id": app, "object_types": "app_deletion"}
    if release:
        what, path = "release", f"{path}/releases/{part(release)}"
        query = {"app_id": app, "object_id": release, "object_types": "release_deletion"}
    with Events(client, query) as events:
        client.delete(path)
        try:
            data = next(events.until(DELETION_S)).get("data") or {}
        except Expired:
            listing = "'flynn release'" if release else "'flynn apps'"
            raise Failure(
                f"timed out waiting for {what} deletion", hint=f"it may go on: {listing} shows whether it is gone"
            ) from None
    if data.get("error"):
        raise Failure(data["error"], hint="the same command can be run again")
    return data.get(f"{what}_deletion") or {}
