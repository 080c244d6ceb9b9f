"""What a flow finds when it begins: an app with a release, as a push would have made it; files; a `docker`."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..support.certs import Authority
from ..support.http_client import HTTPClient
from ..support.layers import digest, layer_tar


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


def certificates(domain: str) -> dict[str, str]:
    """Return what the two certificates of a flow and their keys are called by."""
    authority, bound = Authority(), {}
    for number in ("", "2"):
        pair = authority.leaf(f"secure.{domain}")
        for name, text in (("cert", pair.cert), ("certkey", pair.key)):
            bound |= {f"{name}{number}": text, f"trimmed{name}{number}": text.strip()}
    return bound


def furnish(home: Path, bound: Mapping[str, str]) -> None:
    """Put into a home what the commands of a flow find there."""
    for number in ("", "2"):
        (home / f"cert{number}.pem").write_text(bound[f"cert{number}"])
        (home / f"key{number}.pem").write_text(bound[f"certkey{number}"])
    (home / "image.tar").write_bytes(_saved_image())
    tool = home / "bin" / "docker"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\ncase "$1" in save) exec cat {home}/image.tar;; *) echo an-image;; esac\n')
    tool.chmod(0o755)


def _saved_image() -> bytes:
    """Return what `docker save` prints for an image of one layer."""
    layer = layer_tar({"hello": b"hello\n"})
    config = {
        "config": {
            "Env": ["GREETING=from the image", "TAB=a\tb"],
            "Entrypoint": ["sh", "-c"],
            "Cmd": ["cat /hello"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": ["hello:v1"], "Layers": ["layer.tar"]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in (
            ("layer.tar", layer),
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
