"""Podman: the contract on the real thing, and what only the real thing can get wrong."""

import os
import shutil
import signal
import socket
import subprocess
import tarfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from flynn_aio.engine import (
    OOM_TEXT,
    JobSpec,
    Mount,
    Output,
    Partition,
    RunState,
    Stream,
    open_engine,
    shut_down,
)
from flynn_aio.engine.calls import Calls
from flynn_aio.engine.client import Client
from flynn_aio.engine.host import CgroupMode, cgroup_mode
from flynn_aio.engine.service import find_service, service_paths
from flynn_aio.engine.sweep import CGROUP_ROOT
from flynn_aio.errors import EngineError, StartError
from flynn_aio.model import JobID
from flynn_aio.settings import MIB, EngineSettings
from tests.support.images import write_rootfs
from tests.support.layers import digest, layer_tar

from .appliance import open_world, output_of
from .contract import EXIT_42, PRINT, RUN_FOREVER, WAIT_S, EngineContract, World, first_bytes, text_of

pytestmark = pytest.mark.podman


class TestPodman(EngineContract):
    """The contract."""


async def podman(*args: str) -> str:
    """Ask Podman's own command, which shares nothing with ours but the storage."""
    return (await trio.run_process(["podman", *args], capture_stdout=True, capture_stderr=True)).stdout.decode()


