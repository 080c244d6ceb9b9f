"""Containers: what Podman is asked for a job, and what its answers mean."""

from dataclasses import replace
from pathlib import Path
from signal import SIGINT, SIGTERM

import msgspec
import pytest

from flynn_aio.engine import JobSpec, JobStatus, Mount, Partition, RunState
from flynn_aio.engine.containers import (
    HostLimits,
    Inspected,
    Listed,
    create_body,
    is_address_taken,
    is_name_taken,
    start_failure,
    status_of,
)
from flynn_aio.engine.privileges import DEFAULT_CAPABILITIES
from flynn_aio.engine.protocol import new_status
from flynn_aio.engine.volumes import Bind
from flynn_aio.model import AppID, JobID, ReleaseID, Time
from flynn_aio.settings import EngineSettings

SETTINGS = EngineSettings(
    appliance="0123abcd",
    run_dir=Path("/d/run"),
    log_dir=Path("/d/logs"),
    slug_dir=Path("/d/slugs"),
    layer_dir=Path("/d/layers"),
    volume_dir=Path("/d/volumes"),
)
LIMITS = HostLimits(nofile=20000, nproc=32768, swap=True)
SPEC = JobSpec(
    id=JobID("00000000-0000-4000-8000-0000000000b1"),
    app=AppID("00000000-0000-4000-8000-00000000000a"),
    app_name="hello",
    release=ReleaseID("r1"),
    type="web",
    formation=True,
    image="localhost/x:1",
    slug="s1",
    args=("serve", "it"),
    env={"A": "b"},
    workdir="/app",
    user="5000:5000",
    memory_bytes=1 << 30,
    cpu_shares=1024,
    max_fd=10000,
    temp_disk_bytes=100 << 20,
    meta={"who": "me"},
)


def body(
    spec: JobSpec = SPEC,
    *,
    limits: HostLimits = LIMITS,
    attached: bool = False,
    data: Path | None = None,
    volumes: tuple[Bind, ...] = (),
):
    hosts = Path("/d/run/hosts/x")
    address = "100.100.0.5"
    return create_body(
        spec,
        settings=SETTINGS,
        limits=limits,
        address=address,
        hosts=hosts,
        data=data,
        volumes=volumes,
        attached=attached,
    )


def test_a_job_is_asked_for_in_full():
    assert body() == {
        "name": "flynn-0123abcd-00000000-0000-4000-8000-0000000000b1",
        "image": "localhost/x:1",
        "entrypoint": ["serve", "it"],
        "env": {"A": "b", "EXTERNAL_IP": "100.100.0.5"},
        "labels": {
            "flynn.appliance": "0123abcd",
            "flynn.job": SPEC.id,
            "flynn.app": SPEC.app,
            "flynn.app-name": "hello",
            "flynn.release": "r1",
            "flynn.type": "web",
            "flynn.formation": "true",
            "flynn.address": "100.100.0.5",
            "flynn.args": '["serve","it"]',
            "flynn.log": "true",
            "flynn.temp-disk": "104857600",
            "flynn.meta": '{"who":"me"}',
            "flynn.volumes": "[]",
            "flynn.stop": "15 0",
        },
        "hostname": SPEC.id,
        "stdin": False,
        "terminal": False,
        "log_configuration": {
            "driver": "k8s-file",
            "path": f"/d/logs/{SPEC.app}.{SPEC.id}.web.log",
            "size": SETTINGS.log_file_bytes,
        },
        "resource_limits": {
            "pids": {"limit": 4096},
            "memory": {"limit": 1 << 30, "swap": 1 << 30},
            "cpu": {"shares": 1024},
        },
        "r_limits": [
            {"type": "nofile", "soft": 10000, "hard": 10000},
            {"type": "nproc", "soft": 32768, "hard": 32768},
        ],
        "oom_score_adj": 0,
        "no_new_privileges": True,
        "shm_size": 64 << 20,
        "image_volume_mode": "ignore",
        "stop_signal": 15,
        "netns": {"nsmode": "bridge"},
        "networks": {"flynn-0123abcd": {"static_ips": ["100.100.0.5"], "static_mac": "02:42:64:64:00:05"}},
        "dns_server": ["100.100.0.1"],
        "dns_search": ["."],
        "use_image_hosts": True,
        "mounts": [
            {"type": "bind", "source": "/d/run/hosts/x", "destination": "/etc/hosts", "options": ["rbind", "rw"]}
        ],
        "work_dir": "/app",
        "user": "5000:5000",
        "overlay_volumes": [{"destination": "/app", "source": "/d/slugs/s1"}],
    }


