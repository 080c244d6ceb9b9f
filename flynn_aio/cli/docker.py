"""`flynn docker`: an image of this machine becomes a release.

Its layers go to the cluster's image service, each once; the cluster keeps them under what is in them.

Source: `cli.md` §5.8, `controller-api.md` §12, `build.md` §6; Flynn `cli/docker.go`.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from tempfile import TemporaryDirectory
from typing import Any

from .client import Client, part
from .deploy import current_release, release_and_deploy
from .docker_archive import Image, Layer, exported, find_tool
from .failure import Failure, NotFound
from .progress import Progress
from .rc import Cluster
from .render import quoted
from .session import Session
from .talk import tell
from .usage import Args

MANIFEST_TYPE = "application/vnd.flynn.image.manifest.v1+json"
PLATFORM = {"architecture": "amd64", "os": "linux"}
PROCESS_TYPE = "app"
PORT = 8080
PIECE = 256 * 1024
DEPRECATED = (
    "DEPRECATED: Pushing via a Docker registry has been deprecated in favour of pushing via the Flynn image service.\n"
    "Just run 'flynn docker push' directly."
)


def docker(args: Args, session: Session) -> None:
    """usage: flynn docker push <image>
           flynn docker set-push-url [<url>]
           flynn docker login
           flynn docker logout

    Deploy an image that Docker or Podman has on this machine.

    What its Dockerfile says (ENTRYPOINT, CMD, WORKDIR, ENV) is how it is run, as the process type `app`. Variables that
    are set with `flynn env set` win over those of the image. It should listen on $PORT, which is 8080.

    Commands:
        push          sends the image to the cluster, makes a release of it and deploys that
        set-push-url  [DEPRECATED] does nothing
        login         [DEPRECATED] does nothing
        logout        [DEPRECATED] does nothing

    Example:

        $ flynn docker push my-custom-image:v2
        deploying Docker image: my-custom-image:v2
        exporting image with 'docker save my-custom-image:v2'
        uploading layer fccbfa2912f0cd6b9d13f91f288f112a2b825f3f758a4443aacb45bfc108cc74
        uploading layer e1a9a6284d0d24d8194ac84b372619e75cd35a46866b74925b7274c7056561e4
        Docker image deployed, scale it with 'flynn scale app=N'
    """
    if args.words == ("push",):
        _push(args.text("<image>"), session)
    else:
        tell(DEPRECATED)


def _push(name: str, session: Session) -> None:
    tell(f"deploying Docker image: {name}")
    service = image_service(session.cluster)
    client = session.client
    app = client.get(f"/apps/{part(session.app)}")
    tool = find_tool(name)
    tell(f"exporting image with '{tool} save {name}'")
    with TemporaryDirectory(prefix="flynn-docker-push-") as directory, closing(service) as images:
        with Progress("exporting") as progress:
            image = exported(tool, name, directory, progress.advance)
        layers = [_uploaded(images, layer) for layer in image.layers]
        artifact = images.post("/artifact", manifest(image, layers))
    before = current_release(client, app["id"]) or {}
    release_and_deploy(client, app["id"], release(app["name"], before, image, artifact["id"]))
    tell("Docker image deployed, scale it with 'flynn scale app=N'")


def image_service(cluster: Cluster) -> Client:
    """Return the cluster's image service.

    Raises:
        Failure: it has none.
    """
    if not cluster.image_url:
        raise Failure(
            f"cluster {quoted(cluster.name)} has no image URL",
            hint="flynn cluster add -f --image-url <url> <name> <domain> <key>",
        )
    return Client(cluster._replace(controller_url=cluster.image_url))


def _uploaded(images: Client, layer: Layer) -> dict[str, Any]:
    """Return the description of a layer that the cluster has now."""
    tell(f"uploading layer {layer.id}")
    path = f"/layer/{part(layer.id)}"
    try:
        found: dict[str, Any] = images.get(path)
    except NotFound:
        with Progress("uploading", layer.size) as progress:
            found = images.upload(path, _pieces(layer, progress), layer.size)
    return found


def _pieces(layer: Layer, progress: Progress) -> Iterator[bytes]:
    with open(layer.path, "rb") as file:
        while piece := file.read(PIECE):
            yield piece
            progress.advance(len(piece))


def manifest(image: Image, layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifest of an image whose layers the cluster has."""
    env = {key: value.replace("\t", "\\t") for key, value in image.env.items()}
    entrypoint = {"env": env, "cwd": image.workdir, "args": image.args, "stop_signal": image.stop_signal}
    return {
        "_type": MANIFEST_TYPE,
        "entrypoints": {"_default": {key: value for key, value in entrypoint.items() if value}},
        "rootfs": [{"platform": PLATFORM, "layers": layers}],
    }


def release(app: str, before: Mapping[str, Any], image: Image, artifact: str) -> dict[str, Any]:
    """Return the release that an image makes of an app's current one. What a person has configured stays.

    Args:
        app: the app's name.
        before: the current release; empty when there is none.
    """
    processes = before.get("processes") or {}
    process = {**processes.get(PROCESS_TYPE, {}), "args": image.args}
    if not process.get("ports"):
        service = f"{app}-web"
        process["service"] = service
        process["ports"] = [{"port": PORT, "proto": "tcp", "service": {"name": service, "create": True}}]
    return {
        "artifacts": [artifact],
        "processes": {**processes, PROCESS_TYPE: process},
        "env": {**image.env, **(before.get("env") or {})},
        "meta": before.get("meta") or {},
    }
