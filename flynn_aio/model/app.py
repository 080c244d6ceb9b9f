"""App: a name, its settings, and the release that is current."""

from enum import StrEnum

from msgspec import Struct, field

from .ids import AppID, ReleaseID
from .json import Time


class Strategy(StrEnum):
    """How a deployment moves from the old release to the new one."""

    ALL_AT_ONCE = "all-at-once"
    ONE_BY_ONE = "one-by-one"
    ONE_DOWN_ONE_UP = "one-down-one-up"
    IN_BATCHES = "in-batches"
    SIRENIA = "sirenia"
    DISCOVERD_META = "discoverd-meta"


DEFAULT_DEPLOY_TIMEOUT_S = 120
GC_META = "gc.max_inactive_slug_releases"
GC_DEFAULT = "10"
SYSTEM_META = "flynn-system-app"
CRITICAL_META = "flynn-system-critical"


class App(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An app as the API shows it.

    Attributes:
        meta: free text pairs; `SYSTEM_META`, `GC_META` and `flynn-deploy-batch-size` have meaning.
        deploy_timeout: seconds each step of a deployment may take.
        release: the current release; ``None`` before the first.
    """

    id: AppID = AppID("")
    name: str = ""
    meta: dict[str, str]
    strategy: Strategy | None = None
    release: ReleaseID | None = None
    deploy_timeout: int = 0
    created_at: Time | None = None
    updated_at: Time | None = None

    @property
    def is_system(self) -> bool:
        return self.meta.get(SYSTEM_META) == "true"


class AppDeletion(Struct, frozen=True, kw_only=True):
    """What went with an app. Ids; the lists are what Flynn's client counts and prints."""

    app: AppID
    deleted_routes: list[dict[str, object]] = field(default_factory=list)
    deleted_resources: list[dict[str, object]] = field(default_factory=list)
    deleted_releases: list[dict[str, object]] = field(default_factory=list)


class AppDeletionEvent(Struct, frozen=True, kw_only=True):
    """The end of a deletion; `error` is empty when all went well."""

    app_deletion: AppDeletion | None
    error: str = ""
