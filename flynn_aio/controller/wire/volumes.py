"""Volumes, as somebody else tells of them."""

from msgspec import Struct, field

from ...errors import ValidationError
from ...model import AppID, JobID, ReleaseID, Time, Volume, VolumeID, VolumeReq, VolumeState, VolumeType, as_uuid
from .checks import check_volumes, one_of


class VolumeRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A volume as a client speaks of it. Made without anything it is Flynn's object of zero values."""

    path: str = ""
    delete_on_stop: bool = False
    keep: bool = False
    id: str = field(default_factory=str)  # what comes of a factory is never omitted, as with `Volume`
    host_id: str = field(default_factory=str)
    type: str = field(default_factory=str)
    state: str = field(default_factory=str)
    app: str = ""
    release: str = ""
    job: str | None = None
    job_type: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    updated_at: Time | None = None
    decommissioned_at: Time | None = None


def new_volume(sent: VolumeRequest, volume_id: str) -> Volume:
    """Check a volume. The id in the path counts where the body has none."""
    one_of(sent.type, VolumeType, field="type")
    one_of(sent.state, VolumeState, field="state")
    for name, value in (("id", sent.id), ("app", sent.app), ("release", sent.release), ("job", sent.job)):
        if value and as_uuid(value) is None:
            raise ValidationError("must be a UUID", field=name)
    check_volumes([VolumeReq(path=sent.path, delete_on_stop=sent.delete_on_stop, keep=sent.keep)], field="path")
    return Volume(
        path=sent.path,
        delete_on_stop=sent.delete_on_stop,
        keep=sent.keep,
        id=VolumeID(as_uuid(sent.id) or volume_id),
        host_id=sent.host_id,
        type=VolumeType(sent.type),
        state=VolumeState(sent.state),
        app=AppID(as_uuid(sent.app) or ""),
        release=ReleaseID(as_uuid(sent.release) or ""),
        job=JobID(as_uuid(sent.job) or "") if sent.job else None,
        job_type=sent.job_type,
        meta=sent.meta,
    )
