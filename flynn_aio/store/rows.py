"""Rows <-> nouns. A row's `doc` is the noun's JSON.

What the scheduler reads over and over is kept decoded, by its text: nouns are values, and nobody edits the mappings
inside one.
"""

from functools import lru_cache
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from ..model import (
    App,
    AppID,
    Artifact,
    ClusterBackup,
    Deployment,
    DomainMigration,
    Event,
    EventID,
    Formation,
    Job,
    PlacedJob,
    Port,
    Provider,
    Release,
    Resource,
    Route,
    ScaleRequest,
    Sink,
    Time,
    Volume,
    decode,
    encode,
)

Row = tuple[Any, ...]


def doc(noun: object) -> str:
    """Return a noun as its column."""
    return encode(noun).decode()


@lru_cache(maxsize=1024)
def app(text: str) -> App:
    return decode(text, App)


@lru_cache(maxsize=1024)
def artifact(text: str) -> Artifact:
    return decode(text, Artifact)


@lru_cache(maxsize=1024)
def release(text: str) -> Release:
    """Return a release with its legacy `artifact` filled, as every read shows it."""
    stored = decode(text, Release)
    return replace(stored, artifact=stored.artifacts[0]) if stored.artifacts else stored


@lru_cache(maxsize=1024)
def formation(text: str) -> Formation:
    return decode(text, Formation)


def scale_request(text: str) -> ScaleRequest:
    return decode(text, ScaleRequest)


@lru_cache(maxsize=4096)
def job(text: str) -> Job:
    return decode(text, Job)


@lru_cache(maxsize=4096)
def volume(text: str) -> Volume:
    return decode(text, Volume)


def deployment(text: str) -> Deployment:
    return decode(text, Deployment)


def route(text: str) -> Route:
    return decode(text, Route)


def sink(text: str) -> Sink:
    return decode(text, Sink)


def provider(text: str) -> Provider:
    return decode(text, Provider)


def resource(row: Row) -> Resource:
    text, apps = row
    return replace(decode(text, Resource), apps=decode(apps, list[AppID]))


def domain_migration(text: str) -> DomainMigration:
    return decode(text, DomainMigration)


def backup(text: str) -> ClusterBackup:
    return decode(text, ClusterBackup)


def event(row: Row) -> Event:
    event_id, app_id, object_type, object_id, data, created_at = row
    return Event(
        id=EventID(event_id),
        app=app_id,
        object_type=object_type,
        object_id=object_id,
        data=Raw(data.encode()),
        created_at=Time.parse(created_at),
    )


def placed_job(row: Row, ports: list[Port]) -> PlacedJob:
    text, app_name, address, started_at, formation = row
    return PlacedJob(
        job=job(text),
        app_name=app_name,
        address=address,
        started_at=Time.parse(started_at) if started_at else None,
        ports=ports,
        formation=bool(formation),
    )
