"""Spec: from an app's release to what an engine needs to run one process of it.

Pure. The layers of the environment, the limits and the choice of entrypoint are Flynn's, see
`jobs.md` §2, §3, §7 and §8 and Flynn `controller/utils/utils.go`, `JobConfig`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as _replace
from signal import SIGTERM
from types import MappingProxyType
from typing import Any, TypedDict
from urllib.parse import quote, unquote

from ..errors import StartError, ValidationError
from ..model import (
    APP_META,
    APP_NAME_META,
    JOB_META,
    RELEASE_META,
    TYPE_META,
    App,
    AppID,
    Artifact,
    JobID,
    NewJob,
    Port,
    ProcessType,
    Release,
    ResourceSpec,
    Volume,
    as_uuid,
    full_job_id,
    image_layers,
    numbered,
    signal_number,
)
from .limits import MAX_FILES, limits_of, limits_refusal
from .privileges import privileges, profile_named, refusal
from .protocol import JobSpec, Partition, VolumeMount

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PORT_PROTOCOLS = frozenset({"tcp", "udp"})

LOG_SUFFIX = ".log"
INIT_SUFFIX = ".init"


class _Image(TypedDict, total=False):
    image: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint:
    """How an image wants to be run. Empty fields leave it to the image itself.

    Source: Flynn `controller/types`, `ImageEntrypoint`.
    """

    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    user: str = ""
    stop_signal: str = ""


SLUG_DIRECTORY = "/app"
SLUG_ENTRYPOINT = Entrypoint(
    args=("/runner/init", "bash"), env=MappingProxyType({"HOME": "/app"}), workdir=SLUG_DIRECTORY, user="5000:5000"
)
"""What a slug gets where its manifest is silent. Source: `build.md` §3, §4."""


def formation_spec(
    *,
    job: JobID,
    app: App,
    release: Release,
    artifacts: Sequence[Artifact],
    type: str,
    gateway: str,
    volumes: Sequence[Volume] = (),
    host_features: Collection[str] = (),
) -> JobSpec:
    """Return what to run for one job of a formation.

    Args:
        job: the new job's id.
        artifacts: those of the release, in its order.
        type: a process type; one the release does not have is run with the defaults.
        gateway: address of the host on the jobs' network, where discoverd answers.
        volumes: those the job was given.
        host_features: what of the host a release may have, by `settings.engine.host_features`.

    Raises:
        StartError: the release has no image, or its process type cannot be run as it is written.
    """
    process = release.processes.get(type, ProcessType())
    if refused := refusal(process, host_features):
        raise StartError(f"processes.{type}.{refused.field} {refused.text}")
    granted = privileges(process)
    entrypoint, slug = find_entrypoint(artifacts, type), _slug(artifacts)
    env = {
        **_host_env(entrypoint, gateway),
        **release.env,
        **process.env,
        APP_META: app.id,
        APP_NAME_META: app.name,
        RELEASE_META: release.id,
        TYPE_META: type,
        JOB_META: full_job_id(job),
        **_port_env(ports_of(process)),
        "HOSTNAME": job,
    }
    return _with_limits(
        JobSpec(
            id=job,
            app=app.id,
            app_name=app.name,
            release=release.id,
            type=type,
            formation=True,
            **_image(artifacts, release),
            slug=slug,
            args=tuple(process.args) or entrypoint.args,
            env=env,
            workdir=entrypoint.workdir,
            user=entrypoint.user,
            mounts=granted.mounts,
            host_network=granted.network,
            host_pid=granted.pid,
            capabilities=granted.capabilities,
            devices=granted.devices,
            volumes=_volumes(volumes, slug),
            stop_signal=signal_number(process.stop_signal or entrypoint.stop_signal) or SIGTERM,
            stop_s=process.stop_timeout,
        ),
        process.resources,
    )


def one_off_spec(
    *,
    job: JobID,
    app: App,
    release: Release,
    artifacts: Sequence[Artifact],
    new_job: NewJob,
    gateway: str,
    host_features: Collection[str] = (),
    nr_open: int = MAX_FILES,
) -> JobSpec:
    """Return what to run for a one-off job.

    Unlike those of a formation, its environment may be overridden by the user in every part, and
    it gets neither ports nor the name of its app.

    Args:
        artifacts: those the job names, or else those of the release.
        nr_open: how many open files the machine lets a process have.

    Raises:
        StartError: no image, or a partition or profile that does not exist.
        ValidationError: it asks for something of the host that the operator does not allow, or for limits nothing
            can run with.
    """
    entrypoint = find_entrypoint(artifacts, "")
    env = {
        **_host_env(Entrypoint(), gateway),
        APP_META: app.id,
        RELEASE_META: release.id,
        TYPE_META: "",
        JOB_META: full_job_id(job),
        **entrypoint.env,
        **(release.env if new_job.release_env else {}),
        **(new_job.env or {}),
        "HOSTNAME": job,
    }
    granted = privileges(_asked_by(new_job, release, host_features))
    return _with_limits(
        JobSpec(
            id=job,
            app=app.id,
            app_name=app.name,
            release=release.id,
            **_image(artifacts, release),
            slug=_slug(artifacts),
            args=tuple(new_job.args or ()) or entrypoint.args,
            env=env,
            workdir=entrypoint.workdir,
            user=entrypoint.user,
            mounts=granted.mounts,
            capabilities=granted.capabilities,
            devices=granted.devices,
            data=new_job.data,
            partition=_partition(new_job.partition),
            tty=new_job.tty,
            rows=new_job.tty_lines if new_job.tty else 0,
            columns=new_job.tty_columns if new_job.tty else 0,
            log=not (new_job.disable_log or new_job.tty),
            meta=dict(new_job.meta or {}),
        ),
        new_job.resources or {},
        nr_open=nr_open,
    )


def _asked_by(new_job: NewJob, release: Release, host_features: Collection[str]) -> ProcessType:
    """Return what a one-off job asks of the host, as a process type would.

    Raises:
        ValidationError: the operator does not allow it, or the release has no such process type. Flynn runs the job
            without the mounts then.
    """
    for profile in new_job.profiles or ():
        profile_named(profile)
    lender, known = new_job.mounts_from, ", ".join(sorted(release.processes)) or "none"
    if lender and lender not in release.processes:
        raise ValidationError(
            f"names the process type {lender!r}, which release {release.id} does not have (it has {known})",
            field="mounts_from",
        )
    mounts = release.processes[lender].mounts if lender else []
    asked = ProcessType(mounts=mounts, profiles=new_job.profiles or [])
    if refused := refusal(asked, host_features):
        raise ValidationError(refused.text, field={"mounts": "mounts_from"}.get(refused.field, refused.field))
    return asked


def ports_of(process: ProcessType) -> list[Port]:
    """Return the ports of a process type with their numbers filled in: 0 becomes 5000 + its index.

    Raises:
        StartError: a port speaks neither tcp nor udp.
    """
    for port in process.ports:
        if port.proto and port.proto not in PORT_PROTOCOLS:
            raise StartError(f'unknown port protocol "{port.proto}": a port is tcp or udp')
    return numbered(process.ports)


def find_entrypoint(artifacts: Sequence[Artifact], type: str) -> Entrypoint:
    """Return how a process type is run when it does not say so itself.

    The artifacts are searched from the last to the first for an entrypoint named after the type,
    then for `_default`. A slug among them fills what is still open: `/app`, uid 5000.
    """
    base = SLUG_ENTRYPOINT if _slug(artifacts) else Entrypoint()
    for name in (type, "_default"):
        for artifact in reversed(artifacts):
            found = ((artifact.manifest or {}).get("entrypoints") or {}).get(name)
            if isinstance(found, dict):
                return _read_entrypoint(found, base)
    return base


def _read_entrypoint(found: Mapping[str, Any], base: Entrypoint) -> Entrypoint:
    uid, gid = found.get("uid"), found.get("gid")
    return Entrypoint(
        args=tuple(found.get("args") or base.args),
        env={**base.env, **(found.get("env") or {})},
        workdir=found.get("cwd") or base.workdir,
        user=base.user if uid is None else f"{uid}:{uid if gid is None else gid}",
        stop_signal=str(found.get("stop_signal") or ""),
    )


def log_file_name(app: AppID, job: JobID, type: str) -> str:
    """Return the name of a job's log file: ``<app>.<job>.<type>.log``, the type percent-encoded.

    It alone tells whose output it holds, so the files can be read back without a database.
    """
    return f"{app}.{job}.{quote(type, safe='')}{LOG_SUFFIX}"


def parse_log_file_name(name: str) -> tuple[AppID, JobID, str] | None:
    """Return the app, job and type a log file belongs to; ``None`` when it is not one of ours.

    The file of the job's `init` lines (the same name and `.init`) belongs to the same.
    """
    stem = name.removesuffix(INIT_SUFFIX)
    if not stem.endswith(LOG_SUFFIX):
        return None
    match stem.removesuffix(LOG_SUFFIX).split(".", 2):
        case [app, job, type] if as_uuid(app) == app and as_uuid(job) == job:
            return AppID(app), JobID(job), unquote(type)
    return None


def _host_env(entrypoint: Entrypoint, gateway: str) -> dict[str, str]:
    """The lowest layers. `EXTERNAL_IP` is the job's own address: only the engine knows it."""
    return {
        "PATH": DEFAULT_PATH,
        "TERM": "xterm",
        "HOME": "/",
        "container": "",
        "LISTEN_IP": "0.0.0.0",
        "DISCOVERD": f"http://{gateway}:1111",
        **entrypoint.env,
    }


