"""What clients send -> the nouns: checking, and saying which field is wrong. Pure.

Each request has a struct of its own, with only what a client may say: unknown keys are
dropped, and so is what the server owns (`created_at`, `parent_ref`, …). What needs the
database to be checked is checked by the change that writes it.

Source: `controller-api.md` §4.
"""

import re
from collections.abc import Iterable, Mapping
from posixpath import normpath
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from msgspec import Raw, Struct, field

from ..errors import ValidationError
from ..model import (
    APP_NAME_MAX,
    IMAGE_SCHEME,
    SLUG_SCHEME,
    App,
    AppID,
    Artifact,
    ArtifactID,
    Certificate,
    Job,
    JobID,
    JobState,
    NewJob,
    PortService,
    ProcessType,
    Provider,
    Release,
    ReleaseID,
    Route,
    RouteType,
    Sink,
    SinkID,
    SinkKind,
    Strategy,
    Time,
    Volume,
    VolumeID,
    VolumeReq,
    VolumeState,
    VolumeType,
    as_uuid,
    convert,
    decode,
    is_app_name,
    plain,
    syslog_config,
)
from ..providers import Place

T = TypeVar("T")

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
MAX_PROCESSES = 10_000
"""Of one type. A machine holds far fewer; a slip of the finger asks for far more."""
MAX_PORT = 65535

_PROVIDER_NAME = re.compile(r"[A-Za-z\d._-]{1,100}")
_KERNELS = ("/dev", "/proc", "/sys")
"""What of a job's file system is the kernel's."""
_BLANK = re.compile(r"[\s\x00-\x1f]")
_APP_NAME_PATTERN = r"^[a-z\d]+(-[a-z\d]+)*$"
_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


# Apps


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


def one_of(value: str, allowed: Iterable[str], *, field: str) -> str:
    """Return a value if it is allowed."""
    known = list(allowed)
    if value not in known:
        text = " ".join(known)
        raise ValidationError(f"Enum error. The data must be equal to one of these values [{text}].", field=field)
    return value


# Artifacts and releases


class ArtifactRequest(Struct, frozen=True, kw_only=True):
    id: str = ""
    type: str = ""
    uri: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    size: int = 0
    layer_url_template: str = ""


def new_artifact(sent: ArtifactRequest) -> Artifact:
    """Check an artifact. Whether its image or slug exists is another question, and so is a manifest it only points to.

    Raises:
        ValidationError: it cannot be one, or it is of a kind that only existed before images.
    """
    one_of(sent.type, ("docker", "file", "flynn"), field="type")
    parsed = _uri(sent.uri)
    if sent.type != "flynn":
        raise ValidationError(
            f"{sent.type} artifacts are not supported any more: push the image with `flynn docker push`", field="type"
        )
    if not 0 <= sent.size <= INT64_MAX:
        raise ValidationError("must be greater than zero", field="size")
    if sent.manifest is None and f"{parsed.scheme}:" not in (IMAGE_SCHEME, SLUG_SCHEME) and sent.size == 0:
        raise ValidationError("must be greater than zero", field="size")
    return Artifact(
        id=ArtifactID(as_uuid(sent.id) or sent.id),
        type=sent.type,
        uri=sent.uri,
        meta=sent.meta,
        manifest=sent.manifest,
        hashes=sent.hashes,
        size=sent.size,
        layer_url_template=sent.layer_url_template,
    )


def _uri(text: str) -> SplitResult:
    try:
        parsed = urlsplit(text)
    except ValueError:
        parsed = SplitResult("", "", "", "", "")
    if not parsed.scheme or _BLANK.search(text):
        raise ValidationError("Value must be a valid URI, according to RFC3986.", field="uri")
    return parsed


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
    old = convert(sent, ProcessRequest)
    for port in old.ports:
        if not 0 <= port.port <= MAX_PORT or port.proto not in ("", "tcp", "udp"):
            raise ValidationError(f"must be 0 to {MAX_PORT}, tcp or udp", field=f"processes.{name}.ports")
    args = (old.entrypoint or old.args) + old.cmd
    volumes = old.volumes or ([VolumeReq(path="/data")] if old.data else [])
    _check_volumes(volumes, field=f"processes.{name}.volumes")
    known = {
        **sent,
        "args": args,
        "volumes": plain(volumes),
        "ports": [{"port": 0, "proto": "tcp"} | port for port in sent.get("ports", [])],
    }
    return convert(known, ProcessType)


def _check_volumes(volumes: Iterable[VolumeReq], *, field: str) -> None:
    taken = set()
    for volume in volumes:
        path = "/" + normpath(volume.path).lstrip("/")
        if not volume.path.startswith("/") or f"/{path.split('/')[1]}" in _KERNELS:
            raise ValidationError(
                f"must have absolute paths outside of {', '.join(_KERNELS)}, not {volume.path!r}", field=field
            )
        if path == "/":
            raise ValidationError("must not have the path /: it would hide the image", field=field)
        if path in taken:
            raise ValidationError(f"must not have the path {volume.path!r} twice", field=field)
        taken.add(path)


# Formations


class FormationRequest(Struct, frozen=True, kw_only=True):
    """The body of a formation. Without `processes` every type goes to 0."""

    processes: dict[str, int] | None = None
    tags: dict[str, dict[str, str]] | None = None


class ScaleRequestBody(Struct, frozen=True, kw_only=True):
    """The body of a scale request: a wish while `state` is pending, else what became of request `id`."""

    id: str = ""
    state: str = ""
    new_processes: dict[str, int] | None = None
    new_tags: dict[str, dict[str, str]] | None = None


