"""Snapshot: who answers for what right now, as one value. Pure.

Router, DNS and scheduler read it; nobody edits it. The registry builds a new one when
something moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model import Evidence, Instance, JobID
from ..watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The services and the verdicts on jobs at one moment.

    Attributes:
        instances: service -> its live instances by ascending index. A service that exists and
            has none maps to an empty tuple; one that does not exist is missing. `Instance.meta`
            has the five ``FLYNN_`` keys; the job among them is the bare id.
        up: jobs whose service ports are all registered; a job without service ports is up as
            soon as it has an address.
        dead: jobs to be killed because of `kill_down`, and why, as a sentence.
        waiting: jobs which run and are not up, and what the last probe met, as a sentence.
        evidence: what the probes of the dead and the waiting came to, and where they listen.
    """

    instances: Mapping[str, tuple[Instance, ...]] = field(default_factory=dict)
    up: frozenset[JobID] = frozenset()
    dead: Mapping[JobID, str] = field(default_factory=dict)
    waiting: Mapping[JobID, str] = field(default_factory=dict)
    evidence: Mapping[JobID, Evidence] = field(default_factory=dict)

    def leader(self, service: str) -> Instance | None:
        """Return the oldest live instance of a service, or ``None`` when it has none."""
        return next(iter(self.instances.get(service, ())), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the rest of the process sees of discoverd.

    Attributes:
        snapshot: replaced whole whenever something moved.
        followed: up to which version of `store.changes` the snapshot is: a job whose row said by then that it
            stops is in no later snapshot.
        dns_port: where DNS answers, over UDP and TCP.
    """

    snapshot: Watch[Snapshot] = field(default_factory=lambda: Watch(Snapshot()))
    followed: Watch[int] = field(default_factory=lambda: Watch(0))
    dns_port: int = 0
