"""Questions about the appliance itself."""

import msgspec
import trio

from ..model import encode
from .request import EMPTY, JSON, Parts, Reply, Request, StatusReply


async def ping(parts: Parts, request: Request) -> Reply:
    """Show that somebody answers."""
    return EMPTY


async def status(parts: Parts, request: Request) -> Reply:
    """Show how the appliance is; an unhealthy one says so with its status as well."""
    found = await parts.status()
    body = msgspec.json.format(encode(StatusReply(data=found)), indent=2) + b"\n"
    return Reply(body, JSON, 200 if found.status == "healthy" else 500)


async def ca_certificate(parts: Parts, request: Request) -> Reply:
    """Return the authority that signed the cluster's certificate, for git to trust."""
    pem = await trio.Path(parts.settings.ca_certificate).read_bytes()
    return Reply(pem, "application/x-x509-ca-cert")
