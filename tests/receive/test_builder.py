from dataclasses import replace
from pathlib import Path

import pytest

from flynn_aio.engine import Mount
from flynn_aio.errors import ValidationError
from flynn_aio.model import MIB, App, AppID, JobID, ProcessType, Release, ResourceSpec, memory_text
from flynn_aio.receive.builder import (
    Detected,
    Workplace,
    builder_spec,
    check_stack,
    env_files,
    memory_limit,
    read_detected,
)

from .conftest import build_settings


def limited(limit):
    return Release(
        processes={"slugbuilder": ProcessType(resources={"memory": ResourceSpec(request=limit, limit=limit)})}
    )


@pytest.mark.parametrize(
    ("previous", "expected"),
    [
        (None, 500),
        (Release(), 500),
        (Release(processes={"slugbuilder": ProcessType()}), 500),
        (limited(2147483648), 2147483648),
        (limited(None), 500),
    ],
)
def test_the_limit_set_on_the_pseudo_type_comes_before_the_default(previous, expected):
    assert memory_limit(previous, 500) == expected


def test_sizes_are_spelled_as_flynn_limit_takes_them():
    assert [memory_text(size) for size in (1024 * MIB, 3072 * MIB, 500 * MIB)] == ["1GB", "3GB", "500MB"]


@pytest.mark.parametrize("wanted", ["", "debian-12", "heroku-18"])
def test_the_stack_at_hand_goes_by_two_names(wanted):
    check_stack({"FLYNN_STACK": wanted}, "debian-12")


def test_another_stack_is_refused():
    with pytest.raises(ValidationError, match='Unknown FLYNN_STACK "cedar-14"'):
        check_stack({"FLYNN_STACK": "cedar-14"}, "debian-12")


@pytest.mark.parametrize(
    ("line", "detected"),
    [
        ("python\tPython app detected", Detected(name="python", message="Python app detected")),
        ("custom\tx", Detected(name="custom", message="x")),
        ("just words", None),
        ("../etc\tx", None),
        ("\tx", None),
    ],
)
def test_the_answer_of_detect_is_a_name_and_a_message(line, detected):
    assert read_detected(line) == detected


def test_buildpacks_an_app_brings_need_no_language_of_the_stack():
    assert [read_detected(f"{name}\tx").language for name in ("python", "custom", "multi")] == ["python", None, None]
    assert read_detected("python\tPython app detected").title == "Python"


def test_variables_that_cannot_be_files_are_left_out():
    env = {"A": "1", "B": "ü", "../x": "no", "a/b": "no", ".": "no", "..": "no", "x" * 300: "no", "n\0": "no"}
    assert env_files(env) == {"A": b"1", "B": "ü".encode()}


def test_a_builder_gets_no_secret_and_only_what_the_settings_pass_on(tmp_path):
    settings = replace(build_settings(tmp_path), pass_env=("HTTP_PROXY",), ca_bundle=Path("/ca.pem"))
    previous = Release(env={"SECRET": "s", "BUILDPACK_URL": "https://example.test/pack", "SSH_CLIENT_KEY": "k"})
    place = Workplace(slug=Path("/s"), cache=Path("/c"), env=Path("/e"), custom=Path("/x"))
    spec = builder_spec(
        job=JobID("j"),
        app=App(id=AppID("a"), name="hello", meta={}),
        verb=("compile", "python"),
        image="builder",
        cf_stack="cflinuxfs3",
        commit="c0ffee",
        previous=previous,
        shared={"SSH_CLIENT_KEY": "everybody's", "SSH_CLIENT_HOSTS": "example.test ssh-rsa"},
        workplace=place,
        buildpacks=Path("/packs"),
        settings=settings,
        host_env={"HTTP_PROXY": "http://proxy", "HOME": "/root", "TOKEN": "t"},
    )
    assert spec.args == ("/builder/build", "compile", "python")
    assert spec.memory_bytes == 1024 * MIB
    assert set(spec.env) == {
        *("PATH", "TERM", "HOME", "REQUEST_ID", "CURL_TIMEOUT", "CURL_CONNECT_TIMEOUT", "SOURCE_VERSION", "STACK"),
        *("CF_STACK", "HTTP_PROXY", "BUILDPACK_URL", "SSH_CLIENT_KEY", "SSH_CLIENT_HOSTS"),
        *("SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "NODE_EXTRA_CA_CERTS"),
    }
    assert spec.env["SSH_CLIENT_KEY"] == "k"  # the app's own
    assert set(spec.mounts) == {
        Mount(source=Path("/s"), target="/app", writable=True),
        Mount(source=Path("/c"), target="/cache", writable=True),
        Mount(source=Path("/packs"), target="/buildpacks"),
        Mount(source=Path("/e"), target="/env"),
        Mount(source=Path("/x"), target="/custom", writable=True),
        Mount(source=Path("/ca.pem"), target="/etc/ssl/certs/ca-certificates.crt"),
    }
