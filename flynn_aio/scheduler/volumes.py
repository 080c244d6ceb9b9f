"""Volumes: which one a job about to be started is given. Pure.

A volume belongs to a place: an app, a release, a process type and a path. Whoever fills the place
after its last job finds what that one left. It is chosen as late as possible, when nothing else
keeps the job from starting, so that a volume decommissioned while the job waited is not taken.

The place of a volume that is kept is the same for all releases. So that a job of the next release finds it
free, a deployment ends one of the old jobs before it starts a new one, see `handed_over`.

Source: `jobs.md` §9; Flynn `controller/scheduler/scheduler.go`, `findVolume`, `HandlePlacementRequest`.
Keeping volumes is ours.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from posixpath import normpath

from ..engine import JobStatus
from ..model import HOST_ID, Job, JobID, Release, Volume, VolumeID, VolumeReq, VolumeState, VolumeType

Place = tuple[str, str, str, str]
"""App, release, process type, path. The release is empty where all have the same place."""


DATA_PATH = "/data"
"""Where a one-off job that asks for `data` has it. Source: `jobs.md` §2."""


class Stock:
    """The volumes of one pass; what is given to a job is not given to another.

    Args:
        volumes: those that are not destroyed, oldest first.
        strays: containers without a row that run; one that is not adopted is on its way out, too.
    """

    def __init__(self, volumes: Iterable[Volume], strays: Iterable[JobStatus]) -> None:
        self._known: dict[VolumeID, Volume] = {}
        self._free: dict[Place, deque[Volume]] = defaultdict(deque)
        self._returning: Counter[Place] = Counter()
        astray = {volume for stray in strays for volume in stray.volumes}
        for volume in volumes:
            self._known[volume.id] = volume
            if volume.decommissioned_at is None and volume.job is None:
                if volume.id in astray:
                    self._returning[_place_of(volume)] += 1
                else:
                    self._free[_place_of(volume)].append(volume)

    def expect_from(self, leaving: Collection[JobID]) -> None:
        """Wait for what these jobs have: they are on their way out, or out already, and their rows say so soon."""
        for volume in self._known.values():
            if volume.job in leaving and not volume.delete_on_stop and volume.decommissioned_at is None:
                self._returning[_place_of(volume)] += 1

    def held_by(self, job: Job, wanted: Sequence[VolumeReq]) -> tuple[Volume, ...] | None:
        """Return the volumes a job was given; ``None`` when it has yet to be given what it wants."""
        found = tuple(self._known[volume] for volume in job.volumes if volume in self._known)
        return found if len(found) == len(job.volumes) == len(wanted) else None

    def give(self, job: Job, wanted: Sequence[VolumeReq], ids: Callable[[], str]) -> list[Volume] | None:
        """Return the volumes a job is to have, in the order it wants them; ``None`` while one is still to come back.

        Args:
            ids: gives the ids of new volumes. A new one has the job already, and needs a row.
        """
        given: list[Volume] = []
        comes_back = False
        for request in wanted:
            place = _place(job.app, "" if request.keep else job.release, job.type, request.path)
            if self._free[place]:
                given.append(self._free[place].popleft())
            elif self._returning[place]:
                self._returning[place] -= 1
                comes_back = True
            else:
                given.append(_new(job, request, VolumeID(ids())))
        return None if comes_back else given

    def lets_adopt(self, stray: JobStatus) -> bool:
        """Whether no volume of a container without a row is unknown, or another job's. A one-off job brings its own."""
        return not stray.formation or all(
            volume in self._known and self._known[volume].job in (None, stray.id) for volume in stray.volumes
        )


def own_volumes(status: JobStatus) -> list[Volume]:
    """Return the volumes a one-off job brought with it: its `/data`, which goes with it."""
    return [
        Volume(
            path=DATA_PATH,
            delete_on_stop=True,
            id=volume,
            host_id=HOST_ID,
            type=VolumeType.DATA,
            state=VolumeState.CREATED,
            app=status.app,
            release=status.release,
            job=status.id,
        )
        for volume in status.volumes
    ]


def handed_over(old: Release, new: Release) -> frozenset[str]:
    """Return the process types whose jobs in one release get the volumes of those in the other."""
    return frozenset(kind for kind in old.processes if _kept(old, kind) & _kept(new, kind))


def _kept(release: Release, kind: str) -> set[str]:
    process = release.processes.get(kind)
    return {normpath(volume.path) for volume in process.volumes if volume.keep} if process else set()


def _place_of(volume: Volume) -> Place:
    return _place(volume.app, "" if volume.keep else volume.release, volume.job_type, volume.path)


def _place(app: str, release: str, kind: str, path: str) -> Place:
    return app, release, kind, normpath(path)


def _new(job: Job, request: VolumeReq, volume: VolumeID) -> Volume:
    return Volume(
        path=request.path,
        delete_on_stop=request.delete_on_stop,
        keep=request.keep,
        id=volume,
        host_id=HOST_ID,
        type=VolumeType.DATA,
        state=VolumeState.PENDING,
        app=job.app,
        release=job.release,
        job=job.uuid,
        job_type=job.type,
    )
