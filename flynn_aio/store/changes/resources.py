"""Changes to providers and resources.

A provider is asked outside of any transaction. What it was asked is written down before (`begin_provisioning`) and
crossed out together with what came of it, so that neither a crash nor an app deleted meanwhile leaves a database
that nobody knows of.

Source: `controller-api.md` §5.7, §9.4; Flynn `controller/data/resource.go`, `provider.go`.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ...errors import Conflict, NotFound, ObjectExists, ValidationError
from ...model import AppID, Provider, ProviderID, Resource, ResourceID
from .. import queries, rows
from ..transaction import Transaction
from .builtin import refuse_builtin


def create_provider(tx: Transaction, *, name: str, url: str) -> Provider:
    """Register a provider.

    Raises:
        ObjectExists: the name is taken.
    """
    if tx.execute("SELECT 1 FROM providers WHERE name = ?", (name,)):
        raise ObjectExists(f'provider "{name}" already exists')
    created = Provider(id=ProviderID(tx.new_id()), url=url, name=name, created_at=tx.now, updated_at=tx.now)
    tx.execute("INSERT INTO providers (id, name, doc) VALUES (?, ?, ?)", (created.id, name, rows.doc(created)))
    tx.emit("provider", created.id, created)
    return created


def delete_provider(tx: Transaction, provider: Provider) -> Provider:
    """Forget a provider; return it as it was.

    Raises:
        Conflict: something it made is still known, or is being made.
    """
    for table, what in (("resources", "resource"), ("provisionings", "provisioning")):
        if found := tx.execute(f"SELECT id FROM {table} WHERE provider = ?", (provider.id,)):
            raise Conflict(f"provider {provider.name} still has {what} {found[0][0]}")
    deleted = queries.provider(tx.db, provider.id)
    tx.execute("DELETE FROM providers WHERE id = ?", (deleted.id,))
    tx.emit("provider_deletion", deleted.id, deleted)
    return deleted


def begin_provisioning(tx: Transaction, provider: ProviderID, apps: Iterable[str]) -> tuple[ResourceID, list[AppID]]:
    """Write down that a provider is about to be asked; return what the resource will be called, and the apps' ids.

    Raises:
        NotFound: the provider was deleted meanwhile.
        ValidationError: one of the apps, each an id or a name, does not exist.
    """
    queries.provider(tx.db, provider)
    found = _existing_apps(tx, apps)
    made = ResourceID(tx.new_id())
    tx.execute(
        "INSERT INTO provisionings (id, provider, external_id, started_at) VALUES (?, ?, '', ?)",
        (made, provider, tx.now.sortable),
    )
    return made, found


def end_provisioning(tx: Transaction, made: ResourceID) -> None:
    """Cross out what a provider was asked: it made nothing, or has it back."""
    tx.execute("DELETE FROM provisionings WHERE id = ?", (made,))


def orphan_provisioning(tx: Transaction, made: ResourceID, external_id: str) -> None:
    """Note that a provider made something which nobody can have, and which must be given back."""
    tx.execute("UPDATE provisionings SET external_id = ? WHERE id = ?", (external_id, made))


def create_resource(tx: Transaction, resource: Resource) -> Resource:
    """Store what a provider made, for its apps, each given by id or name.

    The provisioning of that id is over then, if this was one. Telling the same twice is well.

    Raises:
        ValidationError: one of the apps does not exist.
        ObjectExists: the id stands for something else.
        Conflict: the provider's id for it is one we know already.
    """
    apps = _existing_apps(tx, resource.apps)
    known = tx.execute("SELECT provider FROM resources WHERE id = ?", (resource.id,))
    if known:
        return _same(queries.resource(tx.db, known[0][0], resource.id), replace(resource, apps=apps))
    same = tx.execute(
        "SELECT id FROM resources WHERE provider = ? AND external_id = ?", (resource.provider, resource.external_id)
    )
    if same:
        raise Conflict(f"{resource.external_id!r} of this provider is resource {same[0][0]} already")
    created = replace(resource, apps=apps, created_at=tx.now)
    tx.execute(
        "INSERT INTO resources (id, provider, external_id, doc) VALUES (?, ?, ?, ?)",
        (created.id, created.provider, created.external_id, rows.doc(replace(created, apps=[]))),
    )
    for app in apps:
        tx.execute("INSERT INTO app_resources (app, resource) VALUES (?, ?)", (app, created.id))
    end_provisioning(tx, created.id)
    _emit(tx, "resource", created)
    return created


def _same(known: Resource, told: Resource) -> Resource:
    if replace(known, created_at=None) != replace(told, created_at=None):
        raise ObjectExists(f'resource "{told.id}" already exists')
    return known


def delete_resource(tx: Transaction, resource: Resource) -> Resource:
    """Forget a resource that its provider has taken back; return it as it was.

    Raises:
        NotFound: somebody else was faster.
    """
    deleted = queries.resource(tx.db, resource.provider, resource.id)
    tx.execute("DELETE FROM resources WHERE id = ?", (deleted.id,))
    tx.execute("DELETE FROM app_resources WHERE resource = ?", (deleted.id,))
    _emit(tx, "resource_deletion", deleted)
    return deleted


def add_resource_app(tx: Transaction, resource: Resource, app: AppID) -> Resource:
    """Let one more app share a resource. For one that does already, nothing changes."""
    before = queries.resource(tx.db, resource.provider, resource.id)
    if app in before.apps:
        return before
    tx.execute("INSERT INTO app_resources (app, resource) VALUES (?, ?)", (app, before.id))
    shared = replace(before, apps=[*before.apps, app])
    tx.emit("resource", shared.id, shared, app=app)
    return shared


def remove_resource_app(tx: Transaction, resource: Resource, app: AppID) -> Resource:
    """Let an app share a resource no longer. The resource stays, even without any app.

    Raises:
        NotFound: the app did not share it.
    """
    before = queries.resource(tx.db, resource.provider, resource.id)
    if app not in before.apps:
        raise NotFound(f"app {app!r} does not use resource {before.id!r}")
    tx.execute("DELETE FROM app_resources WHERE resource = ? AND app = ?", (before.id, app))
    left = replace(before, apps=[other for other in before.apps if other != app])
    tx.emit("resource_app_deletion", left.id, left, app=app)
    return left


def begin_app_deletion(tx: Transaction, app: AppID) -> bool:
    """Write down that an app goes once its resources are given back; tell whether that was news.

    Raises:
        ValidationError: it is a part of this process.
    """
    refuse_builtin(tx, app, "deleted")
    return bool(tx.execute("INSERT INTO app_deletions (app) VALUES (?) ON CONFLICT DO NOTHING RETURNING 1", (app,)))


def end_app_deletion(tx: Transaction, app: AppID) -> None:
    """Cross out that an app is being deleted."""
    tx.execute("DELETE FROM app_deletions WHERE app = ?", (app,))


def _existing_apps(tx: Transaction, apps: Iterable[str]) -> list[AppID]:
    """Return the ids of apps, each once, in the order given."""
    found: dict[AppID, None] = {}
    for app in apps:
        try:
            found[queries.app(tx.db, app).id] = None
        except NotFound as error:
            raise ValidationError(f"contains {app!r}, which does not exist", field="apps") from error
    return list(found)


def _emit(tx: Transaction, object_type: str, resource: Resource) -> None:
    """Emit an event to each app of a resource; to nobody in particular when it has none."""
    told: Sequence[AppID | None] = resource.apps or [None]
    for app in told:
        tx.emit(object_type, resource.id, resource, app=app)
