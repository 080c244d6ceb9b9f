"""`flynn import`: an app made of what `flynn export` wrote.

The whole archive is read and checked first. Then its image or slug goes up, which changes no app; then the app is
made, and whatever goes wrong from there on takes it away again.

Source: `cli.md` §5.8, `controller-api.md` §12 and §13, `resources.md` §7; Flynn `cli/export.go`, `runImport`.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import closing
from tempfile import TemporaryDirectory
from typing import Any

from . import app_archive, mysql, pg
from .app_archive import Archive, is_slug, layers_of, pieces, read
from .client import Client, part
from .databases import MYSQL, POSTGRES, REDIS, of_env, tool_job
from .docker import image_service
from .exporting import SECRETS, doing
from .failure import Failure, NotFound, Refused
from .job import attached
from .progress import Progress
from .render import quoted
from .replacing import os_reason
from .session import Session
from .talk import show, tell
from .usage import Args

SERVERS_OWN = frozenset({"id", "release", "created_at", "updated_at", "parent_ref", "app_id", "artifacts", "artifact"})
"""What the cluster gives an object itself."""


def import_(args: Args, session: Session) -> None:
    """usage: flynn import [-f <file>] [-n <name>] [-q] [-r] [-j <jobs>]

    Make a new app of what 'flynn export' has written.

    It gets the app's image or slug, its release, formation and databases, and a route of its own. An archive that is
    damaged, or none at all, is refused before anything is made, and when something goes wrong later, the new app is
    deleted again.

    Options:
        -f, --file=<file>  the tar, instead of standard input
        -n, --name=<name>  name of the new app (default: that of the exported one)
        -q, --quiet        do not show progress
        -r, --routes       make the exported app's routes, too, as far as they are free
        -j, --jobs=<jobs>  how many pg_restore jobs to use [default: 4]

    Example:

        $ flynn import -f shop.tar -n shop-copy
        Imported shop-copy (added 1 routes, provisioned 0 resources)
    """
    jobs = pg.count_of(args.value("--jobs"))
    with TemporaryDirectory(prefix="flynn-import-") as directory:
        archive = _read(args.value("--file"), directory)
        for name in archive.unknown:
            tell(f"WARN: not imported: {name}, which is nothing that an export has in it")
        size = sum(os.path.getsize(path) for path in archive.uploads)
        with Progress("importing", size or None, quiet=args.flag("--quiet")) as progress:
            job = _Import(session, archive, args.value("--name") or archive.app["name"], jobs, progress)
            job.run(with_routes=args.flag("--routes"))
    show(f"Imported {job.name} (added {job.routes} routes, provisioned {job.resources} resources)")


def _read(name: str, directory: str) -> Archive:
    if not name and sys.stdin and sys.stdin.isatty():
        raise Failure("nobody can type an export", hint="flynn import --file app.tar")
    try:
        with open(name or 0, "rb", closefd=bool(name)) as file:
            return read(file, directory)
    except OSError as exc:
        raise Failure(f"error opening export file: {name or 'standard input'}: {os_reason(exc)}") from exc


class _Import:
    """One import.

    Attributes:
        name: of the new app.
        routes: how many it has got; one is made for every app.
        resources: how many were provisioned.
    """

    def __init__(self, session: Session, archive: Archive, name: str, jobs: int, progress: Progress) -> None:
        self.name = name
        self.routes = 1
        self.resources = 0
        self._session = session
        self._client: Client = session.client
        self._archive = archive
        self._jobs = jobs
        self._progress = progress
        self._slug_parts: list[str] = []

    def run(self, *, with_routes: bool) -> None:
        self._check_name()
        self._upload()
        with doing("error creating app"):
            app = self._client.post("/apps", _ours(self._archive.app) | {"name": self.name})["id"]
        try:
            if self._archive.release:
                self._configure(app)
            if with_routes:
                self._make_routes(app)
        except BaseException:
            self._take_away(app)
            raise

    def _check_name(self) -> None:
        """Say now, and not after gigabytes have gone up, that the name is taken."""
        try:
            self._client.get(f"/apps/{part(self.name)}")
        except NotFound:
            return
        raise Failure(
            f"error creating app: object_exists: application {quoted(self.name)} already exists",
            hint="give the new app another name with --name",
        )

    def _upload(self) -> None:
        """Send what the app is made of. Until a release is made of it, nothing depends on it, and it goes again."""
        archive = self._archive
        wanted = dict.fromkeys(layer for artifact in archive.artifacts for layer in layers_of(artifact))
        if not wanted and not archive.slug:
            return
        with closing(image_service(self._session.cluster)) as images:
            for layer in wanted:
                with doing("error uploading layer"):
                    self._upload_layer(images, layer)
            if archive.slug:
                with doing("error uploading slug"):
                    self._upload_slug(images)

    def _upload_layer(self, images: Client, layer: str) -> None:
        path, file = f"/layer/{part(layer)}", self._archive.layers[layer]
        size = os.path.getsize(file)
        try:
            images.get(path)
            self._progress.advance(size)
        except NotFound:
            images.upload(path, pieces(file, self._progress.advance), size)

    def _upload_slug(self, images: Client) -> None:
        runner = next((str(one.get("uri") or "") for one in self._archive.artifacts if not is_slug(one)), "")
        file = self._archive.slug
        path = f"/slug?runner={part(runner)}"
        try:
            made = images.upload(path, pieces(file, self._progress.advance), os.path.getsize(file))
        except NotFound:
            raise Failure("the cluster's image service takes no slugs", hint="push the app with git instead") from None
        self._slug_parts = [artifact["id"] for artifact in made]

    def _configure(self, app: str) -> None:
        """Make the release and all that belongs to it; its jobs start at the end, when their databases are full."""
        archive, client = self._archive, self._client
        env = {key: value for key, value in (archive.release.get("env") or {}).items() if key not in SECRETS}
        if app_archive.POSTGRES in archive.dumps:
            env |= self._provisioned(app, POSTGRES.name)
        if app_archive.MYSQL in archive.dumps:
            env |= self._provisioned(app, MYSQL.name)
        if env.get(REDIS.app):
            env |= self._provisioned(app, REDIS.name)
            tell("WARN: not imported: the data of the redis server; the new one is empty")
        for variable in ("FLYNN_MONGO", POSTGRES.app, MYSQL.app):
            if env.get(variable) and env[variable] == (archive.release.get("env") or {}).get(variable):
                tell(f"WARN: {variable} is that of the exported app: its database is not in the export")
        release = _ours(archive.release) | {
            "app_id": app,
            "env": env,
            "artifacts": self._artifacts(),
            "processes": renamed(archive.release.get("processes") or {}, archive.app["name"], self.name),
        }
        if archive.slug:
            release["meta"] = {**(release.get("meta") or {}), "git": "true"}
        with doing("error creating release"):
            release = client.post("/releases", release)
        with doing("error setting app release"):
            client.put(f"/apps/{part(app)}/release", {"id": release["id"]})
        self._restore(app, env)
        if archive.formation:
            formation = {key: archive.formation[key] for key in ("processes", "tags") if archive.formation.get(key)}
            with doing("error creating formation"):
                client.put(
                    f"/apps/{part(app)}/formations/{part(release['id'])}",
                    {"app": app, "release": release["id"], **formation},
                )

    def _provisioned(self, app: str, provider: str) -> Mapping[str, str]:
        with doing(f"error provisioning {provider} resource"):
            made = self._client.post(f"/providers/{part(provider)}/resources", {"apps": [app], "config": {}})
        self.resources += 1
        env: Mapping[str, str] = made.get("env") or {}
        return env

    def _artifacts(self) -> list[str]:
        """Return the ids of what the release is made of, here."""
        archive = self._archive
        if archive.slug:
            return self._slug_parts
        made = []
        for artifact in archive.artifacts:
            with doing("error creating artifact"):
                if layers_of(artifact):
                    with closing(image_service(self._session.cluster)) as images:
                        created = images.post("/artifact", artifact["manifest"])
                else:
                    created = self._client.post("/artifacts", _ours(artifact))
            made.append(created["id"])
        return made

    def _restore(self, app: str, env: Mapping[str, str]) -> None:
        dumps = self._archive.dumps
        if app_archive.POSTGRES in dumps:
            with doing("error restoring postgres database"):
                found = of_env(self._session, POSTGRES, env)
                command = pg.restore_command(found.env["PGDATABASE"], self._jobs)
                job = tool_job(self._session, found, command, env=found.env)
                if self._jobs > 1:
                    job["data"] = True
                # 1: pg_restore has gone on after errors it could ignore, such as extensions it may not comment on
                self._feed(app, job, dumps[app_archive.POSTGRES], well=(0, 1))
        if app_archive.MYSQL in dumps:
            with doing("error restoring mysql database"):
                found = of_env(self._session, MYSQL, env)
                job = tool_job(self._session, found, mysql.client_command(found), env=found.env)
                self._feed(app, job, dumps[app_archive.MYSQL], well=(0,))

    def _feed(self, app: str, job: Mapping[str, Any], file: str, *, well: tuple[int, ...]) -> None:
        with open(file, "rb") as dump:
            ended = attached(
                self._client,
                app,
                job,
                self._session.environ,
                stdin=dump.fileno(),
                stdout=2,
                taken=self._progress,
            )
        if ended.interrupted:
            raise KeyboardInterrupt
        if ended.code not in well:
            raise Failure(f"{job['args'][0]} ended with status {ended.code}")

    def _make_routes(self, app: str) -> None:
        for route in self._archive.routes:
            old, new = self._archive.app["name"], self.name
            body = _ours(route) | {"service": _renamed(str(route.get("service") or ""), old, new)}
            try:
                with doing("error creating route"):
                    self._client.post(f"/apps/{part(app)}/routes", body)
            except Failure as failure:
                # the route that every app gets by itself was the old app's, too
                if not (isinstance(failure.__cause__, Refused) and failure.__cause__.code == "conflict"):
                    raise
            else:
                self.routes += 1

    def _take_away(self, app: str) -> None:
        """Delete the app that was half made, or say how to."""
        try:
            self._client.delete(f"/apps/{part(app)}")
        except Failure as failure:
            tell(f"WARN: the app {self.name} is half imported and could not be deleted: {failure}")
            tell(f"hint: to delete it: flynn -a {self.name} delete")
        else:
            tell(f"The app {self.name} was not imported, and is deleted again.")


def _ours(thing: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without what the cluster it came from had given it."""
    return {key: value for key, value in thing.items() if key not in SERVERS_OWN}


def renamed(processes: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return process types whose services are called after the new app. Pure."""
    found = {}
    for name, process in processes.items():
        changed = dict(process)
        if process.get("service"):
            changed["service"] = _renamed(process["service"], old, new)
        if process.get("ports"):
            changed["ports"] = [_renamed_port(port, old, new) for port in process["ports"]]
        found[name] = changed
    return found


def _renamed_port(port: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    service = port.get("service")
    if not service:
        return dict(port)
    return {**port, "service": {**service, "name": _renamed(str(service.get("name") or ""), old, new)}}


def _renamed(service: str, old: str, new: str) -> str:
    return new + service.removeprefix(old) if service.startswith(old) else service
