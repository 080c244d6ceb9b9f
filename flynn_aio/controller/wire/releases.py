"""Releases and their process types."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from ...errors import ValidationError
from ...model import AppID, ArtifactID, PortService, ProcessType, Release, ReleaseID, VolumeReq, as_uuid, convert, plain
from .checks import MAX_PORT, check_volumes
from .supervision import check_supervision

MAX_TYPES = 256
"""Process types of a release. People have a handful; each is looked at whenever the app's jobs are."""
MAX_TYPE_CHARS = 100
"""Of the name of a process type, which is part of labels and log lines."""


class PortRequest(Struct, frozen=True, kw_only=True):
    port: int = 0
    proto: str = "tcp"
    service: PortService | None = None


class ProcessRequest(Struct, frozen=True, kw_only=True):
    """The part of a process type that is not yet as we keep it: ports may lack fields, old names are folded."""

    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    ports: list[PortRequest] = field(default_factory=list)
    volumes: list[VolumeReq] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    data: bool = False


class ReleaseRequest(Struct, frozen=True, kw_only=True):
    id: str = ""
    app_id: str = ""
    artifacts: list[str] = field(default_factory=list)
    artifact: str = ""
    env: dict[str, str] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)


def new_release(sent: ReleaseRequest) -> Release:
    """Check a release and bring its process types up to date."""
    if len(sent.processes) > MAX_TYPES:
        raise ValidationError(
            f"must have at most {MAX_TYPES} process types, not {len(sent.processes)}", field="processes"
        )
    app_id = as_uuid(sent.app_id)
    if app_id is None:
        raise ValidationError("must be the UUID of an app", field="app_id")
    return Release(
        id=ReleaseID(as_uuid(sent.id) or sent.id),
        app_id=AppID(app_id),
        artifacts=[ArtifactID(one) for one in sent.artifacts],
        artifact=ArtifactID(sent.artifact) if sent.artifact else None,
        env=sent.env,
        meta=sent.meta,
        processes={name: _process(name, process) for name, process in sent.processes.items()},
    )


def _process(name: str, sent: Mapping[str, Any]) -> ProcessType:
    """Read a process type; `cmd`, `entrypoint` and `data` become what they mean today.

    Source: Flynn `controller/data/release.go`, `Add`.
    """
    if not name:
        raise ValidationError("must not have a process type without a name", field="processes")
    if len(name) > MAX_TYPE_CHARS or not name.isprintable():
        shown = repr(name[:MAX_TYPE_CHARS])
        raise ValidationError(
            f"must have types with printable names of at most {MAX_TYPE_CHARS} characters, not {shown}",
            field="processes",
        )
    old = convert(sent, ProcessRequest)
    for port in old.ports:
        if not 0 <= port.port <= MAX_PORT or port.proto not in ("", "tcp", "udp"):
            raise ValidationError(f"must be 0 to {MAX_PORT}, tcp or udp", field=f"processes.{name}.ports")
    args = (old.entrypoint or old.args) + old.cmd
    volumes = old.volumes or ([VolumeReq(path="/data")] if old.data else [])
    check_volumes(volumes, field=f"processes.{name}.volumes")
    known = {
        **sent,
        "args": args,
        "volumes": plain(volumes),
        "ports": [{"port": 0, "proto": "tcp"} | port for port in sent.get("ports", [])],
    }
    process = convert(known, ProcessType)
    check_supervision(process, field=f"processes.{name}")
    return process


class ReleaseRef(Struct, frozen=True, kw_only=True):
    """A body that only names a release."""

    id: str = ""