def check_counts(processes: Mapping[str, int] | None, *, field: str) -> None:
    for name, count in (processes or {}).items():
        if not 0 <= count <= MAX_PROCESSES:
            raise ValidationError(f"must be 0 to {MAX_PROCESSES}", field=f"{field}.{name}")


# Jobs


def new_job(sent: NewJob) -> NewJob:
    """Check a one-off job. What its release and image allow is another question."""
    if not sent.release:
        raise ValidationError('Required error. The data must be an object with "release" as one of its keys')
    for name, size in (("tty_columns", sent.tty_columns), ("tty_lines", sent.tty_lines)):
        if not 0 <= size <= MAX_PORT:
            raise ValidationError("must be 0 to 65535", field=name)
    if any(not key or "=" in key for key in sent.env or {}):
        raise ValidationError("must not have an empty name or one with `=`", field="env")
    return sent


class JobRequest(Struct, frozen=True, kw_only=True):
    """The body of a job that somebody else runs."""

    uuid: str = ""
    app: str = ""
    release: str = ""
    type: str = ""
    state: str = ""
    args: list[str] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    exit_status: int | None = None
    host_error: str | None = None
    run_at: Time | None = None
    restarts: int | None = None


_GONE_STATES = ("crashed", "failed")
"""States of old, which are `down` today."""


def recorded_job(sent: JobRequest, uuid: str) -> Job:
    """Check what is told of a job.

    Args:
        uuid: the one in the path, which counts.
    """
    states = [state for state in JobState if state is not JobState.BLOCKED]
    state = one_of(sent.state, [*states, *_GONE_STATES], field="state")
    if sent.uuid and as_uuid(sent.uuid) != uuid:
        raise ValidationError("is not the one in the path", field="uuid")
    for name, key in (("app", sent.app), ("release", sent.release)):
        if as_uuid(key) is None:
            raise ValidationError("must be a UUID", field=name)
    for name, number in (("exit_status", sent.exit_status), ("restarts", sent.restarts)):
        if number is not None and not -INT32_MAX - 1 <= number <= INT32_MAX:
            raise ValidationError("must be a 32-bit integer", field=name)
    return Job(
        uuid=JobID(uuid),
        app=AppID(as_uuid(sent.app) or ""),
        release=ReleaseID(as_uuid(sent.release) or ""),
        type=sent.type,
        state=JobState.DOWN if state in _GONE_STATES else JobState(state),
        args=sent.args,
        meta=sent.meta,
        exit_status=sent.exit_status,
        host_error=sent.host_error,
        run_at=sent.run_at,
        restarts=sent.restarts,
    )


class ReleaseRef(Struct, frozen=True, kw_only=True):
    """A body that only names a release."""

    id: str = ""


# Providers and resources


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


# The cluster


class TLSCertRequest(Struct, frozen=True, kw_only=True):
    ca_cert: str = ""
    cert: str = ""
    key: str = ""


class DomainMigrationRequest(Struct, frozen=True, kw_only=True):
    old_domain: str = ""
    domain: str = ""
    tls_cert: TLSCertRequest | None = None


# Routes


class CertificateRequest(Struct, frozen=True, kw_only=True):
    cert: str = ""
    key: str = ""


class RouteRequest(Struct, frozen=True, kw_only=True):
    type: str = ""
    service: str = ""
    port: int = 0
    leader: bool = False
    domain: str = ""
    path: str = ""
    sticky: bool = False
    certificate: CertificateRequest | None = None
    tls_cert: str = ""
    tls_key: str = ""
    drain_backends: bool = False
    disable_keep_alives: bool = False


def new_route(sent: RouteRequest) -> Route:
    """Check the form of a route. Its id, owner and times are for the store to say."""
    pair = sent.certificate or CertificateRequest(cert=sent.tls_cert, key=sent.tls_key)
    has_pair = bool(pair.cert or pair.key)
    return Route(
        type=RouteType(one_of(sent.type, RouteType, field="type")),
        service=sent.service,
        port=sent.port,
        leader=sent.leader,
        created_at=None,
        updated_at=None,
        domain=sent.domain,
        path=sent.path,
        sticky=sent.sticky,
        certificate=Certificate(cert=pair.cert.strip(), key=pair.key.strip()) if has_pair else None,
        drain_backends=sent.drain_backends,
        disable_keep_alives=sent.disable_keep_alives,
    )


# Sinks


class SinkRequest(Struct, frozen=True, kw_only=True):
    id: str = ""
    kind: str = ""
    config: dict[str, Any] | None = None


def new_sink(sent: SinkRequest) -> Sink:
    """Check a sink. Whether anybody listens there shows later; its config is kept as it was sent."""
    if sent.id and as_uuid(sent.id) is None:
        raise ValidationError("must be a UUID", field="id")
    one_of(sent.kind, SinkKind, field="kind")
    sink = Sink(id=SinkID(as_uuid(sent.id) or ""), kind=sent.kind, config=sent.config)
    syslog_config(sink)
    return sink


# Volumes


class VolumeRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A volume as a client speaks of it. Made without anything it is Flynn's object of zero values."""

    path: str = ""
    delete_on_stop: bool = False
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
    _check_volumes([VolumeReq(path=sent.path)], field="path")
    return Volume(
        path=sent.path,
        delete_on_stop=sent.delete_on_stop,
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
