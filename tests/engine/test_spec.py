"""Spec: the environment's layers, limits, ports and entrypoints of a job."""

from dataclasses import replace as dc_replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flynn_aio.engine import (
    JobSpec,
    Mount,
    Partition,
    VolumeMount,
    formation_spec,
    log_file_name,
    one_off_spec,
    parse_log_file_name,
    ports_of,
)
from flynn_aio.errors import StartError, ValidationError
from flynn_aio.model import (
    App,
    AppID,
    Artifact,
    JobID,
    NewJob,
    Port,
    ProcessType,
    Release,
    ReleaseID,
    ResourceSpec,
    Volume,
    VolumeID,
    VolumeState,
    VolumeType,
)

APP = App(id=AppID("00000000-0000-4000-8000-00000000000a"), name="hello", meta={})
JOB = JobID("00000000-0000-4000-8000-0000000000b1")
IMAGE = Artifact(uri="image:localhost/runner:1")
SLUG = Artifact(uri="slug:s1")
RELEASE = Release(
    id=ReleaseID("00000000-0000-4000-8000-0000000000c1"),
    env={"WHO": "release", "BOTH": "release"},
    processes={"web": ProcessType(args=["serve"], env={"BOTH": "type"}, ports=[Port(port=8080, proto="tcp")])},
)
GATEWAY = "100.100.0.1"


def formation(
    release: Release = RELEASE, artifacts: tuple[Artifact, ...] = (IMAGE, SLUG), type: str = "web", allow: str = ""
) -> JobSpec:
    return formation_spec(
        job=JOB, app=APP, release=release, artifacts=artifacts, type=type, gateway=GATEWAY, host_features=allow.split()
    )


def one_off(new_job: NewJob, artifacts: tuple[Artifact, ...] = (IMAGE, SLUG)) -> JobSpec:
    return one_off_spec(job=JOB, app=APP, release=RELEASE, artifacts=artifacts, new_job=new_job, gateway=GATEWAY)


def with_process(process: ProcessType, **env: str) -> Release:
    return replace(RELEASE, processes={"web": process}, env=env)


def test_a_formation_job_is_told_in_full():
    assert formation() == JobSpec(
        id=JOB,
        app=APP.id,
        app_name="hello",
        release=RELEASE.id,
        type="web",
        formation=True,
        image="localhost/runner:1",
        slug="s1",
        args=("serve",),
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM": "xterm",
            "HOME": "/app",
            "container": "",
            "LISTEN_IP": "0.0.0.0",
            "DISCOVERD": "http://100.100.0.1:1111",
            "WHO": "release",
            "BOTH": "type",
            "FLYNN_APP_ID": APP.id,
            "FLYNN_APP_NAME": "hello",
            "FLYNN_RELEASE_ID": RELEASE.id,
            "FLYNN_PROCESS_TYPE": "web",
            "FLYNN_JOB_ID": f"host0-{JOB}",
            "PORT": "8080",
            "PORT_0": "8080",
            "HOSTNAME": JOB,
        },
        workdir="/app",
        user="5000:5000",
        memory_bytes=1 << 30,
        cpu_shares=1024,
        max_fd=10000,
        soft_fd=10000,
        temp_disk_bytes=100 << 20,
    )


def test_users_cannot_override_what_a_formation_job_is_called():
    spec = formation(with_process(ProcessType(ports=[Port(port=0, proto="tcp")]), FLYNN_APP_NAME="x", PORT="1"))
    assert (spec.env["FLYNN_APP_NAME"], spec.env["PORT"]) == ("hello", "5000")


def test_users_can_override_everything_in_a_one_off_job():
    spec = one_off(NewJob(args=["env"], env={"FLYNN_APP_ID": "mine", "DISCOVERD": "d"}, release_env=True))
    assert (spec.env["FLYNN_APP_ID"], spec.env["DISCOVERD"], spec.env["WHO"]) == ("mine", "d", "release")
    assert spec.env["BOTH"] == "release"  # the process type's env is not applied


def test_a_one_off_job_gets_neither_ports_nor_the_apps_name_nor_unasked_for_release_env():
    env = one_off(NewJob(args=["env"])).env
    assert not {"PORT", "PORT_0", "FLYNN_APP_NAME", "WHO"} & env.keys()
    assert env["FLYNN_PROCESS_TYPE"] == ""


def test_a_terminal_is_never_logged():
    spec = one_off(NewJob(tty=True, tty_lines=24, tty_columns=80))
    assert (spec.tty, spec.rows, spec.columns, spec.log) == (True, 24, 80, False)


def test_output_is_logged_unless_disabled():
    assert one_off(NewJob()).log
    assert not one_off(NewJob(disable_log=True)).log


