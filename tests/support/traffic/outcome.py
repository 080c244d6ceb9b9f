"""What became of the requests of a load."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles

QUICK = ("keep-alive", "keep-alive-tls", "fresh", "fresh-tls", "post", "http2", "http2-post")
"""The kinds that are answered at once: only of these a delay says something."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was lost.

    Attributes:
        phase: what it was doing.
        job: who answered the beginning of it, where that is known.
        began, ended: seconds since the epoch.
    """

    kind: str
    phase: str
    problem: str
    job: str
    began: float
    ended: float

    def __str__(self) -> str:
        took = self.ended - self.began
        return f"{self.kind}, {self.phase}{f' {self.job}' if self.job else ''}: {self.problem}, after {took:.3f} s"


@dataclass(slots=True)
class Outcome:
    """What became of all requests, once the load has ended.

    Attributes:
        skipped: requests that were never made, since too many were under way.
        jobs: how many each job answered.
        took_ms: of each kind, from the moment it was due to the end of the answer.
    """

    skipped: int = 0
    jobs: Mapping[str, int] = field(default_factory=dict)
    took_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)
    failures: Sequence[Failure] = ()

    @property
    def answered(self) -> int:
        return sum(map(len, self.took_ms.values()))

    def percentile(self, percent: int) -> float:
        """Return how long a quick request took, in milliseconds."""
        return quantiles([took for kind in QUICK for took in self.took_ms[kind]], n=100)[percent - 1]