async def make_half(settings: EngineSettings, image: str) -> None:
    """Leave a container of ours behind that was created and never started."""
    job = "00000000-0000-4000-8000-00000000half"
    labels = ("--label", f"flynn.appliance={settings.appliance}", "--label", f"flynn.job={job}")
    await podman("create", "--name", settings.prefix + job, *labels, image, *RUN_FOREVER)


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again, where nothing tells of a change."""
    with trio.fail_after(WAIT_S):
        while True:
            if await check():
                return
            await trio.sleep(0.05)


async def starts(world: World, spec: JobSpec) -> bool:
    """Try to start a job; return whether the engine could."""
    try:
        return (await world.engine.start(spec)).state is RunState.RUNNING
    except EngineError:
        return False


def service_pid(settings: EngineSettings) -> int:
    return int(service_paths(settings).pid.read_text())


# -- what a job finds inside -----------------------------------------------------------------------


async def test_limits_are_the_specs(world):
    script = "cat memory/memory.limit_in_bytes cpu/cpu.shares pids/pids.max; ulimit -n"
    wanted = ["209715200", "512", "77", "9000"]
    if cgroup_mode() is CgroupMode.V2:
        script, wanted = "cat memory.max pids.max; ulimit -n", ["209715200", "77", "9000"]
    limits = {"memory_bytes": 200 * MIB, "cpu_shares": 512, "max_fd": 9000, "pids": 77}
    assert (await output_of(world, script, workdir="/sys/fs/cgroup", **limits)).split() == wanted


async def test_a_build_weighs_less_than_an_app(world):
    weight = "cpu.weight" if cgroup_mode() is CgroupMode.V2 else "cpu/cpu.shares"
    script = f"cat {weight} /proc/self/oom_score_adj"

    async def weigh(partition):
        text = await output_of(world, script, workdir="/sys/fs/cgroup", cpu_shares=1024, partition=partition)
        return [int(number) for number in text.split()]

    app, build = await weigh(Partition.USER), await weigh(Partition.BACKGROUND)
    assert app[0] > 2 * build[0]
    assert (app[1], build[1]) == (0, 500)


async def test_names_are_as_flynn_has_them(world, settings):
    spec = world.spec(("sh", "-c", "hostname; cat /etc/hosts; cat /etc/resolv.conf"), log=False)
    async with world.engine.attach(spec) as attachment:
        text = (await text_of(attachment.output))[Stream.STDOUT].decode()
    assert text.splitlines() == [spec.id, f"127.0.0.1 localhost {spec.id}", f"nameserver {settings.gateway}"]


async def test_an_ordinary_user_has_no_capabilities_and_can_print_to_dev_stdout(world):
    script = "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status | cut -f2; (echo sub > /dev/stdout); pwd"
    text = await output_of(world, script, user="5000:5000", workdir="/app")
    assert text.split() == ["5000", "0000000000000000", "1", "sub", "/app"]


async def test_the_mac_follows_from_the_address(world):
    lines = (await output_of(world, 'cat /sys/class/net/eth0/address; echo "$EXTERNAL_IP"')).split()
    assert lines[0] == "02:42:" + ":".join(f"{int(part):02x}" for part in lines[1].split("."))


async def test_a_slug_is_writable_for_the_job_and_never_changes(world, settings):
    slug = settings.slug_dir / "s1"
    slug.mkdir(parents=True)
    (slug / "Procfile").write_text("web: x\n")
    text = await output_of(world, "cat /app/Procfile; echo y > /app/Procfile; touch /app/z; ls /app", slug="s1")
    assert text.split() == ["web:", "x", "Procfile", "z"]
    assert ((slug / "Procfile").read_text(), os.listdir(slug)) == ("web: x\n", ["Procfile"])


async def test_a_slug_that_is_gone_is_a_start_error(world):
    with pytest.raises(StartError, match="slug nope is gone"):
        await world.engine.start(world.spec(RUN_FOREVER, slug="nope"))


async def test_mounts_and_data(world, tmp_path, settings):
    (tmp_path / "in").write_text("from outside\n")
    mount = Mount(source=tmp_path / "in", target="/etc/in")
    script = "cat /etc/in; echo no > /etc/in || echo read-only; echo x > /data/x && cat /data/x"
    text = await output_of(world, script + " 2>/dev/null", mounts=(mount,), data=True, user="5000:5000")
    assert text.splitlines() == ["from outside", "read-only", "x"]
    assert list(settings.volume_dir.iterdir()) == []


async def test_data_of_any_depth_goes_with_its_job(world, settings):
    deeper = "mkdir -p $d; cd $d; " * 20  # far deeper than Python would follow
    script = f"d=$(printf 'd/%.0s' $(seq 100)); cd /data; {deeper} pwd | wc -c"
    assert int(await output_of(world, script, data=True)) > 3000
    assert list(settings.volume_dir.iterdir()) == []


async def test_the_hosts_network_is_reached_at_the_gateway_and_names_stay(world, settings):
    script = "echo $EXTERNAL_IP; cat /proc/net/dev; cat /etc/resolv.conf; hostname"
    await world.engine.start(world.spec(RUN_FOREVER))  # the bridge is there as long as somebody is on it
    spec = world.spec(("sh", "-c", script), log=False, host_network=True)
    async with world.engine.attach(spec) as attachment:
        status = await world.job(spec.id)
        lines = (await text_of(attachment.output))[Stream.STDOUT].decode().splitlines()
    gateway = settings.gateway
    assert status is not None
    assert (status.address, lines[0], lines[-1]) == (gateway, gateway, spec.id)
    assert f"nameserver {gateway}" in lines
    assert f"{settings.network}:" in " ".join(lines)


async def test_the_bridge_keeps_its_hardware_address_when_the_first_job_leaves(world, settings):
    """Else those who stay send their answers to an address nobody has, until ARP asks again."""
    address = Path("/sys/class/net") / settings.network / "address"
    first, second = world.spec(RUN_FOREVER), world.spec(RUN_FOREVER)
    await world.engine.start(first)
    before = address.read_text()
    await world.engine.start(second)
    await world.engine.stop(first.id, kill_s=0)
    await world.engine.remove(first.id)
    assert address.read_text() == before


async def test_the_hosts_processes_are_seen_when_they_are_asked_for(world):
    inside = await output_of(world, "ls -d /proc/[0-9]* | wc -l")
    outside = await output_of(world, "ls -d /proc/[0-9]* | wc -l", host_pid=True)
    assert int(inside) < 5 < int(outside)


async def test_capabilities_and_devices_are_those_that_were_asked_for(world):
    bounding = await output_of(world, "grep CapBnd /proc/self/status", capabilities=("CAP_KILL", "CAP_CHOWN"))
    assert int(bounding.split()[1], 16) == 1 << 5 | 1 << 0
    assert await output_of(world, "test -c /dev/net/tun && echo there", devices=("/dev/net/tun",)) == "there\n"
    with pytest.raises(StartError, match="/dev/no-such-device"):
        await world.engine.start(world.spec(RUN_FOREVER, devices=("/dev/no-such-device",)))
    with pytest.raises(StartError, match="/no-such-directory"):
        mount = Mount(source=Path("/no-such-directory"), target="/in")
        await world.engine.start(world.spec(RUN_FOREVER, mounts=(mount,)))


OWNER = "stat -c %u:%g:%a /store"


async def test_an_empty_volume_belongs_to_whoever_the_job_runs_as(world, settings):
    volume = await world.volume()
    first = await output_of(world, f"{OWNER}; echo x > /store/x", volumes=(volume,), user="5000:5001")
    assert first == "5000:5001:755\n"
    again = await output_of(
        world, f"{OWNER}; cat /store/x; echo y > /store/y || echo not mine", volumes=(volume,), user="7"
    )
    assert again.splitlines() == ["5000:5001:755", "x", "not mine"]  # from then on its owners are the jobs' affair
    assert (settings.volume_dir / volume.id / "x").read_text() == "x\n"


async def test_a_volume_brings_no_devices_and_no_other_users_rights(world):
    volume = await world.volume()
    options = (await output_of(world, "grep ' /store ' /proc/self/mountinfo", volumes=(volume,))).split()[5].split(",")
    assert {"rw", "nosuid", "nodev"} <= set(options)


async def test_a_volume_may_lie_inside_the_app_and_needs_no_directory_there(world, settings):
    slug = settings.slug_dir / "s1"
    slug.mkdir()
    (slug / "Procfile").write_text("web: x\n")
    volume = replace(await world.volume(), target="/app/store")
    text = await output_of(
        world, "ls /app; echo x > /app/store/x && cat /app/store/x", slug="s1", volumes=(volume,), user="5000:5000"
    )
    assert text.split() == ["Procfile", "store", "x"]
    assert os.listdir(slug) == ["Procfile"]


async def test_a_volume_for_which_there_is_no_room_is_a_start_error(world, settings):
    await trio.run_process(["mount", "-t", "tmpfs", "-o", "nr_inodes=1,mode=700", "tmpfs", str(settings.volume_dir)])
    try:
        with pytest.raises(StartError, match=r"cannot create volume .*: No space left on device; free some space"):
            await world.volume()
    finally:
        await trio.run_process(["umount", str(settings.volume_dir)])


async def test_volumes_and_who_has_them_outlive_us(settings, image, world):
    volume = await world.volume()
    spec = world.spec(("sh", "-c", "echo kept > /store/file; exec sleep 100000"), volumes=(volume,))
    await world.engine.start(spec)
    async with open_world(settings, image) as later:
        [status] = await later.engine.jobs()
        assert status.volumes == (volume.id,)
        assert await later.engine.volumes() == {volume.id}
        with pytest.raises(EngineError, match="volumes in use"):
            await later.engine.start(world.spec(RUN_FOREVER, volumes=(volume,)))
    await world.engine.remove(spec.id)
    await shut_down(settings, kill_s=0)
    assert (settings.volume_dir / volume.id / "file").read_text() == "kept\n"


async def test_a_volume_of_any_depth_can_be_removed(world, settings):
    volume = await world.volume()
    deeper = "mkdir -p $d; cd $d; " * 20
    script = f"d=$(printf 'd/%.0s' $(seq 100)); cd /store; {deeper} chmod 0 /store; pwd | wc -c"
    assert int(await output_of(world, script, volumes=(volume,), user="5000:5000")) > 3000
    await world.engine.remove_volume(volume.id)
    assert list(settings.volume_dir.iterdir()) == []


async def test_a_missing_working_directory_or_user_is_a_start_error(world):
    with pytest.raises(StartError, match="/nowhere"):
        await world.engine.start(world.spec(RUN_FOREVER, workdir="/nowhere"))
    with pytest.raises(StartError, match="unable to find user nobody"):
        await world.engine.start(world.spec(RUN_FOREVER, user="nobody"))
    with pytest.raises(StartError) as error:
        await world.engine.start(world.spec(("/etc/passwd",)))
    assert error.value.message == 'exec: "/etc/passwd": permission denied'


async def test_the_host_reaches_a_job_by_its_address(world):
    job = await world.engine.start(world.spec(("httpd", "-f", "-p", "8080", "-h", "/etc")))

    async def answers() -> bool:
        try:
            await (await trio.open_tcp_stream(job.address, 8080)).aclose()
        except OSError:
            return False
        return True

    await until(answers)
    async with await trio.open_tcp_stream(job.address, 8080) as stream:
        await stream.send_all(b"GET /group HTTP/1.0\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.")


# -- what happens to jobs --------------------------------------------------------------------------


async def test_running_out_of_memory_is_noted_and_logged(world, settings):
    spec = world.spec(("sh", "-c", "x=a; while true; do x=$x$x; done"), type="web", memory_bytes=16 * MIB)
    await world.engine.start(spec)
    job = await world.ended(spec.id)
    assert (job.exit_code, job.oom) == (137, True)
    path = settings.log_dir / f"{spec.app}.{spec.id}.web.log.init"
    await until(trio.Path(path).exists)
    await trio.sleep(0.1)  # for a second line, which must not come
    lines = path.read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [f"init F {OOM_TEXT}"]


async def test_a_child_that_ran_out_of_memory_is_noted_while_the_job_goes_on(world):
    script = "sh -c 'x=a; while true; do x=$x$x; done'; sleep 100000"
    spec = world.spec(("sh", "-c", script), memory_bytes=16 * MIB)
    await world.engine.start(spec)
    job = await world.until(spec.id, lambda job: job.oom)
    assert job.state is RunState.RUNNING


async def test_a_job_whose_conmon_died_is_ended_and_can_be_removed(world, settings):
    spec = world.spec(RUN_FOREVER)
    await world.engine.start(spec)
    inspected = await podman("inspect", "--format", "{{.State.ConmonPid}} {{.ID}}", settings.prefix + spec.id)
    conmon, container = inspected.split()
    os.kill(int(conmon), signal.SIGKILL)
    job = await world.ended(spec.id)
    assert (job.exit_code, "conmon" in job.error) == (-1, True)
    await world.engine.remove(spec.id)
    assert list(CGROUP_ROOT.glob(f"**/libpod-{container}*")) == []  # conmon would have seen to them
    assert await world.engine.jobs() == []
    assert await podman("ps", "-aq", "--filter", f"name={settings.prefix}") == ""


async def test_a_taken_address_is_skipped(world, settings, image):
    job = await world.engine.start(world.spec(RUN_FOREVER))
    taken = str(settings.subnet.network_address + (int(job.address.rpartition(".")[2]) + 1))
    command = ["run", "-d", "--runtime", "runc", "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"]
    stranger = await podman(*command, "--network", settings.network, "--ip", taken, image, *RUN_FOREVER)
    try:
        second = await world.engine.start(world.spec(RUN_FOREVER))
        assert second.address not in (job.address, taken)
    finally:
        await podman("rm", "-f", "-t", "0", stranger.strip())


# -- restarts and crashes --------------------------------------------------------------------------


async def test_jobs_are_adopted_with_all_they_were(settings, image, world):
    spec = world.spec(RUN_FOREVER, type="web", formation=True, meta={"a": "b"})
    ended = world.spec(EXIT_42)
    status = await world.engine.start(spec)
    await world.engine.start(ended)
    await world.ended(ended.id)
    before = service_pid(settings)
    async with open_world(settings, image) as again:
        assert service_pid(settings) == before
        assert await again.job(spec.id) == status
        job = await again.job(ended.id)
        assert job is not None
        assert (job.state, job.exit_code) == (RunState.EXITED, 42)
        await again.engine.stop(spec.id, kill_s=5)
        assert (await again.ended(spec.id)).exit_code == 143
    assert (await world.ended(spec.id)).exit_code is not None  # both saw it


async def test_a_guest_removes_nothing_that_is_being_made(world, settings, image):
    await make_half(settings, image)
    async with open_world(settings, image) as guest:
        assert await guest.engine.jobs() == []
        assert len(await listed_jobs(settings)) == 1
        spec = guest.spec(EXIT_42)
        await guest.engine.start(spec)
        assert (await guest.ended(spec.id)).exit_code == 42


async def test_a_container_run_by_hand_from_an_image_a_job_became_is_not_a_job(world, settings, image):
    """A committed image has its job's labels, and so has every container of it."""
    spec, committed = world.spec(EXIT_42), f"localhost/flynn-aio-test/committed:{os.getpid()}"
    by_hand = f"by-hand-{settings.appliance}"
    try:
        await world.engine.start(spec)
        await world.ended(spec.id)
        await world.engine.commit(spec.id, committed)
        await world.engine.remove(spec.id)
        await podman("create", "--name", by_hand, committed, *RUN_FOREVER)
        async with open_world(settings, image) as again:
            assert await again.engine.jobs() == []
        await shut_down(settings, kill_s=0)
        assert by_hand in await podman("ps", "-a", "--format", "{{.Names}}")
    finally:
        with trio.CancelScope(shield=True):
            await podman("rm", "-f", "-t", "0", "--ignore", by_hand)
            await podman("rmi", "-f", "--ignore", committed)


