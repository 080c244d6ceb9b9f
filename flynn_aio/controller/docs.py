"""The description of this API, for programs and for people."""

import trio

from .request import JSON, Parts, Reply, Request


async def openapi(parts: Parts, request: Request) -> Reply:
    """Describe every endpoint as OpenAPI 3.1. There is nothing of the cluster in it."""
    found = await trio.to_thread.run_sync(parts.documents)
    return Reply(found.openapi, JSON)


async def page(parts: Parts, request: Request) -> Reply:
    """Show this page, made from `/openapi.json`."""
    found = await trio.to_thread.run_sync(parts.documents)
    headers = (
        (b"content-security-policy", found.policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )
    return Reply(found.page, "text/html; charset=utf-8", headers=headers)
