"""Registry: which endpoints the jobs have, which of them are instances, and so the snapshot. Pure.

It remembers only what cannot be read from the store: who answered, and the order in which
they first did. Whoever holds it tells it what happened, and asks for a snapshot afterwards.

Source: `discovery.md` §1, §3; Flynn `discoverd/server/store.go`.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from ..model import (
    APP_META,
    APP_NAME_META,
    JOB_META,
    RELEASE_META,
    TYPE_META,
    AppID,
    Evidence,
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

NOTHING_SEEN = Evidence()


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
    """The endpoints of all serving jobs and what is known about each.

    A snapshot is made of the last one and of what has moved since, so what a change costs does not grow with
    the number of jobs.
    """

    def __init__(self) -> None:
        self._jobs: dict[JobID, tuple[Endpoint, ...]] = {}
        self._of_app: dict[AppID, list[JobID]] = {}
        self._answering: dict[EndpointKey, Endpoint] = {}
        """Those that are to be registered."""
        self._registered: dict[str, dict[EndpointKey, Instance]] = {}
        """Of each service, in the order of registration."""
        self._reports: dict[EndpointKey, str] = {}
        self._evidence: dict[EndpointKey, Evidence] = {}
        self._dead: dict[JobID, str] = {}
        self._last_index = 0
        self._moved_jobs: dict[JobID, None] = {}
        self._moved_services: dict[str, None] = {}
        """What the next snapshot has to look at, in the order it moved."""
        self._instances: dict[str, tuple[Instance, ...]] = {}
        self._up: set[JobID] = set()
        self._waiting: dict[JobID, str] = {}

    def follow(self, jobs: Iterable[PlacedJob], apps: Collection[AppID] | None = None) -> Turnover:
        """Take over the present jobs: what no longer serves is out with the next snapshot.

        An endpoint without a check counts as answering at once.

        Args:
            apps: whose jobs these are; those of others are left as they are. ``None``: the jobs are all there are.
        """
        present = {job.job.uuid: job for job in jobs if _serves(job)}
        whose = list(self._of_app) if apps is None else apps
        left = [job for app in whose for job in self._of_app.pop(app, ())]
        before = {endpoint.key: endpoint for job in left for endpoint in self._jobs.pop(job)}
        after: dict[EndpointKey, Endpoint] = {}
        for job, placed in present.items():
            endpoints = self._jobs[job] = tuple(endpoints_of(placed))
            self._of_app.setdefault(placed.job.app, []).append(job)
            after |= {endpoint.key: endpoint for endpoint in endpoints}

        ended = tuple(key for key in before if key not in after)
        for key in ended:
            self._deregister(key)
            self._reports.pop(key, None)
            self._evidence.pop(key, None)
        for job in left:
            if job not in self._jobs:
                self._dead.pop(job, None)
        begun = tuple(endpoint for key, endpoint in after.items() if key not in before)
        for endpoint in begun:
            if endpoint.create and endpoint.key.service not in self._registered:
                self._registered[endpoint.key.service] = {}
                self._moved_services[endpoint.key.service] = None
            if endpoint.check is None:
                self._answering[endpoint.key] = endpoint
        self._moved_jobs |= dict.fromkeys((*left, *present))
        return Turnover(begun, ended)

    def answers(self, endpoint: Endpoint) -> None:
        """The endpoint is alive: register it."""
        if self._is_followed(endpoint):
            if endpoint.key not in self._registered.get(endpoint.key.service, ()):
                self._answering[endpoint.key] = endpoint
            self._reports.pop(endpoint.key, None)
            self._evidence.pop(endpoint.key, None)
            self._moved_jobs[endpoint.key.job] = None

    def is_silent(self, endpoint: Endpoint, report: str, evidence: Evidence = NOTHING_SEEN) -> None:
        """The endpoint does not answer, or no longer: deregister it, and remember why."""
        if self._is_followed(endpoint):
            self._deregister(endpoint.key)
            self._reports[endpoint.key] = report
            self._evidence[endpoint.key] = evidence

    def give_up(self, endpoint: Endpoint, why: str, evidence: Evidence = NOTHING_SEEN) -> None:
        """The endpoint's job is to be killed."""
        self.is_silent(endpoint, why, evidence)
        if self._is_followed(endpoint):
            self._dead[endpoint.key.job] = why

    def snapshot(self) -> Snapshot:
        """Register whoever answers by now, oldest job first, and return how things stand."""
        for endpoint in sorted(self._answering.values(), key=_seniority):
            self._register(endpoint)
        for service in self._moved_services:
            self._instances[service] = tuple(self._registered[service].values())
        for job in self._moved_jobs:
            self._judge(job)
        self._moved_services.clear()
        self._moved_jobs.clear()
        return Snapshot(
            instances=self._instances.copy(),
            up=frozenset(self._up),
            dead=self._dead.copy(),
            waiting=self._waiting.copy(),
            evidence=dict(self._seen((*self._waiting, *self._dead))),
        )

    def _seen(self, jobs: Iterable[JobID]) -> Iterator[tuple[JobID, Evidence]]:
        """Yield what was seen of jobs that do not serve, each at the first of its ports that is silent."""
        for job in jobs:
            known = (self._evidence[endpoint.key] for endpoint in self._jobs[job] if endpoint.key in self._evidence)
            if evidence := next(known, None):
                yield job, replace(evidence, given_up=job in self._dead)

    def _register(self, endpoint: Endpoint) -> None:
        """Make an instance of an endpoint, once its service exists."""
        key = endpoint.key
        if key.service in self._registered:
            self._last_index += 1
            self._registered[key.service][key] = _instance(endpoint, self._last_index)
            del self._answering[key]
            self._moved_services[key.service] = None
        self._moved_jobs[key.job] = None

    def _deregister(self, key: EndpointKey) -> None:
        self._answering.pop(key, None)
        if self._registered.get(key.service, {}).pop(key, None):
            self._moved_services[key.service] = None
        self._moved_jobs[key.job] = None

    def _judge(self, job: JobID) -> None:
        """Say of a job whether it is up, and what it waits for."""
        self._up.discard(job)
        self._waiting.pop(job, None)
        if job not in self._jobs or job in self._dead:
            return
        missing = [
            endpoint
            for endpoint in self._jobs[job]
            if endpoint.key not in self._registered.get(endpoint.key.service, ())
        ]
        if missing:
            self._waiting[job] = "; ".join(self._why_missing(endpoint) for endpoint in missing)
        else:
            self._up.add(job)

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