async def test_what_a_crash_left_half_made_is_removed_at_the_next_start(settings, image):
    try:
        async with open_world(settings, image):
            pass
        await make_half(settings, image)
        async with open_world(settings, image) as world:
            assert await world.engine.jobs() == []
            assert await listed_jobs(settings) == []
    finally:
        with trio.CancelScope(shield=True):
            await shut_down(settings, kill_s=0)


async def test_a_killed_service_comes_back_and_jobs_never_notice(world, settings):
    spec = world.spec(RUN_FOREVER)
    await world.engine.start(spec)
    os.kill(service_pid(settings), signal.SIGKILL)
    await until(lambda: starts(world, world.spec(RUN_FOREVER)))
    assert [job.state for job in await world.engine.jobs()] == [RunState.RUNNING] * 2


async def test_a_service_killed_inside_a_start_leaves_nothing(world, settings):
    specs = [world.spec(RUN_FOREVER) for _ in range(3)]
    failed = []

    async def start(spec):
        try:
            await world.engine.start(spec)
        except EngineError as exc:
            failed.append(exc)

    async with trio.open_nursery() as nursery:
        for spec in specs:
            nursery.start_soon(start, spec)
        await trio.sleep(0.12)
        os.kill(service_pid(settings), signal.SIGKILL)
    assert failed

    async def agree() -> bool:
        try:
            return {job.id for job in await world.engine.jobs()} == set(await listed_jobs(settings))
        except subprocess.CalledProcessError:  # `podman ps` stumbles over a container that goes meanwhile
            return False

    await until(agree)  # the next service sweeps, and what was doomed goes
    for spec in specs:
        assert await starts(world, spec)
    assert sorted(await listed_jobs(settings)) == sorted(spec.id for spec in specs)


