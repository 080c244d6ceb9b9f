"""`flynn export`: an app as a tar.

The bytes of layers and slugs come from the cluster's image service, where Flynn's client runs a job for each.

Source: `cli.md` §5.8, `controller-api.md` §12 and §13; Flynn `cli/export.go`.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from tempfile import TemporaryFile
from typing import IO, Any

from . import app_archive, mysql, pg
from .app_archive import PIECE, Writer, is_slug, layers_of
from .client import Client, part
from .databases import MYSQL, POSTGRES, Database, of_env, tool_job
from .deploy import current_release
from .docker import image_service
from .failure import Failure, NotFound
from .job import attached
from .progress import Progress
from .replacing import os_reason, replacing
from .session import Session
from .talk import tell
from .usage import Args

LEFT_OUT = {"FLYNN_REDIS": "the data of its redis server", "FLYNN_MONGO": "its mongodb database"}
SECRETS = ("REDIS_PASSWORD", "REDIS_URL")
"""Of a server that the importing cluster makes anew."""


def export(args: Args, session: Session) -> None:
    """usage: flynn export [-f <file>] [-q]

    Export an app: its configuration, code and data.

    App, release, formation and routes, the image or slug, and the PostgreSQL and MySQL databases go into a tar, which
    'flynn import' makes an app of, on any cluster. It has passwords and TLS keys in it. What is in volumes, Redis and
    MongoDB stays out, and a warning says so.

    Options:
        -f, --file=<file>  the tar, instead of standard output
        -q, --quiet        do not show progress

    Example:

        $ flynn -a shop export -f shop.tar
    """
    name = args.value("--file")
    if not name and os.isatty(1):
        raise Failure("an export is a tar, which a terminal cannot show", hint="flynn export --file app.tar")
    with doing("error getting app"):
        app = session.client.get(f"/apps/{part(session.app)}")
    with Progress("exporting", quiet=args.flag("--quiet")) as progress:
        if name:
            with replacing(name, mode=0o600) as written:  # it has passwords in it
                _write(session, app, written.descriptor, name, progress)
                written.complete = True
        else:
            _write(session, app, 1, "standard output", progress)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say of a failure what was being done."""
    try:
        yield
    except Failure as failure:
        raise Failure(f"{what}: {failure}", hint=failure.hint) from failure


def _write(session: Session, app: dict[str, Any], descriptor: int, name: str, progress: Progress) -> None:
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            archive = Writer(file, app["name"], progress.advance)
            _export(session, app, archive)
            archive.end()
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise Failure(f"write {name}: {os_reason(exc)}") from exc


def _export(session: Session, app: dict[str, Any], archive: Writer) -> None:
    client, path = session.client, f"/apps/{part(app['id'])}"
    archive.json(app_archive.APP, app)
    with doing("error getting routes"):
        archive.json(app_archive.ROUTES, client.get(f"{path}/routes") or [])
    with doing("error retrieving app"):
        release = current_release(client, app["id"])
    if release is None:
        return  # there is nothing more to export
    env: Mapping[str, str] = release.get("env") or {}
    if env:
        release = {**release, "env": {key: value for key, value in env.items() if key not in SECRETS}}
    archive.json(app_archive.RELEASE, release)
    artifacts = list(_artifacts(client, release.get("artifacts") or []))
    if artifacts:
        archive.json(app_archive.ARTIFACTS, artifacts)
    _layers(session, artifacts, archive)
    try:
        with doing("error retrieving formation"):
            formation = client.get(f"{path}/formations/{part(release['id'])}")
        archive.json(app_archive.FORMATION, formation)
    except Failure as failure:
        if not isinstance(failure.__cause__, NotFound):
            raise
    for artifact in filter(is_slug, artifacts):
        _slug(session, artifact, archive)
    if env.get(POSTGRES.app):
        _dump(session, app, of_env(session, POSTGRES, env), pg.DUMP, app_archive.POSTGRES, archive)
    if env.get(MYSQL.app):
        found = of_env(session, MYSQL, env)
        _dump(session, app, found, mysql.dump_command(found), app_archive.MYSQL, archive)
    for left_out in _left_out(release, env, artifacts):
        tell(f"WARN: not in the export: {left_out}")


