"""The contract suite: what `flynn_aio/engine/protocol.py` promises, asked of every engine.

`test_fake.py` and `test_podman.py` each run it with a `world`. Not collected by itself.
"""

import signal
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from flynn_aio.engine import Attachment, Engine, JobSpec, JobStatus, Output, RunState, Stream, VolumeMount
from flynn_aio.errors import EngineError, NotFound, StartError
from flynn_aio.model import AppID, JobID, ReleaseID, VolumeID

WAIT_S = 20.0
"""Far more than any real wait; a test that needs it has failed."""

RUN_FOREVER = ("sleep", "100000")
EXIT_42 = ("sh", "-c", "exit 42")
EXIT_0 = ("true",)
IGNORE_TERM = ("sh", "-c", "trap '' TERM; echo ready; while true; do sleep 0.1; done")
STOP_AT_INT = ("sh", "-c", "trap '' TERM; trap 'exit 7' INT; echo ready; while true; do sleep 0.1; done")
PRINT = ("sh", "-c", "echo out; echo err >&2; exit 3")
CAT = ("cat",)
SIZE = ("sh", "-c", "read line; stty size; exit 5")
FLOOD = ("sh", "-c", "while true; do echo 0123456789012345678901234567890123456789; done")
ENVIRONMENT = ("sh", "-c", 'echo "$EXTERNAL_IP"; echo "$GREETING"')
WRITE_VOLUME = ("sh", "-c", "echo kept > /store/file")
READ_VOLUME = ("sh", "-c", "cat /store/file")
LISTEN = ("sh", "-c", "httpd -p 0.0.0.0:3000 && exec httpd -f -p 127.0.0.1:8080")
MISSING = ("no-such-command",)


@dataclass
class World:
    """An engine and what its jobs are made of."""

    engine: Engine
    image: str
    log_dir: Path
    app: AppID = field(default_factory=lambda: AppID(str(uuid.uuid4())))

    def spec(self, args: tuple[str, ...], **changes: Any) -> JobSpec:
        defaults: dict[str, Any] = {
            "id": JobID(str(uuid.uuid4())),
            "app": self.app,
            "app_name": "contract",
            "release": ReleaseID(str(uuid.uuid4())),
            "image": self.image,
            "args": args,
            "env": {"PATH": "/bin"},
        }
        return JobSpec(**(defaults | changes))

    async def volume(self) -> VolumeMount:
        """Create a volume and return it as a job has it."""
        volume = VolumeID(str(uuid.uuid4()))
        await self.engine.create_volume(volume)
        return VolumeMount(volume, "/store")

    async def job(self, id: JobID) -> JobStatus | None:
        return next((job for job in await self.engine.jobs() if job.id == id), None)

    async def until(self, id: JobID, accepts: Callable[[JobStatus], bool]) -> JobStatus:
        """Wait for the bell until a job's status is as wanted."""
        with trio.fail_after(WAIT_S):
            while True:
                seen = self.engine.bell.version
                job = await self.job(id)
                if job is not None and accepts(job):
                    return job
                await self.engine.bell.moved_past(seen)

    async def ended(self, id: JobID) -> JobStatus:
        return await self.until(id, lambda job: job.state is RunState.EXITED)


async def text_of(output: AsyncIterator[Output]) -> dict[Stream, bytes]:
    """Read all there is, by stream."""
    text = dict.fromkeys(Stream, b"")
    with trio.fail_after(WAIT_S):
        async for piece in output:
            assert 0 < len(piece.data) <= 64 * 1024
            text[piece.stream] += piece.data
    return text


async def first_bytes(attachment: Attachment, wanted: bytes) -> bytes:
    """Read until `wanted` has come."""
    seen = b""
    with trio.fail_after(WAIT_S):
        while wanted not in seen:
            seen += (await anext(attachment.output)).data
    return seen


