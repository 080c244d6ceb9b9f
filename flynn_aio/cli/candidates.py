"""Who lists what the names and ids on a command line stand for.

The listers ask the controller, git, or the tool that has images. They may fail as commands do, or take long:
`completion` is prepared for both.
"""

from collections.abc import Callable, Iterable
from typing import Any

from . import commands, git, limits
from .client import part
from .log_sink import FORMATS
from .place import Place
from .session import Session
from .shells import SCRIPTS

Lister = Callable[[Session, Place], Iterable[str]]


def lister(place: Place) -> Lister | None:
    """Return who lists the values for a place; ``None`` when nobody does."""
    command, value = place.command, place.value
    for key in ((" ".join((command, *place.subcommand)), value), (command, value), ("", value)):
        if key in _LISTERS:
            return _LISTERS[key]
    return None


def _fixed(values: Iterable[str]) -> Lister:
    return lambda session, place: values


def _clusters(session: Session, place: Place) -> list[str]:
    return [each.name for each in session.config.clusters]


def _apps(session: Session, place: Place) -> list[str]:
    return [app["name"] for app in session.client.get("/apps")]


def _of_app(what: str, show: Callable[[dict[str, Any]], str] = lambda each: str(each["id"])) -> Lister:
    return lambda session, place: [show(each) for each in session.client.get(f"/apps/{part(session.app)}/{what}")]


def _release(session: Session) -> dict[str, Any]:
    return dict(session.client.get(f"/apps/{part(session.app)}/release"))


def _types(session: Session, place: Place) -> list[str]:
    return sorted(_release(session).get("processes") or {})


def _types_of_jobs(session: Session, place: Place) -> list[str]:
    return [*_types(session, place), "run"]


def _variables(session: Session, place: Place) -> list[str]:
    """Return names in the environment; of a process type, if one is named, since `env get` takes both."""
    return sorted(_release(session).get("env") or {})


def _metadata(session: Session, place: Place) -> list[str]:
    return sorted(session.client.get(f"/apps/{part(session.app)}").get("meta") or {})


def _to_be_set(names: Lister) -> Lister:
    """Return who lists names for ``name=value``."""
    return lambda session, place: [f"{each}=" for each in names(session, place)]


def _jobs(session: Session, place: Place) -> list[str]:
    """Return jobs by id; those that have ended are still in the log."""
    jobs = session.client.get(f"/apps/{part(session.app)}/jobs")
    return [job["id"] for job in jobs if job.get("id") and (place.command == "log" or job.get("state") != "down")]


def _providers(session: Session, place: Place) -> list[str]:
    return [each["name"] for each in session.client.get("/providers")]


def _resources(session: Session, place: Place) -> list[str]:
    """Return the app's resources of the provider that is named before."""
    provider = session.client.get(f"/providers/{part(place.given[0])}")["id"]
    resources = session.client.get(f"/apps/{part(session.app)}/resources")
    return [each["id"] for each in resources if each["provider"] == provider]


def _sinks(session: Session, place: Place) -> list[str]:
    return [each["id"] for each in session.client.get("/sinks")]


def _remotes(session: Session, place: Place) -> list[str]:
    return git.remotes()


def _images(session: Session, place: Place) -> list[str]:
    from .docker_archive import images

    return images()


_releases = _of_app("releases")

_LISTERS: dict[tuple[str, str], Lister] = {  # (command, its words, or neither; name of the value) -> who lists them
    ("", "<app>"): _apps,
    ("", "<cluster>"): _clusters,
    ("cluster remove", "<cluster-name>"): _clusters,
    ("cluster default", "<cluster-name>"): _clusters,
    ("cluster log-sink remove", "<id>"): _sinks,
    ("cluster log-sink add syslog", "<format>"): _fixed(FORMATS),
    ("help", "<command>"): _fixed(commands.listed()),
    ("completion", "<shell>"): _fixed(SCRIPTS),
    ("", "<proc>"): _types,
    ("ps", "<type>"): _types_of_jobs,
    ("log", "<type>"): _types,
    ("scale", "<type>=<spec>"): _to_be_set(_types),
    ("env", "<var>"): _variables,
    ("env", "<var>=<val>"): _to_be_set(_variables),
    ("meta", "<var>"): _metadata,
    ("meta", "<var>=<val>"): _to_be_set(_metadata),
    ("limit", "<var>=<val>"): _to_be_set(_fixed(limits.KINDS)),
    ("", "<job>"): _jobs,
    ("log", "<id>"): _jobs,
    ("", "<release>"): _releases,
    ("release", "<id>"): _releases,
    ("release", "<type>"): _fixed(["docker"]),
    ("deployment", "<id>"): _of_app("deployments"),
    ("route", "<id>"): _of_app("routes", lambda each: f"{each['type']}/{each['id']}"),
    ("volume", "<id>"): _of_app("volumes"),
    ("resource", "<provider>"): _providers,
    ("resource", "<resource>"): _resources,
    ("provider remove", "<name>"): _providers,
    ("create", "<remote>"): _remotes,
    ("delete", "<remote>"): _remotes,
    ("docker push", "<image>"): _images,
}
