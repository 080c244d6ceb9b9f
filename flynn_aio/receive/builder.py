"""What a builder job is given, and what it says: the agreement with `config/stacks/*/build.sh`.

Pure. A build is two short jobs of the process type `slugbuilder`, because the language must be
known before its builder image is:

    /builder/build detect           in the plain builder; the tree comes as a tar on stdin
    /builder/build compile NAME     in the builder of the language NAME

`detect` unpacks the tree into `/app`, applies `.slugignore`, and prints on stdout one line,
``NAME<TAB>message``, e.g. ``python<TAB>Python app detected``; or it prints `NONE_DETECTED` and
exits 1. `compile` runs `bin/compile` and `bin/release` of that buildpack and leaves
what the latter printed in `/app/.release`. Everything else they print, on either stream, goes to
the pusher as it is. What follows a compile – process types, slug size – is said by `push`.

What both see:

    /app                 the slug in the making; it belongs to uid 5000, as which they run
    /cache               the app's build cache, a copy: it is kept only when the build succeeds
    /env                 a file per release variable, read-only; absent when there are none
    /buildpacks/NAME     the built-in buildpacks, read-only
    /custom              an empty directory, only with `BUILDPACK_URL`: `detect` clones that
                         buildpack into it and answers with the NAME `custom`; an app with a
                         file `.buildpacks` is answered with `multi`

The release's variables are files only: a buildpack chooses what it takes from there.

Source: `build.md` §2 and §3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..engine import JobSpec, Mount, Partition
from ..errors import ValidationError
from ..model import SLUGBUILDER_TYPE, SSH_ENV, App, JobID, Release
from ..settings import BuildSettings

BUILDER_USER = 5000
"""uid and gid of builds and of the jobs of slugs."""
BUILDER = "/builder/build"
NO_LANGUAGE = frozenset({"custom", "multi"})
"""Names `detect` answers with for buildpacks the app brings: from `BUILDPACK_URL`, or from `.buildpacks`."""
NONE_DETECTED = "Unable to select a buildpack"
CA_TARGET = "/etc/ssl/certs/ca-certificates.crt"
CA_VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "NODE_EXTRA_CA_CERTS")

STACK_VARIABLE = "FLYNN_STACK"
DEFAULT_STACK_ALIAS = "heroku-18"
"""Flynn's name of its default stack; apps that carry it mean "the default"."""
BUILDPACK_VARIABLE = "BUILDPACK_URL"

BUILD_CPU_SHARES = 512
"""Half the weight of a user's one-core job, beside what the background partition takes off."""
BUILD_MAX_FD = 10_000
FILE_NAME_MAX = 255
"""Bytes in a file name on every common Linux file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """The directories of one build on the host.

    Attributes:
        env: ``None`` when the release has no variables.
        custom: ``None`` without `BUILDPACK_URL`.
    """

    slug: Path
    cache: Path
    env: Path | None
    custom: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """The buildpack that takes a tree, and how it says so."""

    name: str
    message: str

    @property
    def language(self) -> str | None:
        """Which builder image it needs; ``None``: the plain one."""
        return None if self.name in NO_LANGUAGE else self.name

    @property
    def title(self) -> str:
        """What the buildpack calls itself: ``Python``."""
        return self.message.removesuffix(" app detected")


def read_detected(line: str) -> Detected | None:
    """Read a line of `detect`; ``None`` when it is just something to show."""
    name, tab, message = line.partition("\t")
    if not tab or not name.replace("-", "").isalnum():
        return None
    return Detected(name=name, message=message.strip())


def check_stack(env: Mapping[str, str], stack: str) -> None:
    """Refuse an app that asks for a stack we do not have.

    Raises:
        ValidationError: `FLYNN_STACK` names another one.
    """
    wanted = env.get(STACK_VARIABLE, "")
    if wanted not in ("", stack, DEFAULT_STACK_ALIAS):
        raise ValidationError(
            f'Unknown FLYNN_STACK "{wanted}": this appliance has {stack}; '
            f"type `flynn env unset FLYNN_STACK` or set it to {stack}"
        )


def memory_limit(previous: Release | None, default_bytes: int) -> int:
    """Return how much memory a build may use, in bytes.

    `flynn limit set slugbuilder memory=2GB` puts the limit on a process type that never runs;
    it is carried from release to release.
    """
    kept = previous.processes.get(SLUGBUILDER_TYPE) if previous else None
    memory = kept.resources.get("memory") if kept else None
    return (memory.limit if memory else None) or default_bytes


def env_files(env: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files of the env dir: name to content.

    A key that cannot be a file name (a slash, a dot alone, too long) is left out: it could
    otherwise name a file of the host's.
    """
    return {
        key: value.encode(errors="surrogateescape")
        for key, value in env.items()
        if key not in ("", ".", "..") and not {"/", "\0"} & set(key) and len(key.encode()) <= FILE_NAME_MAX
    }


