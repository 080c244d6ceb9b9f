"""Apps, and what an update of one may change."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct, field

from ...errors import ValidationError
from ...model import APP_NAME_MAX, App, AppID, Strategy, as_uuid, is_app_name
from .checks import INT32_MAX, one_of

T = TypeVar("T")
_APP_NAME_PATTERN = r"^[a-z\d]+(-[a-z\d]+)*$"
_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


class AppRequest(Struct, frozen=True, kw_only=True):
    id: str = ""
    name: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    strategy: str = ""
    deploy_timeout: int = 0


def new_app(sent: AppRequest) -> App:
    if sent.id and as_uuid(sent.id) is None:
        raise ValidationError("must be a UUID", field="id")
    if len(sent.name) > APP_NAME_MAX:
        raise ValidationError(f"String length must be shorter than {APP_NAME_MAX} characters.", field="name")
    if sent.name and not is_app_name(sent.name):
        raise ValidationError(f'String must match the pattern: "{_APP_NAME_PATTERN}".', field="name")
    return App(
        id=AppID(as_uuid(sent.id) or ""),
        name=sent.name,
        meta=sent.meta,
        strategy=_strategy(sent.strategy) if sent.strategy else None,
        deploy_timeout=_deploy_timeout(sent.deploy_timeout) if sent.deploy_timeout else 0,
    )


class AppUpdate(Struct, frozen=True, kw_only=True):
    """What an update changes; ``None`` leaves it as it is."""

    meta: dict[str, str] | None = None
    strategy: Strategy | None = None
    deploy_timeout: int | None = None


class AppUpdateRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An update of an app; what is left out stays as it is.

    Attributes:
        meta: replaces all of what was there.
        deploy_timeout: seconds, at least 1.
        id, name, protected, release, created_at, updated_at: may be sent, and are ignored.
    """

    id: object = None
    name: object = None
    protected: object = None
    meta: dict[str, str] | None = None
    strategy: Strategy | None = None
    release: object = None
    deploy_timeout: int | None = None
    created_at: object = None
    updated_at: object = None


def app_update(sent: Mapping[str, object]) -> AppUpdate:
    """Check an update key by key. Most of an app may be sent, and is ignored; an unknown key may not."""
    for key in sent:
        if key not in AppUpdateRequest.__struct_fields__:
            raise ValidationError(f'Additional properties aren\'t allowed, found "{key}" as one of its keys')
    meta, strategy, timeout = sent.get("meta"), sent.get("strategy"), sent.get("deploy_timeout")
    return AppUpdate(
        meta=None if meta is None else {k: _of(str, v, "meta") for k, v in _of(dict, meta, "meta").items()},
        strategy=None if strategy is None else _strategy(_of(str, strategy, "strategy")),
        deploy_timeout=None if timeout is None else _deploy_timeout(_of(int, timeout, "deploy_timeout")),
    )


def _of(wanted: type[T], value: object, name: str) -> T:
    if type(value) is not wanted:
        got = _JSON_TYPES.get(type(value), "null")
        raise ValidationError(f"Value must be one of these types: [{_JSON_TYPES[wanted]}]. Got {got}", field=name)
    return value


def _strategy(text: str) -> Strategy:
    return Strategy(one_of(text, Strategy, field="strategy"))


def _deploy_timeout(seconds: int) -> int:
    if not 1 <= seconds <= INT32_MAX:
        raise ValidationError("must be a number of seconds, at least 1", field="deploy_timeout")
    return seconds
