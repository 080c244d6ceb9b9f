"""Having resources made and given back, so that none is ever lost: between us and a provider there is no transaction.

What a provider is asked is written down first. When the resource is stored, that line goes in the same transaction.
When it cannot be stored any more, since an app was deleted meanwhile, it is given back. What a crash leaves of this is
taken up by `resume` at the next start.

Source: `controller-api.md` §9.4; Flynn `controller/resource.go`, `controller/worker/app_deletion`.
"""

import logging
from collections.abc import Sequence
from functools import partial

import trio

from ..errors import Conflict, FlynnError, NotFound
from ..model import AppDeletion, AppID, Provider, Resource, ResourceID
from ..providers import ProviderError
from ..store import Database, Transaction, changes, queries
from .request import Parts

logger = logging.getLogger(__name__)

PATIENCE_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Pauses between tries after a start, when the provider itself may be on its way up; nobody is waiting then."""


async def provision(parts: Parts, provider: Provider, apps: Sequence[str], config: bytes) -> Resource:
    """Have a resource made for apps, each an id or a name, and keep it.

    Args:
        config: a JSON object for the provider.

    Raises:
        ValidationError: one of the apps does not exist, or no longer.
        ProviderError: the provider did not make it.

    Cancellation: `resume` tells of it at the next start.
    """
    made, app_ids = await parts.store.transact(lambda tx: changes.begin_provisioning(tx, provider.id, apps))
    fields = {"provider": provider.name, "resource": made, "apps": app_ids}
    try:
        answer = await parts.providers.provision(provider, config)
    except ProviderError as error:
        say = logger.error if error.in_doubt else logger.warning
        say("a resource was not provisioned", extra=fields | {"in_doubt": error.in_doubt, "error": str(error)})
        await parts.store.transact(lambda tx: changes.end_provisioning(tx, made))
        raise
    resource = Resource(id=made, provider=provider.id, external_id=answer.id, env=dict(answer.env), apps=app_ids)
    try:
        return await parts.store.transact(lambda tx: changes.create_resource(tx, resource))
    except Conflict:  # the provider gave out what somebody has: to give that back would take it from them
        logger.exception("a provider gave out one resource twice", extra=fields | {"external_id": answer.id})
        await parts.store.transact(lambda tx: changes.end_provisioning(tx, made))
        raise
    except FlynnError as error:
        logger.warning("a resource has nobody to go to", extra=fields | {"error": str(error)})
        await _give_back(parts, provider, made, answer.id)
        raise


async def _give_back(
    parts: Parts, provider: Provider, made: ResourceID, external_id: str, *, pauses_s: Sequence[float] = ()
) -> None:
    """Return what nobody can have. When that fails, the next start tries again."""
    fields = {"provider": provider.name, "external_id": external_id}
    try:
        await parts.store.transact(lambda tx: changes.orphan_provisioning(tx, made, external_id))
    except FlynnError as error:  # the disk is full, say; it is given back all the same
        logger.warning("an orphaned resource could not be noted", extra=fields | {"error": str(error)})
    for pause_s in (*pauses_s, None):
        try:
            await parts.providers.deprovision(provider, external_id)
            await parts.store.transact(lambda tx: changes.end_provisioning(tx, made))
        except FlynnError as error:
            if pause_s is None:
                logger.error("an orphaned resource is left at its provider", extra=fields | {"error": str(error)})
                return
            await trio.sleep(pause_s)
        else:
            return


async def deprovision(parts: Parts, provider: Provider, resource: Resource) -> Resource:
    """Give a resource back to its provider and forget it; return it as it was.

    Raises:
        ProviderError: the provider still has it, and so have the apps.

    Cancellation: it can be asked for again, also if the provider has removed it already.
    """
    try:
        await parts.providers.deprovision(provider, resource.external_id)
    except ProviderError as error:
        fields = {"provider": provider.name, "resource": resource.id, "error": str(error)}
        logger.warning("a resource was not deprovisioned", extra=fields)
        way_out = f"`flynn resource remove --forget {provider.name} {resource.id}`"
        raise ProviderError(f"{error}; if it is gone for good: {way_out}", in_doubt=error.in_doubt) from error
    try:
        return await parts.store.transact(lambda tx: changes.delete_resource(tx, resource))
    except NotFound:
        return resource  # two asked for the same


async def delete_app(parts: Parts, app_id: AppID, *, pauses_s: Sequence[float] = ()) -> bool:
    """Give back what only this app uses, then delete the app; the `app_deletion` event tells how it ended.

    In that order, since it is the providers who can fail: then the app is still there, and whole.

    Args:
        pauses_s: how long to wait before each further try when a provider fails.

    Returns:
        Whether it is gone. Otherwise a provider would not take something back, and the app keeps what it still has.

    Cancellation: `resume` goes on at the next start.
    """
    gone: list[Resource] = []
    waits = iter(pauses_s)

    def change(tx: Transaction) -> AppDeletion | None:
        late = queries.own_resources(tx.db, app_id)  # it got another one meanwhile
        return None if late else changes.delete_app(tx, app_id, deprovisioned=gone)

    deletion = None
    while deletion is None:
        try:
            for provider, resource in await parts.store.read(lambda db: _own_resources(db, app_id)):
                gone.append(await deprovision(parts, provider, resource))
            deletion = await parts.store.transact(change)
        except ProviderError as error:
            if (pause_s := next(waits, None)) is None:
                failed = partial(changes.fail_app_deletion, app_id=app_id, error=str(error), deprovisioned=gone)
                await parts.store.transact(failed)
                return False
            await trio.sleep(pause_s)
    return True


async def delete_app_in_background(parts: Parts, app_id: AppID, *, pauses_s: Sequence[float] = ()) -> None:
    """Delete an app as `delete_app` does; a failure is in the log, and the next start goes on."""
    try:
        if await delete_app(parts, app_id, pauses_s=pauses_s):
            await forget_output(parts, app_id)
    except FlynnError as error:
        logger.error("an app was not deleted; the next start goes on", extra={"app": app_id, "error": str(error)})


async def forget_output(parts: Parts, app_id: AppID) -> None:
    """Remove what a deleted app has printed."""
    try:
        await parts.logs.forget(app_id)
    except OSError:
        logger.warning("the logs of a deleted app are still there; the next start removes them", exc_info=True)


def _own_resources(db: Database, app_id: AppID) -> list[tuple[Provider, Resource]]:
    return [(queries.provider(db, resource.provider), resource) for resource in queries.own_resources(db, app_id)]


async def resume(parts: Parts) -> None:
    """Take up what the last run left unfinished."""

    def query(db: Database) -> tuple[list[tuple[Provider, queries.Provisioning]], list[AppID]]:
        left = [(queries.provider(db, one.provider), one) for one in queries.provisionings(db)]
        return left, queries.app_deletions(db)

    try:
        provisionings, deletions = await parts.store.read(query)
        for app_id in deletions:
            parts.background.start_soon(partial(delete_app_in_background, parts, app_id, pauses_s=PATIENCE_S))
        for provider, left in provisionings:
            await _resume_provisioning(parts, provider, left)
    except FlynnError as error:
        logger.error("what providers were asked before is not looked after", extra={"error": str(error)})


async def _resume_provisioning(parts: Parts, provider: Provider, left: queries.Provisioning) -> None:
    if left.external_id:
        await _give_back(parts, provider, left.id, left.external_id, pauses_s=PATIENCE_S)
        return
    fields = {"provider": provider.name, "resource": left.id, "asked_at": str(left.started_at)}
    logger.error("a provisioning was cut off: the provider may have made something nobody uses", extra=fields)
    await parts.store.transact(lambda tx: changes.end_provisioning(tx, left.id))