def builder_spec(
    *,
    job: JobID,
    app: App,
    verb: tuple[str, ...],
    image: str,
    cf_stack: str,
    commit: str,
    previous: Release | None,
    shared: Mapping[str, str],
    workplace: Workplace,
    buildpacks: Path,
    settings: BuildSettings,
    host_env: Mapping[str, str],
) -> JobSpec:
    """Return the job that runs one verb of `/builder/build`.

    Args:
        verb: ``("detect",)`` or ``("compile", NAME)``.
        image: the builder's name in the engine.
        previous: the release whose variables and limits apply; ``None`` before the first push.
        shared: variables every build gets that has none of its own.
        buildpacks: the directory of the built-in ones.
        host_env: the appliance's own environment; only what the settings name is passed on.
    """
    release_env = previous.env if previous else {}
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TERM": "xterm",
        "HOME": "/app",
        "REQUEST_ID": "flynn-build",
        "CURL_TIMEOUT": "600",
        "CURL_CONNECT_TIMEOUT": "30",
        "SOURCE_VERSION": commit,
        "STACK": settings.stack,
        "CF_STACK": cf_stack,
        **{name: host_env[name] for name in settings.pass_env if name in host_env},
        **shared,
        **{name: release_env[name] for name in (BUILDPACK_VARIABLE, *SSH_ENV) if release_env.get(name)},
    }
    mounts = [
        Mount(source=workplace.slug, target="/app", writable=True),
        Mount(source=workplace.cache, target="/cache", writable=True),
        Mount(source=buildpacks, target="/buildpacks"),
    ]
    if workplace.env:
        mounts.append(Mount(source=workplace.env, target="/env"))
    if workplace.custom:
        mounts.append(Mount(source=workplace.custom, target="/custom", writable=True))
    spec = JobSpec(
        id=job,
        app=app.id,
        app_name=app.name,
        type=SLUGBUILDER_TYPE,
        image=image,
        args=(BUILDER, *verb),
        env=env,
        workdir="/app",
        user=f"{BUILDER_USER}:{BUILDER_USER}",
        memory_bytes=memory_limit(previous, settings.memory_bytes),
        cpu_shares=BUILD_CPU_SHARES,
        max_fd=BUILD_MAX_FD,
        mounts=tuple(mounts),
        partition=Partition.BACKGROUND,
        log=False,
    )
    return _with_ca(spec, settings.ca_bundle)


def _with_ca(spec: JobSpec, bundle: Path | None) -> JobSpec:
    """Let a build trust whom the host trusts: packages may come through a mirror with its own CA."""
    if bundle is None:
        return spec
    return replace(
        spec,
        env={**dict.fromkeys(CA_VARIABLES, CA_TARGET), **spec.env},
        mounts=(*spec.mounts, Mount(source=bundle, target=CA_TARGET)),
    )