def _left_out(
    release: Mapping[str, Any], env: Mapping[str, str], artifacts: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield what an app has that no export has."""
    pushed = any(map(is_slug, artifacts))  # then the image is the stack's runner, which every cluster has
    for artifact in artifacts:
        if not (is_slug(artifact) or layers_of(artifact) or (pushed and artifact is artifacts[0])):
            yield f"what is in artifact {artifact['id']}; the importing cluster needs to have its {artifact.get('uri')}"
    yield from (what for variable, what in LEFT_OUT.items() if env.get(variable))
    for name, process in (release.get("processes") or {}).items():
        if process.get("volumes"):
            yield f"what is in the volumes of {name}"


def _artifacts(client: Client, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    for artifact in ids:
        try:
            yield client.get(f"/artifacts/{part(artifact)}")
        except NotFound:
            tell(f"WARN: not in the export: artifact {artifact}, which is gone")
        except Failure as failure:
            raise Failure(f"error retrieving artifact {artifact}: {failure}", hint=failure.hint) from failure


def _layers(session: Session, artifacts: Sequence[Mapping[str, Any]], archive: Writer) -> None:
    """Write the layers of all artifacts, each once, as they come."""
    wanted = dict.fromkeys(layer for artifact in artifacts for layer in layers_of(artifact))
    if not wanted:
        return
    with closing(image_service(session.cluster)) as images:
        for layer in wanted:
            name = f"{layer}{app_archive.LAYER}"
            digest = hashlib.sha256()
            with (
                doing(f"error downloading {name}"),
                images.open("GET", f"/layer/{part(layer)}/tar", accept="application/tar") as answer,
            ):
                if answer.length is None:
                    raise Failure("the image service did not say how long it is")
                archive.add(name, answer.length, _summed(answer.pieces(), digest.update))
            if digest.hexdigest() != layer:
                raise Failure(f"error downloading {name}: what came has the SHA-256 {digest.hexdigest()}")


def _summed(pieces: Iterator[bytes], add: Any) -> Iterator[bytes]:
    for piece in pieces:
        add(piece)
        yield piece


def _slug(session: Session, artifact: Mapping[str, Any], archive: Writer) -> None:
    """Write a slug. A tar says the length of a file before the file, so it is kept here until all of it has come."""
    slug = str(artifact["uri"]).removeprefix("slug:")
    with TemporaryFile() as spool, closing(image_service(session.cluster)) as images:
        with (
            doing(f"error downloading {app_archive.SLUG}"),
            images.open("GET", f"/slug/{part(slug)}", accept="application/gzip") as answer,
        ):
            for piece in answer.pieces():
                spool.write(piece)
        _add(app_archive.SLUG, spool, archive)


def _dump(
    session: Session,
    app: Mapping[str, Any],
    database: Database,
    command: Sequence[str],
    name: str,
    archive: Writer,
) -> None:
    what = f"error creating {name.replace('.', ' ')}"
    with TemporaryFile() as spool, open(os.devnull, "rb") as nothing:
        with doing(what):
            ended = attached(
                session.client,
                app["id"],
                tool_job(session, database, command, env=database.env),
                session.environ,
                stdin=nothing.fileno(),
                stdout=spool.fileno(),
            )
        if not ended.well:
            raise Failure(f"{what}: {command[0]} ended with status {ended.code}, or was interrupted")
        _add(name, spool, archive)


def _add(name: str, spool: IO[bytes], archive: Writer) -> None:
    size = spool.seek(0, os.SEEK_END)
    spool.seek(0)
    archive.add(name, size, iter(lambda: spool.read(PIECE), b""))
