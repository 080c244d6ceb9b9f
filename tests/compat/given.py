"""What a flow finds when it begins: apps with a release, as a push would have made them."""

from typing import Any

from ..support.http_client import HTTPClient


async def give(api: HTTPClient, given: dict[str, Any], image: str) -> dict[str, str]:
    """Make the app and the release of a flow; return the words they are called by."""
    if not given:
        return {}
    app = (await api.post("/apps", {"name": given["app"]})).json()
    bound = {"app": app["id"]}
    if "release" in given:
        artifact = (await api.post("/artifacts", {"type": "flynn", "uri": f"image:{image}"})).json()
        release = (
            await api.post("/releases", given["release"] | {"app_id": app["id"], "artifacts": [artifact["id"]]})
        ).json()
        assert (await api.put(f"/apps/{app['id']}/release", {"id": release["id"]})).status == 200
        bound |= {"artifact": artifact["id"], "release": release["id"]}
    return bound
