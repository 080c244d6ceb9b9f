"""Registry: which endpoints the jobs have, which of them are instances, and so the snapshot. Pure.

It remembers only what cannot be read from the store: who answered, and the order in which
they first did. Whoever holds it tells it what happened, and asks for a snapshot afterwards.

Source: `discovery.md` §1, §3; Flynn `discoverd/server/store.go`.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..model import (
    APP_META,
    APP_NAME_META,
    JOB_META,
    RELEASE_META,
    TYPE_META,
    HealthCheck,
    Instance,
    JobID,
    JobState,
    PlacedJob,
    Port,
    Time,
    instance_id,
)
from .snapshot import Snapshot

SERVING = frozenset({JobState.STARTING, JobState.UP})
"""The states in which a job may answer: one that is stopping has left before it gets its SIGTERM."""


class EndpointKey(NamedTuple):
    """What makes an endpoint the same one at the next look."""

    job: JobID
    service: str
    proto: str
    addr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A port of a running job which is to answer for a service.

    Attributes:
        create: whether registering it makes the service; without, it waits until another does.
        check: how it proves that it is alive; ``None`` takes its word.
        since: when its job was started: endpoints that answer at the same moment are
            registered in this order, so that the leader stays the leader over a restart.
    """

    key: EndpointKey
    create: bool
    check: HealthCheck | None
    meta: dict[str, str]
    since: Time | None


@dataclass(frozen=True, slots=True)
class Turnover:
    """What a look at the jobs changed: endpoints to begin checking, and those to stop checking."""

    begun: tuple[Endpoint, ...]
    ended: tuple[EndpointKey, ...]


class Registry:
    """The endpoints of all serving jobs and what is known about each."""

    def __init__(self) -> None:
        self._jobs: dict[JobID, tuple[Endpoint, ...]] = {}
        self._answering: dict[EndpointKey, Endpoint] = {}
        self._registered: dict[EndpointKey, Instance] = {}
        self._reports: dict[EndpointKey, str] = {}
        self._dead: dict[JobID, str] = {}
        self._services: set[str] = set()
        self._last_index = 0

    def follow(self, jobs: Iterable[PlacedJob]) -> Turnover:
        """Take over the present jobs: what no longer serves is out with the next snapshot.

        An endpoint without a check counts as answering at once.
        """
        before = {endpoint.key: endpoint for endpoints in self._jobs.values() for endpoint in endpoints}
        self._jobs = {job.job.uuid: tuple(endpoints_of(job)) for job in jobs if _serves(job)}
        after = {endpoint.key: endpoint for endpoints in self._jobs.values() for endpoint in endpoints}

        ended = tuple(key for key in before if key not in after)
        for key in ended:
            self._answering.pop(key, None)
            self._registered.pop(key, None)
            self._reports.pop(key, None)
        self._dead = {job: why for job, why in self._dead.items() if job in self._jobs}
        begun = tuple(endpoint for key, endpoint in after.items() if key not in before)
        for endpoint in begun:
            if endpoint.create:
                self._services.add(endpoint.key.service)
            if endpoint.check is None:
                self._answering[endpoint.key] = endpoint
        return Turnover(begun, ended)

    def answers(self, endpoint: Endpoint) -> None:
        """The endpoint is alive: register it."""
        if self._is_followed(endpoint):
            self._answering[endpoint.key] = endpoint
            self._reports.pop(endpoint.key, None)

    def is_silent(self, endpoint: Endpoint, report: str) -> None:
        """The endpoint does not answer, or no longer: deregister it, and remember why."""
        if self._is_followed(endpoint):
            self._answering.pop(endpoint.key, None)
            self._registered.pop(endpoint.key, None)
            self._reports[endpoint.key] = report

    def give_up(self, endpoint: Endpoint, why: str) -> None:
        """The endpoint's job is to be killed."""
        self.is_silent(endpoint, why)
        if self._is_followed(endpoint):
            self._dead[endpoint.key.job] = why

    def snapshot(self) -> Snapshot:
        """Register whoever answers by now, oldest job first, and return how things stand."""
        ready = (endpoint for key, endpoint in self._answering.items() if key not in self._registered)
        for endpoint in sorted(ready, key=_seniority):
            if endpoint.key.service in self._services:
                self._last_index += 1
                self._registered[endpoint.key] = _instance(endpoint, self._last_index)

        instances: dict[str, list[Instance]] = {service: [] for service in self._services}
        for key, instance in self._registered.items():  # in the order of registration
            instances[key.service].append(instance)
        waiting = dict(self._waiting())
        return Snapshot(
            instances={service: tuple(found) for service, found in instances.items()},
            up=frozenset(job for job in self._jobs if job not in waiting and job not in self._dead),
            dead=dict(self._dead),
            waiting=waiting,
        )

    def _waiting(self) -> Iterator[tuple[JobID, str]]:
        for job, endpoints in self._jobs.items():
            missing = [endpoint for endpoint in endpoints if endpoint.key not in self._registered]
            if missing and job not in self._dead:
                yield job, "; ".join(self._why_missing(endpoint) for endpoint in missing)

    def _why_missing(self, endpoint: Endpoint) -> str:
        key = endpoint.key
        if key in self._answering:
            return f"service {key.service} of {key.addr} does not exist: set `create` on one of its ports"
        return self._reports.get(key) or f"{key.addr} not probed yet"

    def _is_followed(self, endpoint: Endpoint) -> bool:
        return any(endpoint.key == other.key for other in self._jobs.get(endpoint.key.job, ()))


def endpoints_of(job: PlacedJob) -> Iterator[Endpoint]:
    """Yield an endpoint for each port of the job that names a service."""
    for port in job.ports:
        service = port.service
        if service is None or not service.name:
            continue
        key = EndpointKey(job.job.uuid, service.name, port.proto or "tcp", _addr(job.address, port))
        yield Endpoint(key=key, create=service.create, check=service.check, meta=_meta(job), since=job.started_at)


def _seniority(endpoint: Endpoint) -> tuple[float, EndpointKey]:
    return (endpoint.since.timestamp() if endpoint.since else math.inf), endpoint.key


def _serves(job: PlacedJob) -> bool:
    return job.job.state in SERVING and bool(job.address)


def _addr(address: str, port: Port) -> str:
    return f"[{address}]:{port.port}" if ":" in address else f"{address}:{port.port}"


def _meta(job: PlacedJob) -> dict[str, str]:
    """Return what Flynn's client library adds from the environment of its job.

    Inside of us a job goes by its bare id, here too; users see `full_job_id` of it.
    """
    return {
        APP_META: job.job.app,
        APP_NAME_META: job.app_name,
        RELEASE_META: job.job.release,
        TYPE_META: job.job.type,
        JOB_META: job.job.uuid,
    }


def _instance(endpoint: Endpoint, index: int) -> Instance:
    key = endpoint.key
    return Instance(
        id=instance_id(key.proto, key.addr), addr=key.addr, proto=key.proto, meta=endpoint.meta, index=index
    )
