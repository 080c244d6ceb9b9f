"""The plan from any mess to order: whatever crashes and hands leave behind, it settles with what is wanted."""

from dataclasses import dataclass, field
from dataclasses import replace as with_
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flynn_aio.engine import JobStatus, RunState
from flynn_aio.model import (
    JobID,
    JobState,
    PlacedJob,
    ProcessType,
    ReleaseID,
    Strategy,
    Time,
    Volume,
    VolumeID,
    VolumeReq,
    VolumeState,
)
from flynn_aio.scheduler.plan import plan
from flynn_aio.scheduler.step import (
    AddVolume,
    CompleteScale,
    Doing,
    DropFormation,
    FinishDeployment,
    NoteStep,
    Observed,
    PutJob,
    RemoveJob,
    RemoveVolume,
    SetFormation,
    StartJob,
    Step,
    StopJob,
)
from flynn_aio.store import Desired

from .builders import (
    APP,
    EARLIER,
    NOW,
    address_of,
    desired,
    formation,
    job,
    moving,
    new_ids,
    observed,
    placed,
    release,
    status,
    volume,
)

PENDING, BLOCKED, STARTING, UP, STOPPING, DOWN = (
    JobState.PENDING,
    JobState.BLOCKED,
    JobState.STARTING,
    JobState.UP,
    JobState.STOPPING,
    JobState.DOWN,
)


def types_that(keep: bool) -> dict[str, ProcessType]:
    """Return two process types; of one the volumes are kept over releases, or not."""
    return {
        "web": ProcessType(args=["web"], volumes=[VolumeReq(path="/data", keep=keep)]),
        "worker": ProcessType(args=["worker"], volumes=[VolumeReq(path="/tmp", delete_on_stop=True)]),
    }


PATHS = {"web": "/data", "worker": "/tmp"}
SSD = {"web": {"disk": "ssd"}}
LATER = NOW + timedelta(seconds=10)


def subject(action) -> str:
    """Return the job or the volume an action is about."""
    return action.volume if isinstance(action, RemoveVolume) else action.job


@dataclass
class Model:
    """Rows and containers, and what writes and actions do to them.

    Attributes:
        types: those of both releases.
        spent: volumes that are destroyed and still on the disk.
    """

    wanted: Desired
    containers: dict[JobID, JobStatus]
    types: dict[str, ProcessType]
    now: Time = NOW
    down: set[JobID] = field(default_factory=set)
    spent: tuple[Volume, ...] = ()

    def observe(self, **more) -> Observed:
        rows = {one.job.uuid: one for one in self.wanted.jobs}
        serves = frozenset(job for job, one in rows.items() if one.job.state in (STARTING, UP) and one.address)
        return observed(
            *self.containers.values(),
            up=serves,
            told=frozenset(self.containers.keys() & self.down),
            releases={ReleaseID("new"): release("new", self.types)},
            spent=self.spent,
            **more,
        )

    def write(self, writes) -> None:
        for write in writes:
            match write:
                case PutJob():
                    self._put(write)
                case AddVolume():
                    self.wanted = with_(self.wanted, volumes=(*self.wanted.volumes, write.volume))
                case CompleteScale():
                    self._formations(lambda one: replace(one, pending_scale_request=None), write.request)
                case SetFormation():
                    self._set(write)
                case DropFormation():
                    kept = [one for one in self.wanted.formations if one.release.id != write.release]
                    self.wanted = with_(self.wanted, formations=tuple(kept))
                case NoteStep():
                    [deployment] = self.wanted.deployments
                    noted = with_(deployment, step=write.step, step_started_at=self.now, failures=())
                    self.wanted = with_(self.wanted, deployments=(noted,))
                case FinishDeployment():
                    self.wanted = with_(self.wanted, deployments=())

    def _put(self, write: PutJob) -> None:
        rows = {one.job.uuid: one for one in self.wanted.jobs}
        old = rows.get(write.job.uuid)
        rows[write.job.uuid] = PlacedJob(
            job=write.job,
            app_name=APP.name,
            address=write.address or (old.address if old else ""),
            started_at=write.started_at or (old.started_at if old else None),
            ports=[],
            formation=write.formation,
        )
        if write.job.state is DOWN:
            del rows[write.job.uuid]
            self.down.add(write.job.uuid)
        self.wanted = with_(self.wanted, jobs=tuple(rows.values()))
        self._hand_over(write.job)

    def _hand_over(self, job) -> None:
        """Do what a row's write does to volumes: a job has its own until it is down."""
        volumes = []
        for one in self.wanted.volumes:
            if job.state is DOWN and one.job == job.uuid and one.delete_on_stop:
                self.spent += (replace(one, state=VolumeState.DESTROYED),)
            elif job.state is DOWN and one.job == job.uuid:
                volumes.append(replace(one, job=None))
            elif job.state is not DOWN and one.id in job.volumes:
                assert one.job in (None, job.uuid), f"volumes in use: {one.id}"
                volumes.append(replace(one, job=job.uuid))
            else:
                volumes.append(one)
        self.wanted = with_(self.wanted, volumes=tuple(volumes))

    def _formations(self, change, request) -> None:
        self.wanted = with_(
            self.wanted,
            formations=tuple(
                change(one) if one.pending_scale_request and one.pending_scale_request.id == request else one
                for one in self.wanted.formations
            ),
        )

    def _set(self, write: SetFormation) -> None:
        others = [one for one in self.wanted.formations if one.release.id != write.release]
        new = formation(
            write.release, tags=dict(write.tags), request=f"scale-{write.release}", types=self.types, **write.processes
        )
        self.wanted = with_(self.wanted, formations=(*others, new))

    def act(self, actions) -> None:
        assert len({subject(action) for action in actions}) == len(actions)
        for action in actions:
            match action:
                case StartJob():
                    [row] = [one for one in self.wanted.jobs if one.job.uuid == action.job]
                    assert row.job.state in (PENDING, STARTING)
                    if row.job.state is PENDING:
                        self._put(PutJob(replace(row.job, state=STARTING)))
                    ids = tuple(one.id for one in action.volumes)
                    assert [one.path for one in action.volumes] == [PATHS[action.type]]
                    assert not any({*ids} & {*other.volumes} for other in self.running)
                    self.containers[action.job] = status(
                        action.job, kind=action.type, of=action.formation.release.id, volumes=ids
                    )
                case StopJob():
                    assert action.job not in self.active
                    self.containers[action.job] = with_(
                        self.containers[action.job], state=RunState.EXITED, exit_code=143
                    )
                case RemoveJob():
                    assert self.containers.pop(action.job).state is not RunState.RUNNING

                case RemoveVolume():
                    assert not any(action.volume in other.volumes for other in self.running)
                    self.spent = tuple(one for one in self.spent if one.id != action.volume)

    @property
    def running(self) -> list[JobStatus]:
        return [one for one in self.containers.values() if one.state is RunState.RUNNING]

    @property
    def active(self) -> set[JobID]:
        return {one.job.uuid for one in self.wanted.jobs if one.job.state is not STOPPING}

    def count(self, of, kind, *states) -> int:
        key = (of, kind)
        return sum(
            (one.job.release, one.job.type) == key and one.job.state in states and one.formation
            for one in self.wanted.jobs
        )


