"""News: which apps a pass has to plan anew. Pure.

All that a plan decides is about one app, and follows from its rows, its containers, the verdicts on its jobs, what
is in flight for them, and the time. So an app none of which has moved since it was planned needs no look: it is
only compared, never remembered. Who has nothing to compare with – at the start, after an outage, every `resync_s` –
finds that everything is news, and so what is missed here costs a delay, never a job.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..engine import JobStatus
from ..model import AppID, Evidence, JobID, Time, VolumeID
from .step import Doing


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The world outside the rows at one moment. Its fields are those of `Observed`, of all apps.

    Attributes:
        statuses: what the engine lists. One that has not changed is the same object as before.
        volumes: those the engine lists.
    """

    doing: Mapping[JobID, Doing] = field(default_factory=dict)
    failed: Mapping[JobID, str] = field(default_factory=dict)
    statuses: list[JobStatus] = field(default_factory=list)
    volumes: frozenset[VolumeID] = frozenset()
    up: frozenset[JobID] = frozenset()
    dead: Mapping[JobID, str] = field(default_factory=dict)
    waiting: Mapping[JobID, str] = field(default_factory=dict)
    evidence: Mapping[JobID, Evidence] = field(default_factory=dict)
    steady_since: Time


class News:
    """What the last pass saw of each source, to find what has moved since.

    Attributes:
        version: of the store's changes: those up to it have been heard of.
    """

    def __init__(self) -> None:
        self.version = 0
        self._before: Look | None = None
        self._read_at: dict[AppID, int] = {}
        self._acting: dict[JobID, AppID] = {}
        self._wake_at: dict[AppID, Time] = {}
        self._owed: set[AppID] = set()

    def forget(self) -> None:
        """Let everything be news at the next look."""
        self._before = None

    def take(self, look: Look, touched: Mapping[AppID, int] | None, *, version: int, now: Time) -> set[AppID] | None:
        """Return the apps to be planned after this look; ``None`` means all there are.

        Args:
            touched: the apps of which rows were written after `self.version`, each with the version that did; ``None``
                when that is not known.
            version: that of the store's changes now.
        """
        before, self._before = self._before, look
        read_at, self._read_at = self._read_at, {}
        owed, self._owed = self._owed, set()
        self.version = version
        ended = {job: app for job, app in self._acting.items() if job not in look.doing}
        for job in ended:
            del self._acting[job]
        if before is None or touched is None:
            self._wake_at.clear()
            return None
        written = {app for app, at in touched.items() if at > read_at.get(app, -1)}
        due = {app for app, moment in self._wake_at.items() if moment <= now}
        return owed | written | due | {*ended.values()} | moved(before, look)

    def planned(self, app: AppID, *, version: int, acting: Iterable[JobID], wake_at: Time | None) -> None:
        """Note that an app was planned.

        Args:
            version: that of the store's changes before its rows were read.
            acting: the jobs something is in flight for now: its end is news.
            wake_at: when time alone is.
        """
        self._read_at[app] = version
        self._acting.update(dict.fromkeys(acting, app))
        if wake_at is None:
            self._wake_at.pop(app, None)
        else:
            self._wake_at[app] = wake_at

    def owe(self, app: AppID) -> None:
        """Let an app be planned in the next pass, whatever happens: this one could not finish with it."""
        self._owed.add(app)

    @property
    def wake_at(self) -> Time | None:
        """When time alone will be news."""
        return min(self._wake_at.values(), default=None)


def moved(before: Look, now: Look) -> set[AppID]:
    """Return the apps of which the engine or a health check says something else than before."""
    apps: set[AppID] = set()
    if before.statuses != now.statuses:
        old, new = _by_identity(before.statuses), _by_identity(now.statuses)
        apps = {old[one].app for one in old.keys() - new.keys()} | {new[one].app for one in new.keys() - old.keys()}
    verdicts = _difference(before.up, now.up) | (before.dead.keys() ^ now.dead.keys())
    if verdicts:  # on a container that is not listed, a verdict means nothing
        apps |= {status.app for status in now.statuses if status.id in verdicts}
    return apps


def _by_identity(statuses: Collection[JobStatus]) -> dict[int, JobStatus]:
    return dict(zip(map(id, statuses), statuses, strict=True))


def _difference(before: frozenset[JobID], now: frozenset[JobID]) -> frozenset[JobID]:
    return frozenset() if before is now else before ^ now
