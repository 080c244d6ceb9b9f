"""Volume: a directory of an app that outlives the job it is attached to."""

from enum import StrEnum

from msgspec import Struct, field

from .ids import AppID, JobID, ReleaseID, VolumeID
from .json import Time


class VolumeType(StrEnum):
    """What a volume is made of. Ours are `data`; the others are image layers of Flynn."""

    DATA = "data"
    SQUASHFS = "squashfs"
    EXT2 = "ext2"


class VolumeState(StrEnum):
    """`pending` has no directory yet; the directory of a `destroyed` one is gone, or about to be."""

    PENDING = "pending"
    CREATED = "created"
    DESTROYED = "destroyed"


class Volume(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A volume as the API shows it.

    A job gets the volumes that an earlier job of the same app, release and type had at the same
    path: a crash loses nothing, a new release begins empty unless its process type says `keep`.

    Attributes:
        path: where jobs see it.
        delete_on_stop: whether it ends with the first job that has it.
        keep: whether it is for each release that asks to keep what is at this path; `release` is the first.
        job: the job that has it now; of a destroyed one, the last that had.
        decommissioned_at: since when no new job is given it. Its data stays.

    Source: `controller-api.md` §3, `jobs.md` §9.
    """

    path: str = ""
    delete_on_stop: bool = False
    keep: bool = False
    id: VolumeID
    host_id: str
    type: VolumeType
    state: VolumeState
    app: AppID = AppID("")
    release: ReleaseID = ReleaseID("")
    job: JobID | None = None
    job_type: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    created_at: Time | None = None
    updated_at: Time | None = None
    decommissioned_at: Time | None = None