def test_what_a_job_leaves_open_is_left_to_the_image():
    bare = JobSpec(id=SPEC.id, app=SPEC.app, app_name="hello", image="x")
    assert not {"entrypoint", "work_dir", "user", "overlay_volumes"} & body(bare).keys()
    assert body(bare)["resource_limits"] == {"pids": {"limit": 4096}}
    assert body(bare)["r_limits"][0]["hard"] == 20000


def test_limits_stay_below_what_the_host_can_give():
    assert body(replace(SPEC, max_fd=1 << 20))["r_limits"][0] == {"type": "nofile", "soft": 20000, "hard": 20000}
    soft = body(replace(SPEC, soft_fd=9000, max_fd=1 << 20))["r_limits"][0]
    assert soft == {"type": "nofile", "soft": 9000, "hard": 20000}
    assert body(limits=replace(LIMITS, swap=False))["resource_limits"]["memory"] == {"limit": 1 << 30}


def test_a_capability_every_job_has_is_not_added_for_ordinary_users_have_what_is_added():
    made = body(replace(SPEC, capabilities=(*DEFAULT_CAPABILITIES[2:], "CAP_NET_ADMIN")))
    assert (made["cap_drop"], made["cap_add"]) == (list(DEFAULT_CAPABILITIES[:2]), ["CAP_NET_ADMIN"])
    assert not {"cap_add", "cap_drop"} & body().keys()


def test_a_terminal_has_stdin_and_no_log():
    made = body(replace(SPEC, tty=True), attached=True)
    assert (made["terminal"], made["stdin"], made["log_configuration"]) == (True, True, {"driver": "none"})
    assert made["labels"]["flynn.log"] == "false"


def test_builds_weigh_less_and_go_first():
    made = body(replace(SPEC, partition=Partition.BACKGROUND))
    assert (made["resource_limits"]["cpu"], made["oom_score_adj"]) == ({"shares": 128}, 500)


def test_mounts_come_after_ours():
    spec = replace(SPEC, mounts=(Mount(source=Path("/out"), target="/in", writable=True),))
    destinations = [mount["destination"] for mount in body(spec, data=Path("/d/volumes/x"))["mounts"]]
    assert destinations == ["/etc/hosts", "/data", "/in"]


def test_an_empty_volume_is_given_to_the_jobs_user():
    volumes = (Bind(Path("/d/volumes/new"), "/new", True), Bind(Path("/d/volumes/old"), "/old", False))
    _, new, old = body(volumes=volumes)["mounts"]
    assert new == {
        "type": "bind",
        "source": "/d/volumes/new",
        "destination": "/new",
        "options": ["rbind", "rw", "nosuid", "nodev", "U"],
    }
    assert old["options"] == ["rbind", "rw", "nosuid", "nodev"]


def listed(state: str, **fields: object) -> Listed:
    row = {"Id": "c1", "Labels": body()["labels"], "State": state, **fields}
    return msgspec.convert(row, Listed)


def test_a_status_is_read_back_from_the_labels_alone():
    moment = Time.parse("2026-11-23T18:25:29Z")
    status = status_of(listed("running", StartedAt=int(moment.timestamp())))
    assert status == new_status(SPEC, address="100.100.0.5", started_at=moment)
    assert status == JobStatus(
        id=SPEC.id,
        app=SPEC.app,
        release=SPEC.release,
        type="web",
        formation=True,
        state=RunState.RUNNING,
        address="100.100.0.5",
        started_at=moment,
        args=("serve", "it"),
        meta={"who": "me"},
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("created", RunState.CREATED),
        ("configured", RunState.CREATED),
        ("initialized", RunState.CREATED),
        ("running", RunState.RUNNING),
        ("paused", RunState.RUNNING),
        ("stopping", RunState.RUNNING),
        ("stopped", RunState.EXITED),
        ("exited", RunState.EXITED),
    ],
)
def test_podmans_states(state, expected):
    status = status_of(listed(state, ExitCode=3, StartedAt=-62135596800))
    assert (status.state, status.started_at) == (expected, None)
    assert status.exit_code == (3 if expected is RunState.EXITED else None)


