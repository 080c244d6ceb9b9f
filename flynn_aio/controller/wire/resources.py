"""Providers, and resources that somebody else made."""

import re

from msgspec import Raw, Struct, field

from ...errors import ValidationError
from ...model import Provider, decode
from ...providers import Place

_PROVIDER_NAME = re.compile(r"[A-Za-z\d._-]{1,100}")


class ProviderRequest(Struct, frozen=True, kw_only=True):
    name: str = ""
    url: str = ""


def new_provider(sent: ProviderRequest) -> Provider:
    """Check a provider. Whether anybody is there is seen when it is asked for something."""
    if not _PROVIDER_NAME.fullmatch(sent.name):
        raise ValidationError("must be 1 to 100 letters, digits, dots, hyphens and underscores", field="name")
    if not sent.url:
        raise ValidationError("must not be blank", field="url")
    try:
        Place.parse(sent.url)
    except ValueError as error:
        raise ValidationError(str(error), field="url") from error
    return Provider(name=sent.name, url=sent.url)


class ResourceRequest(Struct, frozen=True, kw_only=True):
    """The body of a resource that somebody else made; `apps` are ids or names."""

    external_id: str = ""
    env: dict[str, str] = field(default_factory=dict)
    apps: list[str] = field(default_factory=list)


class _Config(Struct, frozen=True):
    config: Raw = Raw(b"null")


def raw_config(body: bytes) -> bytes:
    """Return the config of a `ResourceReq` byte for byte, as Flynn passes it on; ``{}`` for none.

    Not even a null in it is ours to drop.
    """
    config = bytes(decode(body, _Config).config)
    return b"{}" if config == b"null" else config


def new_resource(sent: ResourceRequest) -> ResourceRequest:
    """Check what is told about a resource that somebody else made."""
    if not sent.external_id:
        raise ValidationError("must not be blank", field="external_id")
    if any(not name or "=" in name for name in sent.env):
        raise ValidationError("must not have an empty name or one with `=`", field="env")
    return sent