def test_limits_of_a_one_off_job_lie_over_the_defaults():
    spec = one_off(NewJob(resources={"memory": ResourceSpec(limit=209715200), "max_fd": ResourceSpec(request=9000)}))
    assert (spec.memory_bytes, spec.max_fd, spec.cpu_shares) == (209715200, 9000, 1024)
    assert (spec.soft_fd, spec.pids, spec.temp_disk_bytes) == (9000, 0, 100 << 20)
    with pytest.raises(ValidationError, match=r"resources\.memory\.limit must be at least 6291456 \(6MB\)"):
        one_off(NewJob(resources={"memory": ResourceSpec(limit=4)}))


def test_port_zero_is_five_thousand_plus_its_index():
    process = ProcessType(ports=[Port(port=0, proto=""), Port(port=9, proto="udp"), Port(port=0, proto="tcp")])
    assert [(p.port, p.proto) for p in ports_of(process)] == [(5000, "tcp"), (9, "udp"), (5002, "tcp")]
    env = formation(with_process(process)).env
    assert (env["PORT"], env["PORT_0"], env["PORT_1"], env["PORT_2"]) == ("5000", "5000", "9", "5002")


def test_a_port_of_another_protocol_is_an_error():
    with pytest.raises(StartError, match='unknown port protocol "sctp"'):
        ports_of(ProcessType(ports=[Port(port=1, proto="sctp")]))


def artifact(uri: str, **entrypoints: dict[str, object]) -> Artifact:
    return Artifact(uri=uri, manifest={"entrypoints": entrypoints})


def test_the_last_artifact_with_an_entrypoint_of_that_name_wins():
    artifacts = (
        artifact("image:a", web={"args": ["a"]}),
        artifact("image:b", web={"args": ["b"]}),
        artifact("image:c"),
    )
    assert formation(with_process(ProcessType()), artifacts).args == ("b",)


def test_a_type_of_its_own_goes_before_the_default_of_a_later_artifact():
    artifacts = (artifact("image:a", web={"args": ["a"]}), artifact("image:b", _default={"args": ["b"]}))
    assert formation(with_process(ProcessType()), artifacts).args == ("a",)
    assert one_off(NewJob(), artifacts).args == ("b",)


def test_an_entrypoint_brings_directory_user_and_the_lowest_user_env():
    found = {"args": ["run"], "cwd": "/srv", "uid": 7, "env": {"WHO": "image", "HOME": "/srv"}}
    spec = formation(with_process(ProcessType(), WHO="release"), (artifact("image:a", _default=found),))
    assert (spec.args, spec.workdir, spec.user) == (("run",), "/srv", "7:7")
    assert (spec.env["WHO"], spec.env["HOME"]) == ("release", "/srv")


def test_a_slug_without_a_manifest_has_a_shell_in_app():
    spec = one_off(NewJob())
    assert (spec.args, spec.workdir, spec.user) == (("/runner/init", "bash"), "/app", "5000:5000")


def test_an_image_alone_is_left_to_its_own_ideas():
    spec = formation(with_process(ProcessType()), (IMAGE,))
    assert (spec.args, spec.workdir, spec.user, spec.slug, spec.env["HOME"]) == ((), "", "", "", "/")


def test_a_release_without_an_image_cannot_start():
    with pytest.raises(StartError, match="push a release first"):
        formation(RELEASE, ())


def test_a_partition_that_does_not_exist():
    assert one_off(NewJob(partition="background")).partition is Partition.BACKGROUND
    with pytest.raises(StartError) as error:
        one_off(NewJob(partition="nope"))
    assert error.value.message == 'host: invalid job partition "nope"'


def test_a_profile_that_does_not_exist():
    with pytest.raises(StartError) as error:
        one_off(NewJob(profiles=["kvm", "nope"]))
    assert error.value.message == "unknown job profile: nope"


def test_mounts_are_read_and_lent():
    process = ProcessType(mounts=[{"location": "/in", "target": "/out", "writeable": True}])
    expected = (Mount(source=Path("/out"), target="/in", writable=True),)
    assert formation(with_process(process), allow="mounts").mounts == expected
    spec = one_off_spec(
        job=JOB,
        app=APP,
        release=with_process(process),
        artifacts=[IMAGE],
        new_job=NewJob(mounts_from="web"),
        gateway=GATEWAY,
        host_features=["mounts"],
    )
    assert spec.mounts == expected
    with pytest.raises(StartError, match="no target"):
        formation(with_process(ProcessType(mounts=[{"location": "/in"}])), allow="mounts")
    for nowhere in ({}, {"location": "in"}, {"location": 7}):
        with pytest.raises(StartError, match="not an absolute path"):
            formation(with_process(ProcessType(mounts=[{"target": "/out", **nowhere}])), allow="mounts")


def test_mounts_from_a_process_type_that_is_not_there_are_refused():
    said = f"^mounts_from names the process type 'nope', which release {RELEASE.id} does not have .it has web.$"
    with pytest.raises(ValidationError, match=said):
        one_off_spec(
            job=JOB, app=APP, release=with_process(ProcessType()), artifacts=[IMAGE],
            new_job=NewJob(mounts_from="nope"), gateway=GATEWAY,
        )  # fmt: skip
    assert one_off(NewJob(mounts_from="")).mounts == ()


