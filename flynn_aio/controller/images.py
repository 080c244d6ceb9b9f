"""The image service: layers in, an artifact out. What `flynn docker push` speaks to, behind `images.D`.

Source: `controller-api.md` §10.1; Flynn `tarreceive/main.go`.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from ..errors import EngineError, FlynnError, NotFound, StartError, ValidationError
from ..images import LayerError
from ..model import Artifact, ImageManifest, image_artifact, image_layers, is_layer_id
from ..store import changes
from .body import read_json, read_pieces
from .request import Parts, Reply, Request, Stream, reply
from .shape import Param

logger = logging.getLogger(__name__)

RUNNER = Param("runner", "the uri of the runner image it ran on, so that it gets the one of the same language here")
PIECE_WITHIN_S = 300.0
"""Between two pieces of a layer; a client that is silent for longer has gone."""


async def get_layer(parts: Parts, request: Request) -> Reply:
    """Return what is known of a layer. It then stays for a while, so a client need not send it."""
    layer = request.params["layer"]
    found = await parts.layers.find(layer) if is_layer_id(layer) else None
    if found is None:
        raise NotFound(f"layer {layer!r} is not here")
    return reply(found)


async def get_tar(parts: Parts, request: Request) -> Stream:
    """Send a layer: the tar as it was sent, not in gzip. Its SHA-256 is its id."""
    layer = request.params["layer"]
    size = await parts.layers.size(layer) if is_layer_id(layer) else None
    if size is None:
        raise NotFound(f"layer {layer!r} is not here")
    length = (b"content-length", str(size).encode())
    return Stream("application/tar", parts.layers.open_tar(layer), headers=(length,), is_one=True)


async def create_layer(parts: Parts, request: Request) -> Reply:
    """Take a layer: the body is its tar, whatever its content type says.

    A layer that is refused in the middle is still read to its end: most clients read no answer while they send, and
    would only see the connection break.
    """
    layer = request.params["layer"]
    async with aclosing(read_pieces(request, within_s=PIECE_WITHIN_S)) as pieces:
        try:
            if not is_layer_id(layer):
                raise ValidationError(f"must be the SHA-256 of a tar in hex, not {layer!r}", field="layer")
            return reply(await parts.layers.receive(layer, pieces))
        except (ValidationError, LayerError):
            await _discard(pieces, at_most=parts.layers.max_bytes)
            raise


async def get_slug(parts: Parts, request: Request) -> Stream:
    """Send a slug, what `git push` made of an app: a tar in gzip."""
    slug = request.params["slug"]
    if not await parts.slugs.is_there(slug):
        raise NotFound(f"slug {slug!r} is not here")
    return Stream("application/gzip", parts.slugs.open_tar(slug), is_one=True)


async def create_slug(parts: Parts, request: Request) -> Reply:
    """Take a slug, a tar in gzip, and create the two artifacts of a release of it: the runner and the slug.

    A slug no release is made of within an hour goes again.
    """
    async with aclosing(read_pieces(request, within_s=PIECE_WITHIN_S)) as pieces:
        try:
            return reply(await parts.slugs.receive(pieces, runner=request.first("runner")))
        except FlynnError:
            await _discard(pieces, at_most=parts.layers.max_bytes)
            raise


async def _discard(pieces: AsyncIterator[bytes], *, at_most: int) -> None:
    """Read what still comes, but not for ever."""
    discarded = 0
    async for piece in pieces:
        discarded += len(piece)
        if discarded > at_most:
            return


async def create_artifact(parts: Parts, request: Request) -> Reply:
    """Create the artifact of an image whose layers are here, or return the one of the same manifest.

    The image is made at once: who pushed something no job can run is told so now, and a deployment need not wait.
    """
    artifact = image_artifact(_checked(read_json(request, ImageManifest)))
    await _check_layers(parts, artifact)
    try:
        await parts.engine.make_image(image_layers([artifact]))
    except StartError as exc:
        raise ValidationError(f"cannot be used: {exc.message}", field="rootfs") from exc
    except EngineError as exc:
        logger.warning("image not made yet, its first job makes it", extra={"uri": artifact.uri, "why": exc.message})
    async with parts.layers.settling:  # so that no layer goes between the look and the row that refers to it
        await _check_layers(parts, artifact)
        created: Artifact = await parts.store.transact(lambda tx: changes.create_artifact(tx, artifact))
        await parts.layers.let_go(artifact.layers)
    return reply(created)


async def _check_layers(parts: Parts, artifact: Artifact) -> None:
    if missing := await parts.layers.missing(artifact.layers):
        raise ValidationError(f"names layer {missing[0]!r}, which is not here; push it first", field="rootfs")


def _checked(manifest: ImageManifest) -> ImageManifest:
    if not manifest.layers:
        raise ValidationError("must name at least one layer", field="rootfs")
    for layer in manifest.layers:
        if not is_layer_id(layer):
            raise ValidationError(f"names layer {layer!r}, which is no SHA-256 in hex", field="rootfs")
    for name, entrypoint in manifest.entrypoints.items():
        if any(not key or "=" in key for key in entrypoint.env):
            raise ValidationError("must not have an empty name or one with `=`", field=f"entrypoints.{name}.env")
    return manifest