ROW_STATES = [None, DOWN, PENDING, BLOCKED, STARTING, UP, STOPPING]


@st.composite
def messes(draw) -> Model:
    """Any rows, any containers, any wishes: whatever crashes and hands may leave behind."""
    rows, containers, down = [], {}, set()
    for number in range(draw(st.integers(0, 9))):
        name = f"job-{number}"
        kind, of = draw(st.sampled_from(["web", "worker", "gone"])), draw(st.sampled_from(["old", "new"]))
        in_formation = draw(st.integers(0, 4)) > 0
        state = draw(st.sampled_from(ROW_STATES))
        runs = draw(st.sampled_from([None, *RunState]))
        if not in_formation and runs is RunState.CREATED:
            runs = None  # somebody is about to start it: not ours to wait for
        was_seen = draw(st.booleans())
        if state is DOWN:
            down.add(JobID(name))
        elif state is not None:
            run_at = draw(st.none() | st.just(LATER)) if state is PENDING else None
            row = job(name, state, kind, of, run_at=run_at, restarts=draw(st.none() | st.integers(0, 20)))
            where = {"address": address_of(name), "started_at": EARLIER} if was_seen and state is not PENDING else {}
            rows.append(placed(row, formation=in_formation, **where))
        if runs is not None:
            code = draw(st.sampled_from([0, 1, 137])) if runs is RunState.EXITED else None
            containers[JobID(name)] = status(name, runs, kind, of, formation=in_formation, exit_code=code)
    types = types_that(keep=draw(st.booleans()))
    counts = st.dictionaries(st.sampled_from(["web", "worker"]), st.integers(0, 4))
    formations = [
        formation(
            of,
            tags=draw(st.sampled_from([{}, {}, SSD])),
            request=draw(st.sampled_from(["", of])),
            types=types,
            **draw(counts),
        )
        for of in draw(st.sampled_from([["old"], ["new", "old"], []]))
    ]
    model = Model(desired(*rows, formations=formations), containers, types, down=down)
    for number in range(draw(st.integers(0, 4))):
        give_volume(draw, model, f"volume-{number}")
    return model