def test_volumes_are_where_they_are_asked_for_and_never_in_place_of_the_app():
    volume = Volume(path="/data", id=VolumeID("v"), host_id="host0", type=VolumeType.DATA, state=VolumeState.CREATED)
    facts = {"job": JOB, "app": APP, "release": RELEASE, "type": "web", "gateway": GATEWAY}
    spec = formation_spec(**facts, artifacts=[IMAGE, SLUG], volumes=[volume])
    assert spec.volumes == (VolumeMount(VolumeID("v"), "/data"),)
    hiding = replace(volume, path="/app/")
    with pytest.raises(StartError, match="a volume at /app/ would hide the app itself"):
        formation_spec(**facts, artifacts=[IMAGE, SLUG], volumes=[hiding])
    assert formation_spec(**facts, artifacts=[IMAGE], volumes=[hiding]).volumes  # no slug, nothing hidden


def test_the_host_is_nobodys_unless_the_operator_says_so():
    devices = [{"path": "/dev/kvm"}]
    wanted = with_process(ProcessType(host_network=True, host_pid_namespace=True, allowed_devices=devices))
    with pytest.raises(StartError, match=r"^processes\.web\.host_network needs the host's network, which this app"):
        formation(wanted)
    with pytest.raises(StartError, match=r"^processes\.web\.allowed_devices needs the host's devices"):
        formation(wanted, allow="network pid")
    spec = formation(wanted, allow="network pid devices")
    assert (spec.host_network, spec.host_pid, spec.devices) == (True, True, ("/dev/kvm",))
    assert (spec.capabilities or ())[-1] == "CAP_NET_ADMIN"
    plain = formation()
    assert (plain.host_network, plain.host_pid, plain.devices, plain.capabilities) == (False, False, (), None)


def test_a_one_off_job_asks_for_the_host_too():
    with pytest.raises(ValidationError, match=r"^profiles needs the host's profiles"):
        one_off(NewJob(profiles=["kvm"]))
    lender = with_process(ProcessType(mounts=[{"location": "/in", "target": "/out"}]))
    with pytest.raises(ValidationError, match=r"^mounts_from needs the host's mounts"):
        one_off_spec(
            job=JOB, app=APP, release=lender, artifacts=[IMAGE], new_job=NewJob(mounts_from="web"), gateway=GATEWAY
        )
    spec = one_off_spec(
        job=JOB,
        app=APP,
        release=RELEASE,
        artifacts=[IMAGE],
        new_job=NewJob(profiles=["kvm"]),
        gateway=GATEWAY,
        host_features=["profiles"],
    )
    assert spec.devices == ("/dev/kvm", "/dev/net/tun")
    assert "CAP_NET_ADMIN" in (spec.capabilities or ())


def test_specs_are_values():
    assert dc_replace(formation(), type="web") == formation()


@given(type=st.text(max_size=40))
def test_log_file_names_can_be_read_back(type):
    name = log_file_name(APP.id, JOB, type)
    assert "/" not in name
    assert parse_log_file_name(name) == (APP.id, JOB, type)
    assert parse_log_file_name(name + ".init") == (APP.id, JOB, type)


@pytest.mark.parametrize("name", ["", "x.log", f"{APP.id}.{JOB}.web", f"{APP.id}.{JOB}.log", "a.b.c.log"])
def test_other_files_are_not_logs(name):
    assert parse_log_file_name(name) is None


def layered(*layers: str, **entrypoint: object) -> Artifact:
    manifest = {"entrypoints": {"_default": entrypoint}, "rootfs": [{"layers": [{"id": one} for one in layers]}]}
    return Artifact(uri=f"http://x/{''.join(layers)}", manifest=manifest)


def test_an_image_of_layers_is_all_layers_of_the_release_in_order():
    one = layered("a", "b", args=["one"], env={"X": "image", "WHO": "image"}, cwd="/one")
    spec = formation(artifacts=(one,), release=with_process(ProcessType(), WHO="release"))
    assert (spec.image, spec.layers, spec.args, spec.workdir, spec.user) == ("", ("a", "b"), ("one",), "/one", "")
    assert (spec.env["X"], spec.env["WHO"]) == ("image", "release")
    two = layered("c", uid=7)
    spec = formation(artifacts=(one, two))
    assert (spec.layers, spec.args, spec.user) == (("a", "b", "c"), ("serve",), "7:7")
    assert one_off(NewJob(args=["sh"]), artifacts=(one,)).layers == ("a", "b")


def test_layers_cannot_lie_on_an_image_the_engine_holds():
    with pytest.raises(StartError, match="it has layers beside the image localhost/runner:1"):
        formation(artifacts=(IMAGE, layered("a")))


@pytest.mark.parametrize("manifest", [None, {}, {"rootfs": None}, {"rootfs": [{"layers": [None]}]}, {"rootfs": 1}])
def test_a_manifest_without_layers_is_no_image(manifest):
    with pytest.raises(StartError, match="it has no image"):
        formation(artifacts=(Artifact(uri="http://x/y", manifest=manifest),))