def _port_env(ports: Iterable[Port]) -> dict[str, str]:
    env: dict[str, str] = {}
    for i, port in enumerate(ports):
        if i == 0:
            env["PORT"] = str(port.port)
        env[f"PORT_{i}"] = str(port.port)
    return env


def _image(artifacts: Sequence[Artifact], release: Release) -> _Image:
    """Return the image of a release: one the engine holds, or one to be made of all its layers."""
    layers = image_layers(artifacts)
    for artifact in artifacts:
        if artifact.image and not layers:
            return {"image": artifact.image}
        if artifact.image:
            raise StartError(
                f"cannot run release {release.id}: it has layers beside the image {artifact.image}, and only an image "
                "that is made of layers itself can have more of them"
            )
    if layers:
        return {"layers": layers}
    raise StartError(f"cannot run release {release.id}: it has no image, push a release first")


def _slug(artifacts: Sequence[Artifact]) -> str:
    return next((artifact.slug for artifact in reversed(artifacts) if artifact.slug), "")


def _partition(name: str) -> Partition:
    try:
        return Partition(name or Partition.USER)
    except ValueError:
        raise StartError(f'host: invalid job partition "{name}"') from None


def _volumes(volumes: Sequence[Volume], slug: str) -> tuple[VolumeMount, ...]:
    for volume in volumes:
        if slug and volume.path.rstrip("/") == SLUG_DIRECTORY:
            raise StartError(f"a volume at {volume.path} would hide the app itself: give it another path")
    return tuple(VolumeMount(volume.id, volume.path) for volume in volumes)


def _with_limits(spec: JobSpec, resources: Mapping[str, ResourceSpec], *, nr_open: int = MAX_FILES) -> JobSpec:
    """Return a job with its limits.

    Raises:
        ValidationError: it cannot have them.
    """
    if refused := limits_refusal(resources, nr_open=nr_open):
        raise ValidationError(refused.text, field=refused.field)
    limits = limits_of(resources)
    return _replace(
        spec,
        memory_bytes=limits.memory_bytes,
        cpu_shares=limits.cpu_shares,
        max_fd=limits.max_fd,
        soft_fd=limits.soft_fd,
        pids=limits.pids,
        temp_disk_bytes=limits.temp_disk_bytes,
    )
