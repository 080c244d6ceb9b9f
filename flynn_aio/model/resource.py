"""Provider and resource: who makes databases and their like, and what apps got from them.

Source: `controller-api.md` §3, `resources.md` §1; Flynn `controller/types`.
"""

from typing import Any

from msgspec import Struct, field

from .ids import AppID, ProviderID, ResourceID
from .json import Time

DATABASE_PROVIDERS = ("postgres", "mysql", "mongodb", "redis")
"""The providers Flynn has of itself; its clients know them by these names."""


class Provider(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that makes resources when it is asked over HTTP.

    Attributes:
        url: where it is asked: POST makes a resource, DELETE removes one.
        name: unique; stands for the id wherever the API takes one.
    """

    id: ProviderID = ProviderID("")
    url: str = ""
    name: str = ""
    created_at: Time | None = None
    updated_at: Time | None = None


class Resource(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provider made: a database, say.

    Attributes:
        external_id: the provider's own name of it.
        env: what an app needs to know to use it. It does so once a release carries it; clients see to that.
        apps: those who share it, in the order in which they came.
    """

    id: ResourceID = ResourceID("")
    provider: ProviderID = ProviderID("")
    external_id: str = ""
    env: dict[str, str] = field(default_factory=dict)
    apps: list[AppID] = field(default_factory=list)
    created_at: Time | None = None


class ResourceReq(Struct, frozen=True, kw_only=True):
    """A wish for a resource.

    Attributes:
        apps: ids or names of the apps that will share it.
        config: any JSON object; the provider gets it as it is, and ``{}`` for none.
    """

    apps: list[str] = field(default_factory=list)
    config: dict[str, Any] | None = None
