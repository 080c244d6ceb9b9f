"""Podman: what holds a job back: limits, capabilities, seccomp; and what bad jobs do about it."""

import os
import signal
import socket

import pytest
import trio

from flynn_aio.engine import RunState
from flynn_aio.engine.network import drop_address
from flynn_aio.engine.privileges import DEFAULT_CAPABILITIES
from flynn_aio.errors import StartError
from flynn_aio.settings import MIB

from .appliance import output_of
from .contract import FLOOD, IGNORE_TERM, WAIT_S

pytestmark = pytest.mark.podman

CAPABILITY_BITS = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18, "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31,
    "AUDIT_READ": 37,
}  # fmt: skip
"""Linux, `include/uapi/linux/capability.h`."""
DEFAULT_MASK = sum(1 << CAPABILITY_BITS[name.removeprefix("CAP_")] for name in DEFAULT_CAPABILITIES)


async def status_of(world, **changes) -> dict[str, int]:
    """Return what the kernel says of a job's process, as numbers."""
    text = await output_of(world, "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status", **changes)
    return {name: int(value, 16) for name, value in (line.split(":") for line in text.splitlines())}


async def test_every_job_has_the_capabilities_of_flynns_no_new_privileges_and_a_seccomp_filter(world):
    root = await status_of(world)
    assert (root["NoNewPrivs"], root["Seccomp"]) == (1, 2)
    assert (root["CapBnd"], root["CapEff"], root["CapInh"], root["CapAmb"]) == (DEFAULT_MASK, DEFAULT_MASK, 0, 0)
    user = await status_of(world, user="5000:5000")
    assert (user["NoNewPrivs"], user["Seccomp"], user["CapBnd"]) == (1, 2, DEFAULT_MASK)
    assert user["CapEff"] == user["CapPrm"] == user["CapInh"] == user["CapAmb"] == 0


async def test_a_list_of_capabilities_only_takes_away_and_gives_an_ordinary_user_none(world):
    listed = {"capabilities": ("CAP_KILL", "CAP_CHOWN")}
    assert (await status_of(world, **listed))["CapEff"] == (await status_of(world, **listed))["CapBnd"] == 1 << 5 | 1
    user = await status_of(world, user="5000:5000", **listed)
    assert (user["CapBnd"], user["CapEff"], user["CapAmb"]) == (1 << 5 | 1, 0, 0)


async def test_a_job_may_raise_its_soft_limit_on_files_up_to_the_hard_one(world):
    script = "ulimit -Sn; ulimit -Hn; ulimit -Sn 300; ulimit -Sn; ulimit -Hn 301 2>/dev/null || echo no more"
    assert (await output_of(world, script, max_fd=300, soft_fd=200)).split() == ["200", "300", "300", "no", "more"]


async def test_the_least_limits_are_enough_to_start_with(world):
    assert await output_of(world, "echo up", memory_bytes=6 * MIB, max_fd=16, pids=1, cpu_shares=2) == "up\n"
    assert await output_of(world, "echo up", memory_bytes=2**63 - 1, pids=4194304, cpu_shares=262144) == "up\n"


async def test_a_job_alone_in_the_hosts_network_has_the_gateways_address(world, settings):
    spec = world.spec(("httpd", "-f", "-p", f"{settings.gateway}:18080", "-h", "/etc"), host_network=True)
    status = await world.engine.start(spec)
    assert status.address == settings.gateway
    with trio.fail_after(WAIT_S):
        while True:
            try:
                stream = await trio.open_tcp_stream(status.address, 18080)
                break
            except OSError:
                await trio.sleep(0.05)
    await stream.aclose()
    neighbour = f"wget -q -O - http://{settings.gateway}:18080/group | head -n 1"
    assert await output_of(world, neighbour) == "root:x:0:\n"  # the bridge comes and goes
    assert is_ours(settings.gateway)
    drop_address(settings.gateway)  # as `shut_down` does
    assert not is_ours(settings.gateway)
    drop_address(settings.gateway)  # again, and nothing happens


