"""From a slug and the previous release to the new one.

Pure. A push brings code: the process types are the slug's. Whatever somebody configured on
them (limits, variables, ports, volumes) is theirs and stays.

Source: `build.md` §2, *Release assembly*; Flynn `gitreceive/receiver/receiver.go`.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from ..model import (
    IMAGE_SCHEME,
    MANIFEST_TYPE,
    SLUG_SCHEME,
    SLUGBUILDER_TYPE,
    SYSTEM_IMAGE_META,
    App,
    Artifact,
    ArtifactID,
    CheckType,
    HealthCheck,
    Port,
    PortService,
    ProcessType,
    Release,
    is_web,
    web_service,
)

WEB_TYPE = "web"
WEB_PORT = 8080
STACK_META = "slugrunner.stack"
COMMIT_META = "git.commit"
ARTIFACT_TYPE = "flynn"
RUNNER_UID = 5000


def start_args(process_type: str) -> list[str]:
    """Return the argv that starts a process type of a slug."""
    return ["/runner/init", "start", process_type]


def runner_artifact(image: str) -> Artifact:
    """Return the stack's runner image as an artifact; it belongs to the system and is never collected."""
    return Artifact(type=ARTIFACT_TYPE, uri=f"{IMAGE_SCHEME}{image}", meta={SYSTEM_IMAGE_META: "true"})


def slug_artifact(slug: str, *, size: int, types: Iterable[str]) -> Artifact:
    """Return a slug as an artifact.

    Args:
        slug: the name of its directory.
        size: in bytes.
    """
    entrypoints = {name: _entrypoint(start_args(name)) for name in types}
    entrypoints["_default"] = _entrypoint(["/runner/init", "bash"])
    return Artifact(
        type=ARTIFACT_TYPE,
        uri=f"{SLUG_SCHEME}{slug}",
        manifest={"_type": MANIFEST_TYPE, "entrypoints": entrypoints},
        size=size,
    )


def push_meta(*, commit: str, stack: str) -> dict[str, str]:
    """Return what a release that came from a push says about itself."""
    return {"git": "true", COMMIT_META: commit, STACK_META: stack}


def new_release(
    *,
    app: App,
    artifacts: Sequence[ArtifactID],
    types: Iterable[str],
    previous: Release | None,
    meta: Mapping[str, str],
    env: Mapping[str, str] | None = None,
) -> Release:
    """Return the release that a build makes of an app's previous one.

    Args:
        artifacts: the runner's and the slug's.
        types: the process types of the slug, in its order; earlier ones that vanished are dropped.
        meta, env: added to the previous release's.
    """
    before = previous or Release()
    processes = {name: _process(app, name, before.processes.get(name, ProcessType())) for name in types}
    if SLUGBUILDER_TYPE in before.processes:
        processes[SLUGBUILDER_TYPE] = before.processes[SLUGBUILDER_TYPE]
    return Release(
        app_id=app.id,
        artifacts=list(artifacts),
        env={**before.env, **(env or {})},
        meta={**before.meta, **meta},
        processes=processes,
    )


def _process(app: App, name: str, before: ProcessType) -> ProcessType:
    process = replace(before, args=start_args(name))
    if not is_web(name) or process.service:
        return process
    service = web_service(app.name, name)
    registered = PortService(name=service, create=True, check=HealthCheck(type=CheckType.TCP))
    first, *others = process.ports or [Port(port=WEB_PORT, proto="tcp")]
    return replace(process, service=service, ports=[replace(first, service=first.service or registered), *others])


def _entrypoint(args: list[str]) -> dict[str, object]:
    return {"args": args, "cwd": "/app", "env": {"HOME": "/app"}, "uid": RUNNER_UID, "gid": RUNNER_UID}