async def listed_jobs(settings: EngineSettings) -> list[JobID]:
    filters = ("--external", "--filter", f"name={settings.prefix}")
    names = (await podman("ps", "-a", "--format", "{{.Names}}", *filters)).split()
    return [JobID(name.removeprefix(settings.prefix)) for name in names]


async def test_a_hung_service_is_replaced_and_jobs_can_be_stopped_meanwhile(world, settings, monkeypatch):
    for name in ("PING_EVERY_S", "PING_TIMEOUT_S", "TERMINATE_S"):
        monkeypatch.setattr(f"flynn_aio.engine.service.{name}", 0.3)
    spec = world.spec(RUN_FOREVER)
    await world.engine.start(spec)
    hung = service_pid(settings)
    os.kill(hung, signal.SIGSTOP)
    with trio.fail_after(2):
        await world.engine.stop(spec.id, kill_s=1)
    assert [job.exit_code for job in await world.engine.jobs()] == [143]
    await until(lambda: starts(world, world.spec(RUN_FOREVER)))
    assert service_pid(settings) != hung


async def test_a_call_to_a_hung_service_ends_at_its_deadline(world, settings):
    calls = Calls(Client(service_paths(settings).socket), replace(settings, call_timeout_s=0.3))
    pid = service_pid(settings)
    os.kill(pid, signal.SIGSTOP)
    try:
        await trio.sleep(0.1)  # all its threads
        with pytest.raises(EngineError, match=r"did not answer within 0\.3 s"):
            await calls.list_ours()
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_lost_streams_are_an_error_and_not_an_end(world, settings):
    with pytest.raises(EngineError, match="lost the streams"):
        async with world.engine.attach(world.spec(("cat",), log=False)) as attachment:
            await attachment.send(b"x\n")
            await first_bytes(attachment, b"x\n")
            os.kill(service_pid(settings), signal.SIGKILL)
            await text_of(attachment.output)