def is_ours(address: str) -> bool:
    """Whether this machine has an address."""
    with socket.socket() as one:
        try:
            one.bind((address, 0))
        except OSError:
            return False
        return True


async def test_a_job_that_forks_without_end_is_held_and_can_be_stopped(world):
    bomb = world.spec(("sh", "-c", "f() { f | f & }; f; while true; do f; sleep 0.01; done"), pids=100, log=False)
    await world.engine.start(bomb)
    await trio.sleep(1.0)
    assert await output_of(world, "echo room for others") == "room for others\n"
    with trio.fail_after(WAIT_S):
        await world.engine.stop(bomb.id, kill_s=0.5)
        await world.engine.remove(bomb.id)
    assert await world.engine.jobs() == []


async def test_a_job_that_ignores_sigterm_is_killed_when_its_time_is_up(world):
    spec = world.spec(IGNORE_TERM)
    await world.engine.start(spec)
    await trio.sleep(0.3)
    began = trio.current_time()
    await world.engine.stop(spec.id, kill_s=1.0)
    assert 1.0 <= trio.current_time() - began < 5.0
    assert (await world.ended(spec.id)).exit_code == 128 + signal.SIGKILL


async def test_a_job_that_floods_its_log_costs_us_nothing_and_no_more_disk_than_it_may(world, settings):
    spec = world.spec(FLOOD, cpu_shares=2)
    await world.engine.start(spec)
    quiet = world.spec(("sh", "-c", "echo quiet"))
    before = os.times()
    await world.engine.start(quiet)
    await world.ended(quiet.id)
    await trio.sleep(2.0)
    spent = os.times()
    assert spent.user + spent.system - before.user - before.system < 1.0
    await world.engine.stop(spec.id, kill_s=0)
    [log] = [path for path in settings.log_dir.iterdir() if quiet.id in path.name]
    assert log.read_text().endswith(" stdout F quiet\n")
    assert max(path.stat().st_size for path in settings.log_dir.iterdir()) <= settings.log_file_bytes + MIB


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"args": ("no-such-command",)}, 'exec: "no-such-command": executable file not found in $PATH'),
        ({"args": ("/bin/no-such",)}, 'exec: "/bin/no-such": stat /bin/no-such: no such file or directory'),
        ({"args": ("/etc",)}, 'exec: "/etc": permission denied'),
    ],
)
async def test_a_command_that_cannot_be_run_is_told_in_gos_words(world, changes, message):
    with pytest.raises(StartError) as error:
        await world.engine.start(world.spec(**changes))
    assert error.value.message == message
    assert [job for job in await world.engine.jobs() if job.state is RunState.RUNNING] == []


@pytest.mark.parametrize("place", ["/tmp", "/app"])
async def test_a_job_that_fills_its_disk_is_ended_and_says_why(world, settings, place):
    slug = settings.slug_dir / "s1"
    slug.mkdir()
    volume = await world.volume()
    fill = f"dd if=/dev/zero of={place}/big bs=1M count=100 2>/dev/null; sleep 1000"
    spec = world.spec(("sh", "-c", fill), slug="s1", type="web", temp_disk_bytes=50 * MIB)
    keeps = "dd if=/dev/zero of=/store/big bs=1M count=100 2>/dev/null; sleep 1000"
    other = world.spec(("sh", "-c", keeps), slug="s1", volumes=(volume,), temp_disk_bytes=50 * MIB)
    await world.engine.start(other)
    await world.engine.start(spec)
    job = await world.ended(spec.id)
    said = "FATAL: the job wrote more than its temp_disk limit of 50MB outside of volumes"
    assert (job.exit_code, job.oom, job.error) == (128 + signal.SIGKILL, False, said)
    path = settings.log_dir / f"{spec.app}.{spec.id}.web.log.init"
    await trio.sleep(0.1)  # for the line, which a thread writes
    assert path.read_text().endswith(f" init F {said}\n")
    status = await world.job(other.id)
    assert status is not None
    assert status.state is RunState.RUNNING
