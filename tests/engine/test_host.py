"""Host: which runtime, which limits, which Podman."""

import tomllib

import pytest

from flynn_aio.engine.host import (
    CgroupMode,
    HostFacts,
    Runtime,
    cgroup_mode,
    check_version,
    choose_runtime,
    containers_conf,
    parse_version,
)
from flynn_aio.errors import EngineError


def installed(*names: str):
    return lambda name: f"/usr/bin/{name}" if name in names else None


@pytest.mark.parametrize(
    ("cgroups", "there", "expected"),
    [
        (CgroupMode.V2, ("runc", "crun"), "crun"),
        (CgroupMode.V2, ("runc",), "runc"),
        (CgroupMode.HYBRID, ("runc", "crun"), "runc"),
        (CgroupMode.V1, ("runc",), "runc"),
    ],
)
def test_the_runtime_is_one_that_works_here(cgroups, there, expected):
    assert choose_runtime("auto", cgroups, installed(*there)).name == expected


def test_crun_alone_does_not_work_under_hybrid_cgroups():
    with pytest.raises(EngineError, match="apt-get install runc"):
        choose_runtime("auto", CgroupMode.HYBRID, installed("crun"))


def test_a_runtime_that_was_asked_for_is_taken_or_refused():
    assert choose_runtime("youki", CgroupMode.V2, installed("youki")) == Runtime("youki", "the setting says so")
    with pytest.raises(EngineError, match="'youki': it is not in"):
        choose_runtime("youki", CgroupMode.V2, installed("runc"))


def test_cgroup_modes(tmp_path):
    assert cgroup_mode(tmp_path) is CgroupMode.V1
    (tmp_path / "unified").mkdir()
    assert cgroup_mode(tmp_path) is CgroupMode.HYBRID
    (tmp_path / "cgroup.controllers").touch()
    assert cgroup_mode(tmp_path) is CgroupMode.V2


def test_our_containers_conf_is_toml_with_clamped_limits():
    facts = HostFacts(podman="/usr/bin/podman", cgroups=CgroupMode.V1, nofile=20000, nproc=32768, swap_limit=True)
    conf = tomllib.loads(containers_conf(facts, Runtime("runc", "")))
    assert conf["engine"]["runtime"] == "runc"
    assert conf["containers"]["default_ulimits"] == ["nofile=20000:20000", "nproc=32768:32768"]
    assert "SYS_ADMIN" not in conf["containers"]["default_capabilities"]
    assert "NET_BIND_SERVICE" in conf["containers"]["default_capabilities"]


def test_versions():
    assert parse_version("podman version 5.4.2\n") == (5, 4, 2)
    assert parse_version("no number") == ()
    check_version("4.3.1")
    check_version("5.0.0-rc1")
    for old in ("4.2.9", "3.0.1", ""):
        with pytest.raises(EngineError, match=r"version 4\.3 or newer"):
            check_version(old)
