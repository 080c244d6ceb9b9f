"""Settings: where they come from, and what is said when one is wrong."""

import dataclasses
import re
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import tomli

from flynn_aio import config
from flynn_aio.config import ConfigError, load

SHIPPED = Path(__file__).parents[1] / "flynn.toml"
DEPENDS_ON_THE_MACHINE = {"engine.parallel_starts"}


def shipped_defaults():
    """Return the keys of flynn.toml with the values that are commented out, as parsed TOML."""
    text = re.sub(r"^# (\w+ = )", r"\1", SHIPPED.read_text(), flags=re.MULTILINE)
    parsed = tomli.loads(text)
    return {f"{section}.{key}": value for section, keys in parsed.items() for key, value in keys.items()}


def test_flynn_toml_names_every_key_with_its_real_default():
    shipped = shipped_defaults()
    known = {f"{section}.{key}" for section in config.SECTIONS for key in config.keys_of(section)}
    assert set(shipped) == known | {"appliance.data_dir", "appliance.domain"}
    defaults, named = load(environ={}), load(environ={}, flags=shipped)
    for section in config.SECTIONS:
        for key in config.keys_of(section):
            if f"{section}.{key}" not in DEPENDS_ON_THE_MACHINE:
                assert getattr(getattr(named, section), key) == getattr(getattr(defaults, section), key), (
                    f"{section}.{key}"
                )
    assert (named.data_dir, named.domain) == (defaults.data_dir, defaults.domain)


def test_flynn_toml_says_one_line_of_why_for_every_key():
    for line in SHIPPED.read_text().splitlines():
        if re.match(r"# \w+ = ", line):
            assert re.search(r"\s{2,}# \S.{10,}$", line), line


def test_later_sources_win(tmp_path):
    file = tmp_path / "flynn.toml"
    file.write_text("[router]\nhttp_port = 8001\nhttps_port = 8002\ndrain_s = 3\n")
    environ = {"FLYNN_AIO_ROUTER_HTTPS_PORT": "9002", "FLYNN_AIO_ROUTER_DRAIN_S": "4.5"}
    router = load(file=file, environ=environ, flags={"router.https_port": 7002, "router.http_port": None}).router
    assert (router.http_port, router.https_port, router.drain_s) == (8001, 7002, 4.5)


def test_the_short_variables_and_the_file_of_the_environment(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('[engine]\nsubnet = "10.77.0.0/24"\n')
    settings = load(
        environ={
            "FLYNN_AIO_CONFIG": str(file),
            "FLYNN_AIO_DATA_DIR": str(tmp_path),
            "FLYNN_AIO_DOMAIN": "Apps.Example.COM.",
        }
    )
    assert (settings.data_dir, settings.domain) == (tmp_path, "apps.example.com")
    assert settings.engine.subnet == IPv4Network("10.77.0.0/24")
    assert settings.engine.gateway == settings.discoverd.address == "10.77.0.1"
    assert settings.sources["engine.subnet"] == f"{file}:2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[router]\n\nhttp_prot = 1\n",
            r":3: unknown key 'router.http_prot' \(its value is 1\); is it http_port\? \[router\] has .*http_port",
        ),
        ("[rooter]\nx = 1\n", r":2: unknown section 'rooter' .*sections are appliance, store"),
        ("http_port = 1\n", r":1: 'http_port' must stand in a section"),
        ("[router]\nhttp_port = 99999\n", r":2: router.http_port = 99999 is not allowed; it must be a port"),
        ('[router]\nhttp_port = "many"\n', r"'many' is not allowed"),
        ("[router]\nhttp_port = true\n", r"True is not allowed"),
        ("[scheduler]\nkill_s = -1\n", r"kill_s = -1 is not allowed; it must be a number of seconds above 0"),
        ("[scheduler]\nkill_s = nan\n", r"kill_s = nan is not allowed"),
        ("[build]\nparallel = 0\n", r"a whole number of at least 1"),
        ('[engine]\nsubnet = "100.100.0.1/16"\n', r"must be a private IPv4 network"),
        ("[discoverd]\nrecursors = [1]\n", r"must be a list of texts"),
        ('[build]\nca_bundle = "relative.pem"\n', r"must be an absolute path, or empty for none"),
        (f'[appliance]\ndomain = "{"x" * 64}.test"\n', "it must be a host name"),
        ('[appliance]\ndomain = "not a domain"\n', r":2: appliance.domain = 'not a domain' is not allowed"),
        ("[router\n", r"is not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_key_value_and_place(tmp_path, text, said):
    file = tmp_path / "flynn.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        load(file=file, environ={})
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_variables_and_flags_are_named(tmp_path):
    with pytest.raises(ConfigError, match="the environment's FLYNN_AIO_ROUTER_HTTP_PORTS: unknown key"):
        load(environ={"FLYNN_AIO_ROUTER_HTTP_PORTS": "1"})
    with pytest.raises(ConfigError, match="--http-port: router.http_port = 70000 is not allowed"):
        load(environ={}, flags={"router.http_port": 70000})
    with pytest.raises(ConfigError, match="No such file"):
        load(file=tmp_path / "missing.toml", environ={})


def test_two_data_directories_are_two_appliances(tmp_path):
    one, two = (load(environ={}, flags={"appliance.data_dir": str(tmp_path / name)}) for name in ("one", "two"))
    assert one.engine.appliance != two.engine.appliance
    assert one.engine.network != two.engine.network
    assert {field.name for field in dataclasses.fields(one)} >= set(config.SECTIONS)


def test_the_features_of_the_host_are_named_or_refused():
    assert load(environ={}).engine.host_features == ()
    settings = load(environ={"FLYNN_AIO_ENGINE_HOST_FEATURES": "network, mounts"})
    assert settings.engine.host_features == ("network", "mounts")
    assert settings.scheduler.host_features == settings.controller.host_features == ("network", "mounts")
    with pytest.raises(ConfigError, match="a list of some of network, pid, mounts, devices, profiles, capabilities"):
        load(environ={}, flags={"engine.host_features": ["root"]})