def give_volume(draw, model: Model, name: str) -> None:
    """Add a volume that is free, or that a job has: one with a row, or a container without."""
    kind, of = draw(st.sampled_from(["web", "worker"])), draw(st.sampled_from(["old", "new"]))
    decommissioned = draw(st.sampled_from([None, None, EARLIER]))
    one = volume(name, kind=kind, of=of, path=PATHS[kind], decommissioned_at=decommissioned)
    kept = model.types[kind].volumes[0].keep
    one = replace(one, keep=kept, delete_on_stop=kind == "worker")
    rows = {row.job.uuid: row for row in model.wanted.jobs}
    place = (of, kind)
    able = {row.job.uuid for row in rows.values() if (row.job.release, row.job.type) == place}
    strays = [stray for job, stray in model.containers.items() if job not in rows and stray.formation]
    able |= {stray.id for stray in strays if (stray.release, stray.type) == place}
    taken = {other.job for other in model.wanted.volumes}
    holder = draw(st.sampled_from([None, *sorted(able - taken - model.down)]))
    if row := rows.get(holder):
        rows[holder] = replace(row, job=replace(row.job, volumes=[VolumeID(name)]))
        one = replace(one, job=holder)
    if holder in model.containers:
        model.containers[holder] = with_(model.containers[holder], volumes=(VolumeID(name),))
    model.wanted = with_(model.wanted, jobs=tuple(rows.values()), volumes=(*model.wanted.volumes, one))


def settle(model: Model) -> None:
    """Write, act and let time pass until nothing is left to do."""
    ids = new_ids()
    for _ in range(100):
        step = plan(model.wanted, model.observe(), model.now, lambda: next(ids))
        check_counts(model, step)
        model.write(step.writes)
        model.act(step.actions)
        if not step.writes and not step.actions:
            if step.wake_at is None:
                return
            assert step.wake_at > model.now
            model.now = step.wake_at
    raise AssertionError(f"it does not settle: {step}")


def check_counts(model: Model, step: Step) -> None:
    """A plan's rows are never more than wanted, and it stops no more of the dear ones than it must."""
    after = Model(model.wanted, dict(model.containers), model.types, model.now, set(model.down))
    after.write([write for write in step.writes if isinstance(write, PutJob)])
    for one in model.wanted.formations:
        for kind, count in one.processes.items():
            assert after.count(one.release.id, kind, PENDING, BLOCKED, STARTING, UP) == count
            stopped = sum(
                write.job.state is STOPPING and (write.job.release, write.job.type) == (one.release.id, kind)
                for write in step.writes
                if isinstance(write, PutJob)
            )
            if not one.tags.get(kind):
                assert stopped <= max(model.count(one.release.id, kind, PENDING, BLOCKED, STARTING, UP) - count, 0)


def check_order(model: Model) -> None:
    """What runs is what is wanted, and nothing else is left of any formation."""
    running = [one for one in model.containers.values() if one.formation]
    assert all(one.state is RunState.RUNNING for one in running)
    for one in model.wanted.formations:
        for kind, count in one.processes.items():
            wanted = 0 if one.tags.get(kind) else count
            assert model.count(one.release.id, kind, UP) == wanted
            assert sum((one.release.id, kind) == (each.release, each.type) for each in running) == wanted
    assert len(running) == sum(model.count(of, kind, UP) for of in ("old", "new") for kind in ("web", "worker"))
    for one in model.wanted.formations:
        assert one.pending_scale_request is None or any(one.tags.values())
    held = [each for one in model.running for each in one.volumes]
    assert len(held) == len(set(held))
    assert model.spent == ()


@settings(max_examples=100, deadline=None)
@given(messes())
def test_any_mess_settles_with_what_is_wanted(model):
    settle(model)
    check_order(model)


@settings(max_examples=60, deadline=None)
@given(
    messes(),
    st.dictionaries(st.sampled_from([JobID(f"job-{n}") for n in range(9)]), st.sampled_from(Doing)),
    st.sets(st.sampled_from([JobID(f"job-{n}") for n in range(9)])),
)
def test_what_is_in_flight_is_left_alone_but_for_starts_that_are_to_stop(model, doing, failed):
    ids = new_ids()
    step = plan(model.wanted, model.observe(doing=doing, failed=dict.fromkeys(failed, "no")), NOW, lambda: next(ids))
    check_counts(model, step)
    for action in step.actions:
        assert subject(action) not in doing or (isinstance(action, StopJob) and doing[action.job] is Doing.STARTING)


@settings(max_examples=60, deadline=None)
@given(
    messes(),
    st.sampled_from([Strategy.ALL_AT_ONCE, Strategy.ONE_BY_ONE, Strategy.IN_BATCHES, Strategy.ONE_DOWN_ONE_UP]),
    st.dictionaries(st.sampled_from(["web", "worker"]), st.integers(1, 4)),
    st.integers(1, 3),
)
def test_a_deployment_ends_from_any_mess(model, strategy, processes, batch_size):
    deployment = moving(strategy=strategy, processes=processes, batch_size=batch_size, timeout=3600)
    model.wanted = with_(model.wanted, deployments=(deployment,))
    settle(model)
    check_order(model)
    assert model.wanted.deployments == ()
    formations = {one.release.id: one for one in model.wanted.formations}
    assert not any(formations["old"].processes.values()) if "old" in formations else True
    assert all(formations["new"].processes[kind] >= count for kind, count in processes.items())


@settings(max_examples=30, deadline=None)
@given(messes())
def test_a_plan_is_a_function_of_what_it_is_given(model):
    first, second = new_ids(), new_ids()
    assert plan(model.wanted, model.observe(), NOW, lambda: next(first)) == plan(
        model.wanted, model.observe(), NOW, lambda: next(second)
    )