async def test_much_data_passes_both_ways(world):
    size = 5 * MIB
    received = 0
    async with world.engine.attach(world.spec(("cat",), log=False)) as attachment, trio.open_nursery() as nursery:

        async def send():
            for _ in range(size // 65536):
                await attachment.send(b"x" * 65536)
            await attachment.send_eof()

        nursery.start_soon(send)
        async for piece in attachment.output:
            assert isinstance(piece, Output)
            received += len(piece.data)
    assert received == size


async def test_the_loop_never_stalls(world):
    worst = 0.0

    async def measure():
        nonlocal worst
        while True:
            began = trio.current_time()
            await trio.sleep(0.01)
            worst = max(worst, trio.current_time() - began - 0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(measure)
        specs = [world.spec(PRINT) for _ in range(4)]
        async with trio.open_nursery() as starts:
            for spec in specs:
                starts.start_soon(world.engine.start, spec)
        for spec in specs:
            await world.ended(spec.id)
            await world.engine.remove(spec.id)
        nursery.cancel_scope.cancel()
    assert worst < 0.5


# -- images and the end of it all ------------------------------------------------------------------


async def test_an_image_is_imported_and_committed(world, tmp_path):
    name = f"localhost/flynn-aio-test/import:{os.getpid()}"
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
    try:
        await world.engine.import_image(tmp_path / "root.tar", name)
        assert await world.engine.image_exists(name)
        spec = world.spec(("/bin/busybox", "touch", "/made"), image=name)
        await world.engine.start(spec)
        await world.ended(spec.id)
        await world.engine.commit(spec.id, name + "-committed")
        committed = world.spec(("/bin/busybox", "ls", "/made"), image=name + "-committed", log=False)
        async with world.engine.attach(committed) as attachment:
            assert (await text_of(attachment.output))[Stream.STDOUT] == b"/made\n"
        await world.engine.remove(spec.id)
    finally:
        with trio.CancelScope(shield=True):
            await podman("rmi", "-f", "--ignore", name, name + "-committed")


async def test_nothing_is_left_after_shutting_down(settings, image):
    async with open_world(settings, image) as world:
        spec = world.spec(RUN_FOREVER)
        await world.engine.start(spec)
        pid = service_pid(settings)
    assert not find_service(service_paths(settings)).has_ended
    removed = await shut_down(settings, kill_s=1)
    assert (removed.jobs, removed.network, removed.service) == ((spec.id,), True, True)
    assert await podman("ps", "-aq", "--external", "--filter", f"name={settings.prefix}") == ""
    assert settings.network not in (await podman("network", "ls", "--format", "{{.Name}}")).split()
    assert settings.network not in [name for _, name in socket.if_nameindex()]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert os.listdir(settings.run_dir) == []
    again = await shut_down(settings)
    assert (again.jobs, again.network, again.service) == ((), False, False)


async def test_a_missing_podman_is_said_so(settings):
    with pytest.raises(EngineError, match="there is no program .*no-podman; type: apt-get install podman"):
        async with open_engine(replace(settings, podman="no-podman")):
            pass


async def test_a_podman_that_does_not_start_says_why(settings, tmp_path):
    broken = tmp_path / "podman"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(EngineError, match="ended at once: out of order"):
        async with open_engine(replace(settings, podman=str(broken))):
            pass


async def test_a_subnet_in_use_is_said_so(settings, world, image):
    other = replace(settings, appliance="00000000", run_dir=settings.run_dir / "other")
    try:
        with pytest.raises(EngineError, match="choose another subnet"):
            async with open_world(other, image):
                pass
    finally:
        await shut_down(other)


# -- images made of layers -------------------------------------------------------------------------


def put_layer(settings: EngineSettings, tar: bytes) -> str:
    place = settings.layer_dir / digest(tar)
    place.mkdir(parents=True)
    (place / "layer.tar").write_bytes(tar)
    return place.name


def shell_layer(settings: EngineSettings) -> str:
    busybox = shutil.which("busybox")
    assert busybox is not None
    tar = settings.log_dir / "shell.tar"
    write_rootfs(tar, Path(busybox).read_bytes(), ["sh", "ls", "id", "sleep", "true"])
    return put_layer(settings, tar.read_bytes())


async def images_of(settings: EngineSettings) -> list[str]:
    listed = await podman("images", "--format", "{{.Repository}}:{{.Tag}}")
    return [name for name in listed.split() if name.startswith(f"localhost/flynn-{settings.appliance}/")]


async def test_an_image_is_made_of_layers_once_and_forgotten_when_unwanted(world, settings):
    shell, more = shell_layer(settings), put_layer(settings, layer_tar({"foo.txt": b"foo\n", "full/x": b"there\n"}))
    gone = put_layer(settings, layer_tar({".wh.foo.txt": b"", "full/.wh..wh..opq": b"", "full/y": b"new\n"}))
    layers = (shell, more, gone)
    script = "ls / /full; echo $PWD $(id -u)"
    # whiteouts: what a layer says is deleted is, though the layer below has it (TestConvertWhiteouts)
    said = await output_of(world, script, image="", layers=layers)
    assert "foo.txt" not in said
    assert said.split()[-3:] == ["y", "/", "0"]
    assert "x" not in said.split()
    assert "foo.txt" in await output_of(world, "ls /", image="", layers=(shell, more))
    made = await images_of(settings)
    assert len(made) == 2
    started = await world.engine.start(world.spec(RUN_FOREVER, image="", layers=layers))
    assert await images_of(settings) == made

    assert await world.engine.keep_images([(shell, more)])
    assert len(await images_of(settings)) == 2  # one is a job's
    await world.engine.stop(started.id, kill_s=0)
    await world.engine.remove(started.id)
    assert not await world.engine.keep_images([])
    assert await images_of(settings) == []
    assert await podman("image", "exists", world.image) == ""


async def test_a_broken_layer_is_told_when_a_job_starts(world, settings):
    shell = shell_layer(settings)
    missing = world.spec(RUN_FOREVER, image="", layers=(shell, "f" * 64))
    with pytest.raises(StartError, match=f"layer {'f' * 64} of its image is gone; push the image again"):
        await world.engine.start(missing)
    torn = put_layer(settings, layer_tar({"x": b"x" * 100_000})[:50_000])
    with pytest.raises(StartError, match="cannot make an image of the layers: Podman cannot make its image"):
        await world.engine.make_image((shell, torn))
    with pytest.raises(StartError, match="cannot start job .*unexpected EOF.*; build the image again and push it"):
        await world.engine.start(world.spec(RUN_FOREVER, image="", layers=(shell, torn)))
    other = put_layer(settings, layer_tar({"x": b"x"}))
    (settings.layer_dir / other / "layer.tar").write_bytes(layer_tar({"x": b"y"}))
    with pytest.raises(StartError, match="cannot start job"):
        await world.engine.start(world.spec(RUN_FOREVER, image="", layers=(shell, other)))
    assert await images_of(settings) == []
