"""Privileges: what of the host a process asks for, and what it gets."""

import pytest

from flynn_aio.engine.privileges import DEFAULT_CAPABILITIES, Privileges, privileges, refusal
from flynn_aio.errors import StartError
from flynn_aio.model import ProcessType
from flynn_aio.settings import HOST_FEATURES

ASKING = {
    "host_network": ("network", True),
    "host_pid_namespace": ("pid", True),
    "mounts": ("mounts", [{"location": "/in", "target": "/out"}]),
    "profiles": ("profiles", ["kvm"]),
    "allowed_devices": ("devices", [{"path": "/dev/kvm"}]),
    "linux_capabilities": ("capabilities", ["CAP_SYS_ADMIN"]),
}


def test_every_feature_can_be_asked_for():
    assert {feature for feature, _ in ASKING.values()} == set(HOST_FEATURES)


@pytest.mark.parametrize("field", ASKING)
def test_what_the_operator_does_not_allow_is_refused_and_says_how_to_allow_it(field):
    feature, value = ASKING[field]
    process = ProcessType(**{field: value})
    refused = refusal(process, set(HOST_FEATURES) - {feature})
    assert refused is not None
    assert refused.field == field
    assert f"needs the host's {feature}" in refused.text
    assert f'host_features = ["{feature}"] below [engine] in flynn.toml' in refused.text
    assert refusal(process, [feature]) is None


@pytest.mark.parametrize(
    "process",
    [
        ProcessType(),
        ProcessType(linux_capabilities=["CAP_CHOWN", "kill"]),
        ProcessType(allowed_devices=[{"path": "/dev/null"}]),
    ],
)
def test_what_takes_nothing_from_the_host_needs_nobodys_leave(process):
    assert refusal(process, ()) is None


def test_control_groups_are_nobodys():
    refused = refusal(ProcessType(writeable_cgroups=True), HOST_FEATURES)
    assert refused is not None
    assert refused.field == "writeable_cgroups"


def test_what_a_process_gets():
    assert privileges(ProcessType()) == Privileges()
    assert privileges(ProcessType(linux_capabilities=["kill", "CAP_CHOWN"])).capabilities == ("CAP_KILL", "CAP_CHOWN")
    network = privileges(ProcessType(host_network=True))
    assert (network.network, network.capabilities) == (True, (*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN"))
    assert privileges(ProcessType(host_network=True, linux_capabilities=["CAP_KILL"])).capabilities == ("CAP_KILL",)
    devices = [{"path": "/dev/kvm"}, {"path": "/dev/null"}, {"path": "/dev/fuse", "allow": False}]
    both = privileges(ProcessType(profiles=["kvm"], allowed_devices=devices))
    assert both.devices == ("/dev/kvm", "/dev/net/tun")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "/dev/../etc", "/dev/a:b", 7])
def test_a_device_is_a_path_below_dev(path):
    with pytest.raises(StartError, match="invalid device"):
        privileges(ProcessType(allowed_devices=[{"path": path}]))


def test_a_profile_that_does_not_exist():
    with pytest.raises(StartError, match=r"^unknown job profile: root$"):
        privileges(ProcessType(profiles=["root"]))