def test_labels_we_cannot_read_cost_no_more_than_their_value():
    row = msgspec.convert({"Id": "c1", "Labels": {"flynn.job": "j", "flynn.args": "{", "flynn.meta": "[1]"}}, Listed)
    status = status_of(row)
    assert (status.id, status.args, status.meta) == ("j", (), {})


def test_inspect_knows_the_moment_of_the_start():
    answer = (
        b'{"Id":"c1","State":{"Status":"running","Pid":7,"ConmonPid":6,"StartedAt":"2026-11-23T18:25:29.132908415Z"}}'
    )
    inspected = msgspec.json.decode(answer, type=Inspected)
    assert (inspected.state.pid, inspected.state.conmon_pid) == (7, 6)
    assert str(inspected.started_at) == "2026-11-23T18:25:29.132908Z"
    never = msgspec.json.decode(b'{"Id":"c1","State":{"StartedAt":"0001-01-01T00:00:00Z"}}', type=Inspected)
    assert never.started_at is None


RUNC = "runc: runc create failed: unable to start container process: "


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (
            500,
            RUNC + 'exec: "nope": executable file not found in $PATH: OCI runtime attempted to invoke a command',
            'exec: "nope": executable file not found in $PATH',
        ),
        (
            500,
            RUNC + 'exec: "/nope": stat /nope: no such file or directory: OCI runtime attempted to invoke a command',
            'exec: "/nope": stat /nope: no such file or directory',
        ),
        (
            500,
            RUNC + 'exec: "/etc/passwd": permission denied: OCI permission denied',
            'exec: "/etc/passwd": permission denied',
        ),
        (
            500,
            "crun: executable file `nope` not found in $PATH: No such file or directory: OCI runtime attempted",
            'exec: "nope": executable file not found in $PATH',
        ),
        (500, "unable to find user nobody: no matching entries in passwd file", None),
        (500, 'workdir "/nowhere" does not exist on container 1aa6', None),
        (500, "localhost/x:1: image not known", None),
        (404, "no such image", None),
        (500, RUNC + 'error mounting "/x": not a directory: OCI runtime error', 'error mounting "/x": not a directory'),
        (500, "stat /dev/kvm: no such file or directory", None),
        (500, "statfs /nowhere: no such file or directory", None),
    ],
)
def test_what_can_never_start(status, reason, expected):
    assert start_failure(status, reason) == (expected or reason)


@pytest.mark.parametrize(
    "reason",
    [
        RUNC + "cannot allocate memory: OCI runtime error",
        "runc: runc create failed: resource temporarily unavailable",
        "something else entirely",
        "netavark: unable to append rule",
    ],
)
def test_what_may_start_on_another_try(reason):
    assert start_failure(500, reason) is None


def test_what_is_taken():
    assert is_address_taken("IPAM error: requested ip address 100.99.0.2 is already allocated to container ID 1aaf")
    assert is_name_taken('name "flynn-x" is in use: container already exists')
    assert not is_address_taken("no")
    assert not is_name_taken("no")


def test_what_a_job_gets_of_the_host_is_asked_for():
    made = body(replace(SPEC, host_network=True, host_pid=True, capabilities=("CAP_KILL",), devices=("/dev/kvm",)))
    assert (made["netns"], made["pidns"], "networks" in made) == ({"nsmode": "host"}, {"nsmode": "host"}, False)
    assert made["cap_drop"] == [name for name in DEFAULT_CAPABILITIES if name != "CAP_KILL"]
    assert made["devices"] == [{"path": "/dev/kvm"}]
    assert not {"pidns", "cap_drop", "cap_add", "devices"} & body().keys()


def test_how_a_job_wants_to_be_stopped_is_kept_in_its_container():
    made = body(replace(SPEC, stop_signal=SIGINT, stop_s=90.0))
    assert made["stop_signal"] == 2
    listed = Listed(id="i", labels=made["labels"], state="running")
    assert (status_of(listed).stop_signal, status_of(listed).stop_s) == (SIGINT, 90.0)


def test_a_container_of_an_older_version_is_stopped_as_ever():
    listed = Listed(id="i", labels={}, state="running")
    assert (status_of(listed).stop_signal, status_of(listed).stop_s) == (SIGTERM, 0.0)
