"""Calls: what we ask of Podman, each a typed function under a deadline.

Paths, queries and the shapes of answers are here and nowhere else. 4.3 and 5.x answer alike.
"""

from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import trio

from ..errors import EngineError
from ..settings import EngineSettings
from .client import BareStream, Client, Disconnected, Refused, file_pieces
from .containers import APPLIANCE_LABEL, Created, Inspected, Listed

IMAGE_TIMEOUT_S = 1800.0  # a big image over a slow line
REMOVE_TRIES = 2
"""After the death of its conmon the first removal of a container fails and the second works."""

T = TypeVar("T")


@contextmanager
def deadline(doing: str, seconds: float) -> Iterator[None]:
    """Turn more than `seconds` in the block into an `EngineError` that says what was being done."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise EngineError(
            f"cannot {doing}: Podman did not answer within {seconds:g} s; see `flynn-aio doctor`"
        ) from None


class Calls:
    """Podman's API as one appliance uses it."""

    def __init__(self, client: Client, settings: EngineSettings) -> None:
        self._client = client
        self._settings = settings

    async def list_ours(self) -> list[Listed]:
        """Return every container of this appliance, running or not.

        The label alone does not tell: an image of the stack has the labels of the job it was committed from, and
        gives them to any container somebody runs of it by hand. Only ours has the name that belongs to its job.
        """
        filters = {"label": [f"{APPLIANCE_LABEL}={self._settings.appliance}"]}
        rows = await self._list({"all": True, "filters": msgspec.json.encode(filters).decode()})
        return [row for row in rows if self._settings.prefix + row.job in row.names]

    async def list_storage(self) -> list[Listed]:
        """Return every container on the machine, also those that exist in Podman's storage alone."""
        return await self._list({"all": True, "external": True})

    async def _list(self, query: dict[str, object]) -> list[Listed]:
        doing = "list containers"
        with self._deadline(doing):
            answer = await self._client.call("GET", "containers/json", doing=doing, query=query)
        return _decode(answer.body, list[Listed], doing)

    async def inspect(self, id: str) -> Inspected | None:
        """Return what Podman knows of one container; ``None`` when it knows no such container."""
        doing = f"inspect container {id[:12]}"
        with self._deadline(doing):
            try:
                answer = await self._client.call("GET", f"containers/{id}/json", doing=doing)
            except Refused as exc:
                if exc.status == 404:
                    return None
                raise
        return _decode(answer.body, Inspected, doing)

    async def create(self, body: dict[str, Any], *, doing: str) -> str:
        """Create a container and return its id."""
        answer = await self._client.call("POST", "containers/create", doing=doing, json=body)
        return _decode(answer.body, Created, doing).id

    async def start(self, id: str, *, doing: str) -> None:
        await self._client.call("POST", f"containers/{id}/start", doing=doing)

    async def attach(self, id: str, *, doing: str) -> BareStream:
        """Return the bare stream of a container that was created and not yet started.

        Never of one that has ended: Podman would prepare it anew and the stream would not end.
        """
        # without the empty detachKeys, Ctrl-P Ctrl-Q would cut the session
        query = {"stream": True, "stdin": True, "stdout": True, "stderr": True, "detachKeys": ""}
        return await self._client.upgrade(f"containers/{id}/attach", doing=doing, query=query)

    async def resize(self, id: str, *, rows: int, columns: int) -> None:
        """Set the size of a container's terminal."""
        doing = f"resize the terminal of container {id[:12]}"
        with self._deadline(doing):
            query = {"h": rows, "w": columns}
            await self._client.call("POST", f"containers/{id}/resize", doing=doing, query=query)

    async def remove(self, name: str) -> None:
        """Kill and remove a container by name or id; one that is not there is no error."""
        doing = f"remove container {name}"
        with self._deadline(doing):
            for left in reversed(range(REMOVE_TRIES)):
                try:
                    query = {"force": True, "timeout": 0, "v": True}
                    await self._client.call("DELETE", f"containers/{name}", doing=doing, query=query)
                except Refused as exc:
                    if exc.status == 404:
                        return
                    if left == 0:
                        raise
                else:
                    return

    async def image_exists(self, image: str) -> bool:
        doing = f"look for image {image}"
        with self._deadline(doing):
            try:
                await self._client.call("GET", f"images/{quote(image, safe='')}/exists", doing=doing)
            except Refused as exc:
                if exc.status == 404:
                    return False
                raise
        return True

    async def import_image(self, tar: Path, image: str) -> None:
        """Make an image of a root file system."""
        doing = f"import image {image}"
        with deadline(doing, IMAGE_TIMEOUT_S):
            query = {"reference": image}
            await self._client.call("POST", "images/import", doing=doing, query=query, body=file_pieces(tar))

    async def pull_image(self, image: str) -> None:
        """Fetch an image from its registry.

        Not podman-py: it takes a failed pull for a success, because Podman answers 200 before it tries.
        """
        doing = f"pull image {image}"
        with deadline(doing, IMAGE_TIMEOUT_S):
            answer = await self._client.call("POST", "images/pull", doing=doing, query={"reference": image})
        for line in answer.body.splitlines():
            if problem := _decode(line, _PullReport, doing).error:
                raise EngineError(f"cannot {doing}: {problem}")

    async def load_image(self, archive: AsyncIterable[bytes], *, image: str) -> None:
        """Make an image of an archive that names it, as `docker save` writes them."""
        doing = f"make image {image}"
        with deadline(doing, IMAGE_TIMEOUT_S):
            await self._client.call("POST", "images/load", doing=doing, body=archive)

    async def images_of(self, repository: str) -> list[str]:
        """Return the names of the images of one repository."""
        doing = f"list the images of {repository}"
        with self._deadline(doing):
            filters = msgspec.json.encode({"reference": [f"{repository}:*"]}).decode()
            answer = await self._client.call("GET", "images/json", doing=doing, query={"filters": filters})
        found = _decode(answer.body, list[_ListedImage], doing)
        return [name for image in found for name in image.names or [] if name.startswith(f"{repository}:")]

    async def remove_image(self, image: str) -> bool:
        """Remove an image no container is made of; return whether it is gone."""
        doing = f"remove image {image}"
        with self._deadline(doing):
            try:
                await self._client.call("DELETE", f"images/{quote(image, safe='')}", doing=doing)
            except Refused as exc:
                if exc.status not in (404, 409):
                    raise
                return exc.status == 404
        return True

    async def network_subnet(self, name: str) -> str | None:
        """Return the subnet of a network; ``None`` when there is no such network."""
        doing = f"look for the network {name}"
        with self._deadline(doing):
            try:
                answer = await self._client.call("GET", f"networks/{name}/json", doing=doing)
            except Refused as exc:
                if exc.status == 404:
                    return None
                raise
        subnets = _decode(answer.body, _Network, doing).subnets or []
        return subnets[0].subnet if subnets else ""

    async def create_network(self, body: dict[str, Any]) -> None:
        doing = f"make the network {body['name']}"
        with self._deadline(doing):
            await self._client.call("POST", "networks/create", doing=doing, json=body)

    async def remove_network(self, name: str) -> bool:
        """Remove a network; return whether there was one."""
        doing = f"remove the network {name}"
        with self._deadline(doing):
            try:
                await self._client.call("DELETE", f"networks/{name}", doing=doing)
            except Refused as exc:
                if exc.status == 404:
                    return False
                raise
        return True

    @contextmanager
    def _deadline(self, doing: str) -> Iterator[None]:
        with deadline(doing, self._settings.call_timeout_s):
            yield


class _ListedImage(msgspec.Struct):
    names: list[str] | None = msgspec.field(name="RepoTags", default=None)


class _PullReport(msgspec.Struct):
    error: str = ""


class _Subnet(msgspec.Struct):
    subnet: str = ""


class _Network(msgspec.Struct):
    subnets: list[_Subnet] | None = None


def _decode(body: bytes, wanted: type[T], doing: str) -> T:
    try:
        return msgspec.json.decode(body, type=wanted)
    except msgspec.MsgspecError as exc:
        raise Disconnected(f"cannot {doing}: Podman's answer is not what it should be ({exc})") from exc
