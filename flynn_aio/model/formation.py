"""Formation: how many of each process type of a release are wanted. And the request to change it."""

from enum import StrEnum

from msgspec import Struct, field

from .app import App
from .artifact import Artifact
from .ids import AppID, ReleaseID, ScaleRequestID
from .json import Time
from .release import Release


class Formation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`processes` maps a type to how many of it are wanted; `tags` a type to host tags."""

    app: AppID = AppID("")
    release: ReleaseID = ReleaseID("")
    processes: dict[str, int] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    created_at: Time | None = None
    updated_at: Time | None = None

    @property
    def total(self) -> int:
        return sum(self.processes.values())


class ScaleState(StrEnum):
    PENDING = "pending"
    CANCELLED = "cancelled"
    COMPLETE = "complete"


class ScaleRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A wish to change a formation, and how far it is.

    `new_processes` and `new_tags` are the change as it was asked for, not the merged result.
    The first fields and the two times are never omitted on the wire, so they have no default.
    """

    id: ScaleRequestID
    app: AppID
    release: ReleaseID
    state: ScaleState
    old_processes: dict[str, int] | None = None
    new_processes: dict[str, int] | None = None
    old_tags: dict[str, dict[str, str]] | None = None
    new_tags: dict[str, dict[str, str]] | None = None
    created_at: Time | None
    updated_at: Time | None


class DeprecatedScale(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Payload of the old `scale` event, one beside each scale request."""

    prev_processes: dict[str, int] | None = None
    processes: dict[str, int] | None
    release: ReleaseID


class ExpandedFormation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A formation with all it refers to: what the scheduler needs to start its jobs."""

    app: App
    release: Release
    artifacts: list[Artifact] = field(default_factory=list)
    processes: dict[str, int] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    updated_at: Time | None
    deleted: bool = False
    pending_scale_request: ScaleRequest | None = None
