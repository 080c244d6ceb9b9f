"""Providers, the resources they made, and those they are making."""

from dataclasses import dataclass

from sqlite_utils import Database

from ...model import AppID, Provider, ProviderID, Resource, ResourceID, Time, as_uuid
from .. import rows
from .sql import fetch_all, fetch_one


def provider(db: Database, id_or_name: str) -> Provider:
    """Return a provider by id (when the text is one) or by name."""
    sql = "SELECT doc FROM providers WHERE id = ? OR name = ? ORDER BY id != ?1"
    as_id = as_uuid(id_or_name)
    return rows.provider(fetch_one(db, "provider", id_or_name, sql, (as_id, id_or_name))[0])


def providers(db: Database) -> list[Provider]:
    return [rows.provider(text) for (text,) in fetch_all(db, "SELECT doc FROM providers ORDER BY seq DESC")]


_RESOURCES = """SELECT doc, (SELECT json_group_array(app) FROM
                             (SELECT app FROM app_resources WHERE resource = resources.id ORDER BY seq))
                FROM resources"""


def resource(db: Database, provider_id: ProviderID, resource_id: str) -> Resource:
    """Return a provider's resource."""
    sql = f"{_RESOURCES} WHERE id = ? AND provider = ?"
    return rows.resource(fetch_one(db, "resource", resource_id, sql, (resource_id, provider_id)))


def resources(db: Database, provider_id: ProviderID | None = None) -> list[Resource]:
    """Return a provider's resources, or those of every provider."""
    where, values = ("WHERE provider = ?", (provider_id,)) if provider_id is not None else ("", ())
    return [rows.resource(row) for row in fetch_all(db, f"{_RESOURCES} {where} ORDER BY seq DESC", values)]


def app_resources(db: Database, app_id: AppID) -> list[Resource]:
    """Return what an app uses, alone or together with others."""
    sql = f"{_RESOURCES} WHERE id IN (SELECT resource FROM app_resources WHERE app = ?) ORDER BY seq DESC"
    return [rows.resource(row) for row in fetch_all(db, sql, (app_id,))]


def own_resources(db: Database, app_id: AppID) -> list[Resource]:
    """Return what no other app uses: it goes when the app goes."""
    return [resource for resource in app_resources(db, app_id) if resource.apps == [app_id]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioning:
    """A provider was asked for a resource, and that is not over.

    Attributes:
        id: what the resource will be called.
        external_id: set when the resource was made and nobody can have it: it must be given back.
    """

    id: ResourceID
    provider: ProviderID
    external_id: str
    started_at: Time


def provisionings(db: Database) -> list[Provisioning]:
    """Return what was asked of providers and is not over, oldest first."""
    found = fetch_all(db, "SELECT id, provider, external_id, started_at FROM provisionings ORDER BY started_at, id")
    return [
        Provisioning(id=ResourceID(made), provider=provider_id, external_id=external, started_at=Time.parse(started))
        for made, provider_id, external, started in found
    ]