class EngineContract:
    """One test per promise."""

    # -- start and jobs ------------------------------------------------------------------------

    async def test_a_started_job_is_listed_as_it_was_asked_for(self, world: World):
        spec = world.spec(RUN_FOREVER, type="web", formation=True, meta={"who": "me"})
        status = await world.engine.start(spec)
        assert status.state is RunState.RUNNING
        assert (status.id, status.app, status.release) == (spec.id, spec.app, spec.release)
        assert (status.type, status.formation, status.args) == ("web", True, RUN_FOREVER)
        assert (status.meta, status.exit_code, status.oom, status.error) == ({"who": "me"}, None, False, "")
        assert status.address
        assert status.started_at is not None
        assert await world.engine.jobs() == [status]

    async def test_starting_a_job_again_changes_nothing(self, world: World):
        spec = world.spec(RUN_FOREVER)
        first = await world.engine.start(spec)
        assert await world.engine.start(spec) == first
        assert len(await world.engine.jobs()) == 1

    async def test_starting_a_job_twice_at_once_starts_it_once(self, world: World):
        spec = world.spec(RUN_FOREVER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.engine.start, spec)
            nursery.start_soon(world.engine.start, spec)
        assert [job.id for job in await world.engine.jobs()] == [spec.id]

    async def test_every_job_has_an_address_of_its_own(self, world: World):
        specs = [world.spec(RUN_FOREVER) for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for spec in specs:
                nursery.start_soon(world.engine.start, spec)
        assert len({job.address for job in await world.engine.jobs()}) == 3

    async def test_a_missing_command_is_told_in_gos_words_and_leaves_nothing(self, world: World):
        with pytest.raises(StartError) as error:
            await world.engine.start(world.spec(MISSING))
        assert error.value.message == 'exec: "no-such-command": executable file not found in $PATH'
        assert await world.engine.jobs() == []

    async def test_a_missing_image_is_a_start_error(self, world: World):
        with pytest.raises(StartError):
            await world.engine.start(world.spec(RUN_FOREVER, image="localhost/flynn-aio-test/missing:1"))
        assert await world.engine.jobs() == []

    async def test_a_cancelled_start_leaves_a_whole_job_or_none(self, world: World):
        spec = world.spec(RUN_FOREVER)
        with trio.move_on_after(0.02):
            await world.engine.start(spec)
        job = await world.job(spec.id)
        assert job is None or job.state is RunState.RUNNING
        assert (await world.engine.start(spec)).state is RunState.RUNNING

    async def test_the_environment_is_the_specs_and_the_address(self, world: World):
        spec = world.spec(ENVIRONMENT, env={"PATH": "/bin", "GREETING": "hello  world", "EXTERNAL_IP": "wrong"})
        async with world.engine.attach(spec) as attachment:
            text = (await text_of(attachment.output))[Stream.STDOUT].decode()
            assert text == f"{(await attachment.wait()).address}\nhello  world\n"

    # -- where it listens ----------------------------------------------------------------------

    async def test_a_job_listens_where_it_opened_ports_and_nowhere_when_it_has_ended(self, world: World):
        idle, listening = world.spec(RUN_FOREVER), world.spec(LISTEN)
        await world.engine.start(idle)
        await world.engine.start(listening)
        with trio.fail_after(WAIT_S):
            while len(await world.engine.listening(listening.id) or ()) < 2:  # noqa: ASYNC110 – nothing tells of it
                await trio.sleep(0.05)
        assert await world.engine.listening(listening.id) == ("0.0.0.0:3000", "127.0.0.1:8080")
        assert await world.engine.listening(idle.id) == ()
        await world.engine.stop(idle.id, kill_s=0)
        assert await world.engine.listening(idle.id) is None
        assert await world.engine.listening(JobID(str(uuid.uuid4()))) is None

    async def test_where_a_job_on_the_hosts_network_listens_cannot_be_told(self, world: World):
        spec = world.spec(RUN_FOREVER, host_network=True)
        await world.engine.start(spec)
        assert await world.engine.listening(spec.id) is None

    # -- the end of a job ----------------------------------------------------------------------

    async def test_an_ended_job_stays_listed_with_its_code_until_it_is_removed(self, world: World):
        spec = world.spec(EXIT_42)
        await world.engine.start(spec)
        assert (await world.ended(spec.id)).exit_code == 42
        assert (await world.engine.start(spec)).exit_code == 42  # still no second run
        await world.engine.remove(spec.id)
        assert await world.engine.jobs() == []

    async def test_a_clean_exit_is_zero(self, world: World):
        spec = world.spec(EXIT_0)
        await world.engine.start(spec)
        assert (await world.ended(spec.id)).exit_code == 0

    async def test_stop_is_sigterm_and_returns_when_the_job_has_ended(self, world: World):
        spec = world.spec(RUN_FOREVER)
        await world.engine.start(spec)
        await world.engine.stop(spec.id, kill_s=WAIT_S)
        job = await world.job(spec.id)
        assert job is not None
        assert (job.state, job.exit_code) == (RunState.EXITED, 128 + signal.SIGTERM)

    async def test_a_job_that_ignores_sigterm_is_killed_after_kill_s(self, world: World):
        spec = world.spec(IGNORE_TERM, log=False)
        await world.engine.start(spec)
        await self.term_is_ignored(world, spec.id)
        began = trio.current_time()
        await world.engine.stop(spec.id, kill_s=0.5)
        assert trio.current_time() - began >= 0.5
        job = await world.job(spec.id)
        assert job is not None
        assert job.exit_code == 128 + signal.SIGKILL

    async def test_a_job_is_stopped_with_the_signal_of_its_spec(self, world: World):
        spec = world.spec(STOP_AT_INT, log=False, stop_signal=signal.SIGINT, stop_s=45.0)
        status = await world.engine.start(spec)
        assert (status.stop_signal, status.stop_s) == (signal.SIGINT, 45.0)
        await self.term_is_ignored(world, spec.id)
        await world.engine.stop(spec.id, kill_s=WAIT_S)
        assert (await world.ended(spec.id)).exit_code == 7

    async def test_a_job_that_is_given_no_time_is_killed_unasked(self, world: World):
        spec = world.spec(STOP_AT_INT, log=False, stop_signal=signal.SIGINT)
        await world.engine.start(spec)
        await self.term_is_ignored(world, spec.id)
        await world.engine.stop(spec.id, kill_s=0)
        assert (await world.ended(spec.id)).exit_code == 128 + signal.SIGKILL

    async def term_is_ignored(self, world: World, job: JobID) -> None:
        """Wait until the program had the time to set its trap."""
        await trio.sleep(0.3)

    async def test_stopping_what_ended_or_never_was_is_no_error(self, world: World):
        spec = world.spec(EXIT_0)
        await world.engine.start(spec)
        await world.ended(spec.id)
        await world.engine.stop(spec.id, kill_s=1)
        await world.engine.stop(JobID(str(uuid.uuid4())), kill_s=1)

    async def test_stopping_a_job_that_is_being_started_stops_it(self, world: World):
        spec = world.spec(RUN_FOREVER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.engine.start, spec)
            await trio.testing.wait_all_tasks_blocked()
            await world.engine.stop(spec.id, kill_s=WAIT_S)
        job = await world.job(spec.id)
        assert job is not None
        assert job.state is RunState.EXITED

    async def test_a_signal_reaches_the_main_process(self, world: World):
        spec = world.spec(RUN_FOREVER)
        await world.engine.start(spec)
        await world.engine.signal(spec.id, signal.SIGINT)
        assert (await world.ended(spec.id)).exit_code == 128 + signal.SIGINT
        with pytest.raises(NotFound):
            await world.engine.signal(spec.id, signal.SIGINT)
        with pytest.raises(NotFound):
            await world.engine.signal(JobID(str(uuid.uuid4())), signal.SIGINT)

    async def test_removing_a_running_job_kills_it_and_removing_again_is_no_error(self, world: World):
        spec = world.spec(RUN_FOREVER)
        await world.engine.start(spec)
        await world.engine.remove(spec.id)
        assert await world.engine.jobs() == []
        await world.engine.remove(spec.id)

    async def test_the_bell_rings_for_start_end_and_removal(self, world: World):
        spec = world.spec(RUN_FOREVER)
        for act in (
            lambda: world.engine.start(spec),
            lambda: world.engine.stop(spec.id, kill_s=WAIT_S),
            lambda: world.engine.remove(spec.id),
        ):
            seen = world.engine.bell.version
            await act()
            assert world.engine.bell.version > seen

    async def test_output_is_logged_and_the_file_outlives_the_job(self, world: World):
        spec = world.spec(PRINT, type="web")
        await world.engine.start(spec)
        await world.ended(spec.id)
        await world.engine.remove(spec.id)
        [path] = world.log_dir.glob("*.log")
        assert path.name == f"{spec.app}.{spec.id}.web.log"
        lines = {line.split(" ", 1)[1] for line in path.read_text().splitlines()}
        assert lines == {"stdout F out", "stderr F err"}

    async def test_a_job_that_is_not_logged_leaves_no_file(self, world: World):
        spec = world.spec(PRINT, log=False)
        await world.engine.start(spec)
        await world.ended(spec.id)
        assert list(world.log_dir.glob("*")) == []

    # -- attach --------------------------------------------------------------------------------

    async def test_an_attached_job_prints_to_two_streams_and_ends_with_its_code(self, world: World):
        async with world.engine.attach(world.spec(PRINT, log=False)) as attachment:
            assert await text_of(attachment.output) == {Stream.STDOUT: b"out\n", Stream.STDERR: b"err\n"}
            assert (await attachment.wait()).exit_code == 3
        assert await world.engine.jobs() == []

    async def test_stdin_is_passed_on_and_its_end_too(self, world: World):
        async with world.engine.attach(world.spec(CAT, log=False)) as attachment:
            await attachment.send(b"one\n")
            assert await first_bytes(attachment, b"one\n") == b"one\n"
            await attachment.send(b"two\n")
            await attachment.send_eof()
            assert (await text_of(attachment.output))[Stream.STDOUT] == b"two\n"
            assert (await attachment.wait()).exit_code == 0
            await attachment.send(b"into the void")
            await attachment.signal(signal.SIGTERM)
            await attachment.resize(rows=1, columns=1)

    async def test_a_terminal_has_the_size_it_was_given_and_everything_is_stdout(self, world: World):
        spec = world.spec(SIZE, tty=True, rows=40, columns=132)
        async with world.engine.attach(spec) as attachment:
            await attachment.send(b"go\n")
            text = await text_of(attachment.output)
            assert b"40 132" in text[Stream.STDOUT]
            assert text[Stream.STDERR] == b""
            assert (await attachment.wait()).exit_code == 5

    async def test_a_terminal_can_be_resized(self, world: World):
        spec = world.spec(SIZE, tty=True, rows=40, columns=132)
        async with world.engine.attach(spec) as attachment:
            await attachment.resize(rows=50, columns=150)
            await attachment.send(b"go\n")
            assert b"50 150" in (await text_of(attachment.output))[Stream.STDOUT]

    async def test_a_signal_ends_an_attached_job(self, world: World):
        async with world.engine.attach(world.spec(RUN_FOREVER, log=False)) as attachment:
            await attachment.signal(signal.SIGTERM)
            assert await text_of(attachment.output) == {Stream.STDOUT: b"", Stream.STDERR: b""}
            assert (await attachment.wait()).exit_code == 128 + signal.SIGTERM

    async def test_leaving_kills_and_removes_a_job_that_floods_an_idle_reader(self, world: World):
        async with world.engine.attach(world.spec(FLOOD, log=False)) as attachment:
            await first_bytes(attachment, b"0123456789")
        assert await world.engine.jobs() == []

    async def test_cancelling_kills_and_removes_too(self, world: World):
        with trio.move_on_after(WAIT_S) as scope:
            async with world.engine.attach(world.spec(FLOOD, log=False)) as attachment:
                await first_bytes(attachment, b"0123456789")
                scope.cancel()
                await text_of(attachment.output)
        assert scope.cancelled_caught
        assert await world.engine.jobs() == []

    async def test_an_error_in_the_block_passes_through_and_leaves_nothing(self, world: World):
        with pytest.raises(ValueError, match="mine"):
            async with world.engine.attach(world.spec(RUN_FOREVER, log=False)):
                raise ValueError("mine")
        assert await world.engine.jobs() == []

    async def test_attaching_to_a_missing_command_is_a_start_error(self, world: World):
        with pytest.raises(StartError) as error:
            async with world.engine.attach(world.spec(MISSING)):
                pass
        assert error.value.message == 'exec: "no-such-command": executable file not found in $PATH'
        assert await world.engine.jobs() == []

    async def test_an_attached_job_is_listed_and_can_be_stopped_by_others(self, world: World):
        spec = world.spec(RUN_FOREVER, log=False)
        async with world.engine.attach(spec) as attachment:
            assert [job.id for job in await world.engine.jobs()] == [spec.id]
            await world.engine.stop(spec.id, kill_s=WAIT_S)
            assert (await attachment.wait()).exit_code == 128 + signal.SIGTERM

    async def test_a_job_can_be_attached_to_only_by_starting_it(self, world: World):
        spec = world.spec(RUN_FOREVER)
        await world.engine.start(spec)
        with pytest.raises(EngineError, match="started already"):
            async with world.engine.attach(spec):
                pass

    async def test_attached_output_is_logged_when_asked_for(self, world: World):
        async with world.engine.attach(world.spec(PRINT, log=True)) as attachment:
            assert (await text_of(attachment.output))[Stream.STDOUT] == b"out\n"
            await attachment.wait()
        [path] = world.log_dir.glob("*.log")
        assert "stdout F out" in path.read_text()

    # -- volumes -------------------------------------------------------------------------------

    async def test_what_a_job_writes_to_a_volume_the_next_one_reads(self, world: World):
        volume = await world.volume()
        first = world.spec(WRITE_VOLUME, volumes=(volume,))
        status = await world.engine.start(first)
        assert status.volumes == (volume.id,)
        await world.ended(first.id)
        await world.engine.remove(first.id)
        async with world.engine.attach(world.spec(READ_VOLUME, volumes=(volume,), log=False)) as attachment:
            assert (await text_of(attachment.output))[Stream.STDOUT] == b"kept\n"
        assert await world.engine.volumes() == {volume.id}

    async def test_a_volume_serves_one_live_job(self, world: World):
        one, other, free = [await world.volume() for _ in range(3)]
        holder = world.spec(RUN_FOREVER, volumes=(one, replace(other, target="/other")))
        late = world.spec(RUN_FOREVER, volumes=(other, replace(free, target="/free"), replace(one, target="/one")))
        await world.engine.start(holder)
        with pytest.raises(EngineError) as error:
            await world.engine.start(late)
        assert error.value.message == f"volumes in use: {other.id}, {one.id}"
        assert not isinstance(error.value, StartError)
        with pytest.raises(EngineError, match=f"volumes in use: {one.id}"):
            await world.engine.remove_volume(one.id)
        await world.engine.stop(holder.id, kill_s=WAIT_S)
        assert (await world.engine.start(late)).state is RunState.RUNNING

    async def test_of_two_jobs_started_at_once_one_gets_the_volume(self, world: World):
        volume = await world.volume()
        outcomes: list[str] = []

        async def start() -> None:
            try:
                outcomes.append((await world.engine.start(world.spec(RUN_FOREVER, volumes=(volume,)))).state.value)
            except EngineError as error:
                outcomes.append(error.message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            nursery.start_soon(start)
        assert sorted(outcomes) == ["running", f"volumes in use: {volume.id}"]

    async def test_a_job_whose_volume_is_gone_cannot_start_and_says_what_to_do(self, world: World):
        volume = await world.volume()
        await world.engine.remove_volume(volume.id)
        spec = world.spec(RUN_FOREVER, volumes=(volume,))
        with pytest.raises(StartError) as error:
            await world.engine.start(spec)
        assert error.value.message.startswith(f"cannot start job {spec.id}: its volume {volume.id} is gone (")
        assert error.value.message.endswith(f": flynn -a contract volume decommission {volume.id}")
        assert await world.engine.jobs() == []

    async def test_volumes_are_created_and_removed_once(self, world: World):
        volume = await world.volume()
        await world.engine.create_volume(volume.id)
        assert await world.engine.volumes() == {volume.id}
        for _ in range(2):
            await world.engine.remove_volume(volume.id)
        assert await world.engine.volumes() == frozenset()

    # -- images --------------------------------------------------------------------------------

    async def test_images_exist_or_do_not(self, world: World):
        assert await world.engine.image_exists(world.image)
        assert not await world.engine.image_exists("localhost/flynn-aio-test/missing:1")

    async def test_pulling_an_image_nobody_has_is_an_engine_error(self, world: World):
        with pytest.raises(EngineError, match="cannot pull image"):
            await world.engine.pull_image("localhost/flynn-aio-test/missing:1")
